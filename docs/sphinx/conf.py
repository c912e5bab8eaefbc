"""How Sphinx makes the site of .cache/site; make docs runs it. It needs no network, and a warning ends it."""

from __future__ import annotations

from docutils import nodes

project = "pgops.tls"
author = "the pgops.tls authors"
copyright = "the pgops.tls authors"  # noqa: A001 - Sphinx's own name
title = html_title = html_short_title = "pgops.tls: TLS for PostgreSQL"

extensions = ["sphinx_antsibull_ext"]
nitpicky = True  # a reference that leads nowhere is a warning
default_role = "any"
highlight_language = "text"
pygments_style = "ansible"

html_theme = "sphinx_rtd_theme"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_theme_options = {"navigation_depth": 3}

# Labels of Ansible's own documentation that generated pages refer to; its inventory would have to be downloaded
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/reference_appendices/"
FOREIGN = {
    "action_plugins": ("https://docs.ansible.com/projects/ansible/latest/plugins/action.html", "action plugin"),
    "common_return_values": (f"{ANSIBLE}common_return_values.html", "common return values"),
    "ansible_configuration_settings": (f"{ANSIBLE}config.html", "Ansible's configuration"),
}


def foreign(_app, _env, node, content):
    """Return a link for a reference to Ansible's own documentation."""
    found = FOREIGN.get(node.get("reftarget"))
    if found is None:
        return None
    address, text = found
    title = content if node.get("refexplicit") else nodes.inline("", text)
    return nodes.reference("", "", title, refuri=address, internal=False)


def setup(app):
    """Have Sphinx ask the function above before it warns."""
    app.connect("missing-reference", foreign)
