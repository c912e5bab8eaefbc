# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The value of a variable; and what to do about one that uses another one that is undefined.

Most often that is a fact that nobody has gathered.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from ansible import constants
from ansible.errors import AnsibleError
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from jinja2 import Undefined, UndefinedError

# What a variable raises that cannot be templated; newer versions of ansible-core wait until its value is used
ERRORS = (AnsibleError, UndefinedError)

_UNDEFINED = re.compile(r"'(?P<name>\w+)' is undefined")
_NO_FACT = re.compile(r"has no attribute '(?P<name>\w+)'")
_TEMPLATE = re.compile(r"\{\{(?P<expression>.*?)\}\}")
_FACT = re.compile(r"\bansible_(?:facts(?:\.|\[['\"]))?(?P<name>\w+)")
# Variables that begin like facts, but are set by people, such as ansible_host
_CONNECTION = {name for names in constants.MAGIC_VARIABLE_MAPPING.values() for name in names}


def filled(value: Any) -> Any:
    """Return a value as plain data. Raises UndefinedError or TlsError where it has none, and not in what looks at it.

    Ansible's own containers template what is in them when it is looked at, and do not stand to be copied, which the
    validation of arguments does: their copies know no filter any more.
    """
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, str) and of_text(value):
        raise TlsError(of_text(value), code="variable_unresolved")
    if isinstance(value, Mapping):
        return {key: filled(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [filled(one) for one in value]
    # Ansible up to 2.18 has a class of its own for a text that is encrypted in place, which no option takes
    return str(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else value


def explained(message: str) -> str:
    """Return Ansible's message on a variable that cannot be templated, with what to do."""
    name = _UNDEFINED.search(message)
    if name and name["name"].startswith("ansible_") and name["name"] not in _CONNECTION:
        return f"{message}. {_gather(name['name'].replace('ansible_', '', 1))}"
    fact = _NO_FACT.search(message)
    if fact:
        return f"{message}. Correct the name. If it is a fact of the host: {_gather(fact['name'])}"
    return f"{message}. Set it for this host, or correct the name." if name else message


def of_text(text: str) -> str:
    """Return what to say of a text that still holds a template with a fact, '' if it holds none.

    Ansible up to 2.18 leaves a template as it is if it cannot be filled.
    """
    template = _TEMPLATE.search(text)
    fact = _FACT.search(template["expression"]) if template else None
    if template is None or fact is None or f"ansible_{fact['name']}" in _CONNECTION:
        return ""
    return f"{template[0]} is undefined. {_gather(fact['name'])}"


def _gather(fact: str) -> str:
    return (
        f"This run gathers no facts. Write ansible_facts['{fact}'], and gather facts first, in a playbook of "
        "your own: a play with hosts: all and gather_facts: true, then import_playbook: pgops.tls.site. Or write the "
        "value without a fact."
    )
