# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that a role gives to a module, without a compilation by Jinja for each of them on each host.

A role writes them as templates, in a dictionary among the variables of its tasks. Most of them name a variable, give it
to a filter of this collection, or render a template of the role. Such expressions are Python, too: they are parsed once
per run, and evaluated here, as are those of the role's defaults and variables. Anything else is left to Ansible.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import jinja2
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.filter.core import combine
from ansible_collections.pgops.tls.plugins.filter import (
    certificate_names,
    hba_rule,
    ident_map,
    module_identities,
    other_authorities,
    setting,
)
from jinja2 import meta

_ROLES = Path(__file__).resolve().parents[2] / "roles"
_OWN_FILTERS: dict[str, Callable[..., Any]] = {
    f"pgops.tls.{name}": call
    for one in (certificate_names, hba_rule, ident_map, module_identities, other_authorities, setting)
    for name, call in one.FilterModule().filters().items()
}
_FILTERS = {"combine": combine, **_OWN_FILTERS}
_EXPRESSION = re.compile(r"\{\{([^{}]+)\}\}")
_NOW = "now().timestamp()"
_NAMED = re.compile(r"\{\{ (\w+) \}\}")
# Ansible's own, and results of tasks: without templates, and too large to look for some on each host
_WITHOUT_TEMPLATES = ("groups", "__postgres_client_known")
# What a variable means once the task has run that learns it for all hosts
_INSTEAD = {"__postgres_server_identity_rules": "__postgres_server_access.servers[inventory_hostname].rules"}
_ELSEWHERE = (LookupError, TypeError, AnsibleFilterError)  # Ansible finds it, or words well why it cannot


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
            try:
                value, omits = self._option(_parsed(text))
            except _ELSEWHERE:
                value, omits = self._template(text), False
            if value or not omits:
                yield name, value

    def _option(self, expression: ast.expr) -> tuple[Any, bool]:
        """Return what an expression is, and whether its template omits it if it is empty."""
        if isinstance(expression, ast.BoolOp):
            first, *others = expression.values
            if list(map(ast.unparse, others)) == ["omit"]:
                return self._of(first), True
        return time.time() if ast.unparse(expression) == _NOW else self._of(expression), False

    def _of(self, expression: ast.expr) -> Any:
        """Return what an expression is. Raises LookupError for one that Ansible has to evaluate."""
        if isinstance(expression, ast.Constant):
            return expression.value
        if isinstance(expression, ast.Name):
            return self.value(expression.id)
        if isinstance(expression, (ast.Attribute, ast.Subscript)):
            return self._templated(self._member(expression))
        if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
            return self._of(expression.left) + self._of(expression.right)
        if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.BitOr):
            return self._filtered(expression.left, expression.right)
        if isinstance(expression, ast.Call) and ast.unparse(expression.func) == "lookup":
            return self._rendered(*map(self._of, expression.args))
        raise LookupError(expression)

    def _member(self, expression: ast.Attribute | ast.Subscript) -> Any:
        """Return a part of a variable. The variable is not templated as a whole: it may be about all hosts."""
        inner = expression.value
        if isinstance(inner, ast.Name) and not isinstance(self._variables[inner.id], str):
            whole = self._variables[inner.id]
        else:
            whole = self._member(inner) if isinstance(inner, (ast.Attribute, ast.Subscript)) else self._of(inner)
        whole = self._templated(whole) if isinstance(whole, str) else whole
        return whole[expression.attr if isinstance(expression, ast.Attribute) else self._of(expression.slice)]

    def _filtered(self, value: ast.expr, call: ast.expr) -> Any:
        name, arguments = (call.func, call.args) if isinstance(call, ast.Call) else (call, [])
        return _FILTERS[ast.unparse(name)](self._of(value), *map(self._of, arguments))

    def _rendered(self, plugin: str, name: str) -> Any:
        folder = _ROLES / self._role / "templates"
        path = folder / name
        if plugin != "ansible.builtin.template" or path.parent != folder or not path.is_file():
            raise LookupError(name)  # the file is the user's
        template, names = _compiled(path)
        return template.render({name: self.value(name) for name in names})

    def value(self, name: str) -> Any:
        """Return a variable. Raises KeyError where there is none."""
        if name not in self._values:
            found = self._variables[name]
            self._values[name] = found if name in _WITHOUT_TEMPLATES else self._templated(found)
        return self._values[name]

    def _templated(self, value: Any) -> Any:
        if _is_plain(value):
            return value
        if isinstance(value, (str, list)) and value in _texts(self._role):
            try:
                return self._of_text(value)
            except _ELSEWHERE:
                pass
        return self._template(value)

    def _of_text(self, value: Any) -> Any:
        """Return what a text of the role is, or a list of them. Raises LookupError where Ansible has to find it."""
        if isinstance(value, list):
            return [self._of_text(one) for one in value]
        expression = _EXPRESSION.fullmatch(value)
        if expression:
            return self._of(_parsed(_INSTEAD.get(expression[1].strip(), value)))
        if "{" in _NAMED.sub("", value):
            raise LookupError(value)
        return _NAMED.sub(lambda match: str(self.value(match[1])), value)


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
def _parsed(text: str) -> ast.expr:
    """Return the expression of a template that is nothing else, or of an expression.

    Raises LookupError for one that is not written as Python writes it.
    """
    whole = _EXPRESSION.fullmatch(text)
    try:
        return ast.parse(f"({(whole[1] if whole else text).strip()})", mode="eval").body
    except SyntaxError as error:
        raise LookupError(text) from error


@functools.lru_cache(maxsize=None)
def _texts(role: str) -> list[Any]:
    """Return the defaults and variables of a role that are templates."""
    paths = [_ROLES / role / folder / "main.yml" for folder in ("defaults", "vars")]
    texts = [yaml_load(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    return [one for text in texts for one in text.values() if not _is_plain(one)]


@functools.lru_cache(maxsize=None)
def _compiled(path: Path) -> tuple[jinja2.Template, frozenset[str]]:
    """Return a template of a role as Ansible would compile it, and the variables that it uses."""
    environment = jinja2.Environment(  # noqa: S701 (a file of PostgreSQL is no HTML)
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(_OWN_FILTERS)
    text = path.read_text(encoding="utf-8")
    return environment.from_string(text), frozenset(meta.find_undeclared_variables(environment.parse(text)))


# Here, which is before Ansible starts a process for each host
for _path in sorted((_ROLES / "postgres_server" / "templates").glob("*.j2")):
    _compiled(_path)
for _role in ("postgres_server", "postgres_client", "postgres_pooler"):
    for _text in _texts(_role):
        if isinstance(_text, str) and _EXPRESSION.fullmatch(_text):
            with contextlib.suppress(LookupError):
                _parsed(_text)
