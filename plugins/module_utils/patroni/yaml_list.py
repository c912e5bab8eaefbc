# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of rules and maps in the text of patroni.yml: what they hold, and the text with other rules. Pure."""

from __future__ import annotations

import contextlib
import re
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_text
from ansible_collections.pgops.tls.plugins.module_utils.patroni.yaml_text import FormError, Span
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration

SECTION = "postgresql"
NO_RULES = "# pgops.tls: no lines"  # Patroni ignores an empty list, and would leave the file as it was
_ITEM = re.compile(r"- +(\S.*)")


class Line(NamedTuple):
    """A line of a list: the rule, or the comment, that it stands for, and the line itself."""

    meaning: str
    raw: str


class RuleList(NamedTuple):
    """A list, its comments included. ``span`` is where its lines are, or where it would begin."""

    lines: Sequence[Line]
    span: Span
    exists: bool

    @property
    def text(self) -> str:
        """Return the list as the file that Patroni makes of it, with the comments that only the list has."""
        return "".join(f"{line.meaning}\n" for line in self.lines)

    @property
    def rules(self) -> list[str]:
        """Return what Patroni reads."""
        return [line.meaning for line in self.lines if line.raw.lstrip().startswith("-")]


def read(text: str, name: str, path: str) -> RuleList:
    """Return the list called ``name`` of section postgresql. Raises TlsError, naming ``path``, for other forms."""
    with _explained(path):
        rows = yaml_text.lines(text)
        _at, section = yaml_text.section(rows, SECTION)
        if section is None:
            raise FormError(1, f"no section {SECTION}:")
        at, body = yaml_text.child(rows, section, name)
        if body is None:
            return RuleList((), Span(section.start, section.start, section.indent), exists=False)
        lines = [_line(rows[number], body.indent, number + 1) for number in range(body.start, body.end)]
    while lines and not lines[-1].raw.lstrip().startswith("-") and lines[-1].meaning != configuration.END:
        lines.pop()  # comments behind the last rule may belong to what follows
    return RuleList(lines, Span(at + 1, at + 1 + len(lines), body.indent), exists=True)


def scalar(text: str, name: str, path: str) -> str:
    """Return the value of a key of section postgresql, '' for none. Raises TlsError for other forms."""
    with _explained(path):
        rows = text.split("\n")
        _at, section = yaml_text.section(rows, SECTION)
        for number, key, rest in yaml_text.keys(rows, section) if section else ():
            if key == name:
                return yaml_text.value(rest, number + 1)
    return ""


def rewritten(text: str, name: str, lines: str, path: str) -> str:
    """Return the text of patroni.yml whose list has these ``lines`` of a file. Lines that stay keep their form."""
    found = read(text, name, path)
    known: dict[str, list[str]] = {}
    for line in found.lines:
        known.setdefault(line.meaning, []).append(line.raw)
    indent = " " * found.span.indent
    wanted = [line for line in lines.split("\n")[:-1] if line != NO_RULES]
    if all(map(yaml_text.is_aside, wanted)):
        wanted.append(NO_RULES)
    new = [known[line].pop(0) if known.get(line) else _raw(line, indent) for line in wanted]
    rows = text.split("\n")
    head = [] if found.exists else [f"{indent}{name}:"]
    return "\n".join([*rows[: found.span.start], *head, *new, *rows[found.span.end :]])


def _raw(line: str, indent: str) -> str:
    if line and (yaml_text.is_aside(line) and line != NO_RULES):
        return f"{indent}{line}"
    return f"{indent}- '{line.replace(chr(39), chr(39) * 2)}'" if line else ""


def _line(raw: str, indent: int, number: int) -> Line:
    if yaml_text.is_aside(raw):
        return Line(raw.lstrip() if raw[:indent].strip() else raw[indent:], raw)
    item = _ITEM.fullmatch(raw[indent:].rstrip())
    if yaml_text.indent_of(raw) != indent or item is None:
        raise FormError(number, "a rule that is not one line of the form '- RULE'")
    return Line(yaml_text.value(item[1], number), raw)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except FormError as error:
        raise TlsError(
            f"{path} line {error.number}: expected lists of rules in block style, one '- RULE' a line; found "
            f"{error.found}. This collection changes no other form. Nothing was changed.",
            remedy=f"Write {SECTION}.pg_hba and {SECTION}.pg_ident so.",
            code="patroni_config_form",
        ) from error
