# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the documentation name nothing that does not exist, and no command that nobody ran."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.shared import ROOT

LANGUAGES = {"console", "yaml", "ini", "sql", "json", "text", "jinja", "systemd", "python", "html"}
# Names that look like a role's variable and are something else: groups, facts, OS users
OTHER_NAMES = {
    "postgres_servers", "postgres_poolers", "postgres_clients", "postgres_ca_authorities", "postgres_ca_signed",
    "postgres_server_sessions", "postgres_fdw", "postgres_exporter",
}  # fmt: skip
Rule = Callable[[str, str], "list[str]"]
PAGE_RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """List a rule: a function of a page's name and text that returns complaints."""
    PAGE_RULES.append(function)
    return function


class AnyTag(yaml.SafeLoader):
    """Reads YAML with tags of Ansible, such as !vault."""


AnyTag.add_multi_constructor("!", lambda _loader, _suffix, node: node.value)


def specifications() -> dict[str, Any]:
    """Return {role: its argument specification}."""
    found = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        found[path.parts[-3]] = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    return found


def variables() -> set[str]:
    """Return the variables of all roles."""
    return {name for role in specifications().values() for point in role.values() for name in point.get("options", {})}


def content() -> set[str]:
    """Return the names of all that the collection has, also in the form of the labels of their generated pages."""
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    filters = {path.stem for path in (ROOT / "plugins" / "filter").glob("*.py")}
    others = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    others |= {path.stem for path in (ROOT / "plugins").glob("*/*.py")}
    others |= set(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"])
    labels = {f"{name}_module" for name in modules} | {f"{name}_filter" for name in filters}
    roles = set(specifications())
    return {*modules, *filters, *others, *roles, *labels, *(f"{role}_role" for role in roles), "docsite"}


def commands_of_a_readme(text: str) -> list[str]:
    """Return the commands in a README: lines of blocks that name no language, and what its text has in backquotes."""
    fence = r"(?ms)^```(\w*)\n(.*?)^```$"
    lines = [line for language, block in re.findall(fence, text) if not language for line in block.splitlines()]
    quoted = re.findall(r"`([^`\n]+)`", re.sub(fence, "", text))
    return [re.sub(r"\s+# .*", "", one) for one in lines + quoted if re.match(r"(ansible[\w-]*|psql|pip) ", one)]


def functions(path: Path) -> set[str]:
    """Return the names of the functions in a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@rule
def commands_without_a_note(name: str, text: str) -> list[str]:
    complaint = "a block of commands without a caption 'Run by TEST' or 'Run by hand on SYSTEM, PostgreSQL VERSION'"
    known = (guides.BY_TEST, guides.BY_HAND)
    consoles = [block for block in guides.blocks(name, text) if block.language == "console"]
    return [f"{block}: {complaint}" for block in consoles if not any(note.fullmatch(block.caption) for note in known)]


@rule
def consoles_without_commands(name: str, text: str) -> list[str]:
    consoles = [block for block in guides.blocks(name, text) if block.language == "console"]
    return [f"{block}: no command, which begins with '$ '" for block in consoles if not block.commands()]


@rule
def commands_elsewhere(name: str, text: str) -> list[str]:
    others = [block for block in guides.blocks(name, text) if block.language != "console"]
    hidden = [f"{block}: a command outside a console block" for block in others if re.search(r"(?m)^\$ ", block.text)]
    lines = [f"{name}: a command as a line of its own: {line}" for line in re.findall(r"(?m)^ *``([^`]+)``\.?$", text)]
    return hidden + [line for line in lines if re.search(r": (ansible|psql|make|sudo|openssl|podman)\S* \S", line)]


@rule
def blocks_of_another_kind(name: str, text: str) -> list[str]:
    wrong = [
        f"{block}: {block.directive} {block.language!r}, expected code-block and one of {', '.join(sorted(LANGUAGES))}"
        for block in guides.blocks(name, text)
        if block.directive != "code-block" or block.language not in LANGUAGES
    ]
    literal = [number for number, line in enumerate(text.splitlines(), 1) if re.search(r"^(?!\s*\.\. ).*::$", line)]
    return wrong + [f"{name}:{number}: a literal block; use code-block" for number in literal]


@rule
def missing_tests(name: str, text: str) -> list[str]:
    missing = []
    for named in sorted(set(re.findall(guides.TEST, text))):
        path, _separator, function = named.partition("::")
        if not (ROOT / path).is_file():
            missing.append(f"{name}: there is no {path}")
        elif function and function not in functions(ROOT / path):
            missing.append(f"{name}: there is no {function} in {path}")
    return missing


@rule
def yaml_that_does_not_parse(name: str, text: str) -> list[str]:
    wrong = []
    for block in guides.blocks(name, text):
        if block.language == "yaml":
            try:
                list(yaml.load_all(block.text, AnyTag))
            except yaml.YAMLError as exc:
                wrong.append(f"{block}: {exc}")
    return wrong


@rule
def variables_that_do_not_exist(name: str, text: str) -> list[str]:
    known = variables() | set(specifications()) | OTHER_NAMES
    named = set(re.findall(r"(?<!pgops\.tls\.)\bpostgres_\w+", text))
    unknown = {one for one in named - known if not (one.endswith("_") and any(has.startswith(one) for has in known))}
    return [f"{name}: no role has a variable {one}" for one in sorted(unknown)]


@rule
def content_that_does_not_exist(name: str, text: str) -> list[str]:
    named = set(re.findall(r"pgops\.tls\.(\w+)", text))
    return [f"{name}: the collection has no {one}" for one in sorted(named - content())]


@pytest.mark.parametrize("complaints", PAGE_RULES, ids=lambda function: function.__name__)
def test_the_pages_are_free_of(complaints: Rule) -> None:
    found = [one for path in guides.pages() for one in complaints(path.name, path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("page", guides.pages(), ids=lambda page: page.stem)
def test_a_page_begins_with_its_readers_and_the_shortest_path(page: Path) -> None:
    title, *rest = re.split(r"^-{4,}$", page.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)
    assert rest
    assert [words for words in ("\n\nThis page is for ", "\n\nShortest path: ") if words not in title] == []


def console(caption: str, text: str = "$ true") -> str:
    """Return a block of commands as it stands in a page."""
    return f"Words:\n\n.. code-block:: console\n   :caption: {caption}\n\n   {text}\n\nMore words.\n"


GOOD_TEXTS = [
    console("Run by tests/unit/docs/test_guides.py"),
    console("Run by tests/unit/docs/test_guides.py::test_good_text_passes, tests/guides.py"),
    console("Run by hand on Debian 12, PostgreSQL 15"),
    console("Run by hand on Debian 13, no PostgreSQL; ansible-core 2.19"),
    "``postgres_server_hba``, all of ``postgres_server_*``, group ``postgres_servers``, module ``pgops.tls.server``",
    ":ref:`ansible_collections.pgops.tls.postgres_server_role`",
    ".. code-block:: yaml\n\n   secret: !vault |\n     text\n",
]
BAD_TEXTS = {
    console(""): commands_without_a_note,
    console("Run by somebody"): commands_without_a_note,
    console("Run by tests/guides.py and others"): commands_without_a_note,
    console("Run by hand on Debian 12"): commands_without_a_note,
    console("Run by hand on Debian 12, PostgreSQL 15", "true"): consoles_without_commands,
    ".. code-block:: text\n\n   $ make test\n": commands_elsewhere,
    "Now run\n\n``ansible-playbook site.yml``\n": commands_elsewhere,
    "Now run::\n\n   make test\n": blocks_of_another_kind,
    ".. code-block::\n\n   make test\n": blocks_of_another_kind,
    ".. code:: console\n\n   $ make test\n": blocks_of_another_kind,
    console("Run by tests/unit/docs/test_nothing.py"): missing_tests,
    console("Run by tests/unit/docs/test_guides.py::test_nothing"): missing_tests,
    ".. code-block:: yaml\n\n   a: [b\n": yaml_that_does_not_parse,
    ".. code-block:: yaml\n\n   postgres_server_hbaa: []\n": variables_that_do_not_exist,
    "Set ``postgres_server_nothing_*``.": variables_that_do_not_exist,
    "Run ``pgops.tls.site2``.": content_that_does_not_exist,
    "See :ref:`ansible_collections.pgops.tls.hba_rule_module`.": content_that_does_not_exist,
}


@pytest.mark.parametrize("text", GOOD_TEXTS)
def test_good_text_passes(text: str) -> None:
    assert [one for complaints in PAGE_RULES for one in complaints("page", text)] == []


@pytest.mark.parametrize(("text", "complaints"), BAD_TEXTS.items())
def test_bad_text_is_found(text: str, complaints: Rule) -> None:
    assert len(complaints("page", text)) == 1


def test_commands_are_read_with_their_output() -> None:
    (block,) = guides.blocks("page", console("Run by x", "$ a \\\n       b\n   one\n\n   two\n   # c\n   $ d"))
    assert block.commands() == [("a \\\n    b", "one\n\ntwo\n# c\n"), ("d", "")]
    assert (str(block), block.caption) == ("page:3", "Run by x")


def test_the_commands_of_the_readmes_are_those_that_somebody_ran() -> None:
    texts = [(page.name, page.read_text(encoding="utf-8")) for page in guides.pages()]
    ran = [command for page in texts for block in guides.blocks(*page) for command, _output in block.commands()]
    named = {
        (str(path.relative_to(ROOT)), command)
        for path in (ROOT / "README.md", *sorted(ROOT.glob("roles/*/README.md")))
        for command in commands_of_a_readme(path.read_text(encoding="utf-8"))
    }
    assert sorted(one for one in named if not any(one[1] in command for command in ran)) == []


def test_the_commands_of_a_readme_are_found() -> None:
    text = "Run `psql x`, set `y`:\n\n```\nansible-playbook z  # why\nfile.crt\n```\n\n```yaml\npip install: no\n```\n"
    assert commands_of_a_readme(text) == ["ansible-playbook z", "psql x"]


def test_every_page_is_in_the_table_of_contents() -> None:
    table = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))
    listed = [name for section in table["sections"] for name in section["toctree"]]
    assert sorted(listed) == [path.stem for path in guides.pages()]


def test_every_page_begins_with_its_licence_and_its_label() -> None:
    for path in guides.pages():
        text = path.read_text(encoding="utf-8")
        assert text.startswith("..\n  Copyright (c) the pgops.tls authors\n"), path
        assert f"\n.. _ansible_collections.pgops.tls.docsite.{path.stem}:\n" in text, path
