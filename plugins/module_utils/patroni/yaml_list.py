# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of rules and maps in the text of patroni.yml: what they hold, and the text with other rules. Pure.

A managed host may have no YAML parser for Ansible's Python, and comments must survive. So only the block style that
people and packages write is edited; anything else is refused. Patroni's own parser has the last word: see check.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration

SECTION = "postgresql"
NO_RULES = "# pgops.tls: no lines"  # Patroni ignores an empty list, and would leave the file as it was
_KEY = re.compile(r"""("[^"\\]*"|'[^']*'|[A-Za-z_][\w.-]*) *:(?: +(.*))?""")
_ITEM = re.compile(r"- +(\S.*)")
_SINGLE = re.compile(r"'((?:[^']|'')*)' *(?: #.*)?")
_DOUBLE = re.compile(r'"([^"\\]*)" *(?: #.*)?')
_INDICATORS = frozenset("[]{}&*!|>%@`,?:-#")  # a plain scalar that begins with one is none, or needs a look ahead


class Line(NamedTuple):
    """A line of a list: the rule, or the comment, that it stands for, and the line itself."""

    meaning: str
    raw: str


class Span(NamedTuple):
    """Lines of the file from ``start`` up to but without ``end``, and how far they are indented."""

    start: int
    end: int
    indent: int


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
    rows = text.split("\n")
    _refuse_form(rows, path)
    _at, section = _child(rows, Span(0, len(rows), 0), SECTION, path)
    if section is None:
        raise _other_form(path, 1, f"no section {SECTION}:")
    at, body = _child(rows, section, name, path)
    if body is None:
        return RuleList((), Span(section.start, section.start, section.indent), exists=False)
    lines = [_line(rows[number], body.indent, path, number + 1) for number in range(body.start, body.end)]
    while lines and not lines[-1].raw.lstrip().startswith("-") and lines[-1].meaning != configuration.END:
        lines.pop()  # comments behind the last rule may belong to what follows
    return RuleList(lines, Span(at + 1, at + 1 + len(lines), body.indent), exists=True)


def scalar(text: str, name: str, path: str) -> str:
    """Return the value of a key of section postgresql, '' for none. Raises TlsError for other forms."""
    rows = text.split("\n")
    _at, section = _child(rows, Span(0, len(rows), 0), SECTION, path)
    for number in _content(rows, section) if section else ():
        found = _key(rows[number], section.indent) if section else None
        if found is not None and found[0] == name:
            return _value(found[1], path, number + 1)
    return ""


def rewritten(text: str, name: str, lines: str, path: str) -> str:
    """Return the text of patroni.yml whose list has these ``lines`` of a file. Lines that stay keep their form."""
    found = read(text, name, path)
    known: dict[str, list[str]] = {}
    for line in found.lines:
        known.setdefault(line.meaning, []).append(line.raw)
    indent = " " * found.span.indent
    wanted = [line for line in lines.split("\n")[:-1] if line != NO_RULES]
    if all(map(_is_aside, wanted)):
        wanted.append(NO_RULES)
    new = [known[line].pop(0) if known.get(line) else _raw(line, indent) for line in wanted]
    rows = text.split("\n")
    head = [] if found.exists else [f"{indent}{name}:"]
    return "\n".join([*rows[: found.span.start], *head, *new, *rows[found.span.end :]])


def _raw(line: str, indent: str) -> str:
    if line and (_is_aside(line) and line != NO_RULES):
        return f"{indent}{line}"
    return f"{indent}- '{line.replace(chr(39), chr(39) * 2)}'" if line else ""


def _is_aside(line: str) -> bool:
    """Return whether a line is a comment or empty."""
    return not line.strip() or line.lstrip().startswith("#")


def _line(raw: str, indent: int, path: str, number: int) -> Line:
    if _is_aside(raw):
        return Line(raw.lstrip() if raw[:indent].strip() else raw[indent:], raw)
    item = _ITEM.fullmatch(raw[indent:].rstrip())
    if _indent(raw) != indent or item is None:
        raise _other_form(path, number, "a rule that is not one line of the form '- RULE'")
    return Line(_value(item[1], path, number), raw)


def _value(given: str, path: str, number: int) -> str:
    """Return the text that a scalar of one line stands for. Raises TlsError."""
    quoted = _SINGLE.fullmatch(given) or _DOUBLE.fullmatch(given)
    if quoted:
        return quoted[1].replace("''", "'") if given.startswith("'") else quoted[1]
    plain = re.split(r"[ \t]#", given, maxsplit=1)[0].rstrip()
    if given[:1] in _INDICATORS or given[:1] in "'\"" or re.search(r":(?:\s|$)", plain):
        raise _other_form(path, number, "a value that is no simple text")
    return plain


def _refuse_form(rows: Sequence[str], path: str) -> None:
    """Raise TlsError for a file that is more than one plain document."""
    begun = False
    for number, row in enumerate(rows, start=1):
        if "\r" in row or (not _is_aside(row) and row.lstrip(" ")[0] == "\t"):
            raise _other_form(path, number, "a tab before the text, or a carriage return")
        if re.match(r"(?:%|\.\.\.(?:\s|$))", row) or (begun and re.match(r"---(?:\s|$)", row)):
            raise _other_form(path, number, "a directive, or more than one document")
        begun = begun or not _is_aside(row)


def _content(rows: Sequence[str], span: Span) -> list[int]:
    """Return the numbers of the lines that are neither empty nor comments."""
    return [number for number in range(span.start, span.end) if not _is_aside(rows[number])]


def _key(row: str, indent: int) -> tuple[str, str] | None:
    """Return the key that begins at this indent, and the rest of its line without a comment."""
    found = _KEY.fullmatch(row[indent:].rstrip()) if not row[:indent].strip() else None
    if found is None:
        return None
    rest = found[2] or ""
    return found[1].strip("\"'"), "" if rest.startswith("#") else rest


def _child(rows: Sequence[str], within: Span, name: str, path: str) -> tuple[int, Span | None]:
    """Return the line of a key, and the lines below it; (0, None) if there is no such key. Raises TlsError."""
    content = _content(rows, within)
    keys = [(number, *key) for number in content for key in [_key(rows[number], within.indent)] if key]
    found = [(number, rest) for number, key, rest in keys if key == name]
    if not found:
        return 0, None
    at, rest = found[0]
    if rest:
        raise _other_form(path, at + 1, f"{name}: with a value on its own line")
    if len(found) > 1:
        raise _other_form(path, found[1][0] + 1, f"a second {name}:")
    below = [number for number in content if number > at]
    end = next((number for number in below if _ends(rows[number], within.indent)), within.end)
    indent = _indent(rows[below[0]]) if below and below[0] < end else within.indent
    return at, Span(at + 1, end, indent)


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip(" "))


def _ends(row: str, indent: int) -> bool:
    """Return whether a line is not below a key of this indent; the items of a list may be indented like their key."""
    return _indent(row) < indent or (_indent(row) == indent and not row.lstrip().startswith("- "))


def _other_form(path: str, number: int, found: str) -> TlsError:
    return TlsError(
        f"{path} line {number}: expected lists of rules in block style, one '- RULE' a line; found {found}. This "
        "collection changes no other form. Nothing was changed.",
        remedy=f"Write {SECTION}.pg_hba and {SECTION}.pg_ident so.",
        code="patroni_config_form",
    )
