# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that a role gives to a module, without a compilation by Jinja for each of them on each host.

A role writes them as templates, in a dictionary among the variables of its tasks. Most of them only name a variable or
render a template of the role. These are looked up, and rendered by a template that is compiled once per run. So are
defaults of the role that only name variables. Anything else is left to Ansible.
"""

from __future__ import annotations

import functools
import re
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import jinja2
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.pgops.tls.plugins.filter import hba_rule, ident_map, setting
from jinja2 import meta

_ROLES = Path(__file__).resolve().parents[2] / "roles"
_REFERENCE = r"\w+(?:\.\w+|\[\w+\])*"
_SIMPLE = re.compile(rf"\{{\{{ (?P<terms>{_REFERENCE}(?: \+ {_REFERENCE})*)(?P<omit> or omit)? \}}\}}")
_RENDERED = re.compile(r"\{\{ lookup\('ansible\.builtin\.template', (?:'(?P<file>[\w.]+)'|(?P<name>\w+))\) \}\}")
_NOW = "{{ now().timestamp() }}"
_NAMED = re.compile(r"\{\{ (\w+) \}\}")
_PART = re.compile(r"\w+|\[\w+\]")
# What a default means once the task has run that learns it for all hosts
_INSTEAD = {"__postgres_server_identity_rules": "__postgres_server_access.servers[inventory_hostname].rules"}


class RoleOptions:
    """The options in the variables of a task. ``template`` is Ansible's, which templates any value."""

    def __init__(self, role: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> None:
        self._role = role
        self._variables = variables
        self._template = template
        self._values: dict[str, Any] = {}

    def given(self, declared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Give each option that is ``declared`` as a template, with its value, unless the template omits it.

        The templates are those of a role, never what a host or an inventory has said.
        """
        for name, text in declared.items():
            simple = _SIMPLE.fullmatch(text) if isinstance(text, str) else None
            value = self._simple(simple["terms"]) if simple else time.time() if text == _NOW else None
            if value is None:
                value = self._rendered(text)
            if value or not simple or not simple["omit"]:
                yield name, value

    def _simple(self, terms: str) -> Any:
        """Return what references are together; None where one of them leads to nothing, which Ansible words well."""
        try:
            first, *others = [self._referred(term) for term in terms.split(" + ")]
        except (KeyError, TypeError):
            return None
        return functools.reduce(lambda one, other: one + other, others, first)

    def _referred(self, term: str) -> Any:
        name, *keys = _PART.findall(term)
        if not keys:
            return self._value(name)
        found = self._variables[name]
        if isinstance(found, str):
            found = self._value(name)  # else not templated as a whole: it may be about all hosts
        for key in keys:
            found = self._templated(found) if isinstance(found, str) else found
            found = found[self._value(key.strip("[]")) if key.startswith("[") else key]
        return self._templated(found)

    def _value(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._templated(self._variables[name])
        return self._values[name]

    def _templated(self, value: Any) -> Any:
        if _is_plain(value):
            return value
        if isinstance(value, (str, list)) and value in _defaults(self._role):
            found = self._of_default(value)
            if found is not None:
                return found
        return self._template(value)

    def _of_default(self, value: Any) -> Any:
        """Return a default of the role with the variables that it names; None where there is more in it than names."""
        if isinstance(value, list):
            found = [self._of_default(one) for one in value]
            return None if None in found else found
        whole = _NAMED.fullmatch(value)
        if whole:
            return self._simple(_INSTEAD.get(whole[1], whole[1]))
        if "{" in _NAMED.sub("", value):
            return None
        return _NAMED.sub(lambda match: str(self._value(match[1])), value)

    def _rendered(self, text: Any) -> Any:
        found = _RENDERED.fullmatch(text) if isinstance(text, str) else None
        folder = _ROLES / self._role / "templates"
        path = found and folder / (found["file"] or str(self._value(found["name"])))
        if path is None or path.parent != folder or not path.is_file():  # else the file is the user's
            return self._template(text)
        template, names = _compiled(path)
        return template.render({name: self._value(name) for name in names})


def _is_plain(value: Any) -> bool:
    """Return whether there is nothing in a value that Ansible would template or decrypt."""
    if isinstance(value, str):
        return "{" not in value
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float))


@functools.lru_cache(maxsize=None)
def _defaults(role: str) -> list[Any]:
    path = _ROLES / role / "defaults" / "main.yml"
    return [one for one in yaml_load(path.read_text(encoding="utf-8")).values() if not _is_plain(one)]


@functools.lru_cache(maxsize=None)
def _compiled(path: Path) -> tuple[jinja2.Template, frozenset[str]]:
    """Return a template of a role as Ansible would compile it, and the variables that it uses."""
    environment = jinja2.Environment(  # noqa: S701 (a file of PostgreSQL is no HTML)
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    for one in (hba_rule, ident_map, setting):
        environment.filters.update({f"pgops.tls.{name}": call for name, call in one.FilterModule().filters().items()})
    text = path.read_text(encoding="utf-8")
    return environment.from_string(text), frozenset(meta.find_undeclared_variables(environment.parse(text)))


for _path in sorted((_ROLES / "postgres_server" / "templates").glob("*.j2")):
    _compiled(_path)  # here, which is before Ansible starts a process for each host
