# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of patroni.yml by lines: sections, keys and their values. Pure.

A managed host may have no YAML parser for Ansible's Python, and comments must survive. So only the block style that
people and packages write is edited; anything else is refused. Patroni's own parser has the last word: see check.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

_KEY = re.compile(r"""("[^"\\]*"|'[^']*'|[A-Za-z_][\w.-]*) *:(?: +(.*))?""")
_SINGLE = re.compile(r"'((?:[^']|'')*)' *(?: #.*)?")
_DOUBLE = re.compile(r'"([^"\\]*)" *(?: #.*)?')
_INDICATORS = frozenset("[]{}&*!|>%@`,?:-#")  # a plain scalar that begins with one is none, or needs a look ahead


class FormError(Exception):
    """A line has another form than the one that is edited."""

    def __init__(self, number: int, found: str) -> None:
        super().__init__(found)
        self.number = number
        self.found = found


class Span(NamedTuple):
    """Lines of the file from ``start`` up to but without ``end``, and how far they are indented."""

    start: int
    end: int
    indent: int


def lines(text: str) -> list[str]:
    """Return the lines of a file. Raises FormError for one that is more than one plain document."""
    rows, begun = text.split("\n"), False
    for number, row in enumerate(rows, start=1):
        if "\r" in row or (not is_aside(row) and row.lstrip(" ")[0] == "\t"):
            raise FormError(number, "a tab before the text, or a carriage return")
        if re.match(r"(?:%|\.\.\.(?:\s|$))", row) or (begun and re.match(r"---(?:\s|$)", row)):
            raise FormError(number, "a directive, or more than one document")
        begun = begun or not is_aside(row)
    return rows


def section(rows: Sequence[str], name: str) -> tuple[int, Span | None]:
    """Return what ``child`` returns of the whole file."""
    return child(rows, Span(0, len(rows), 0), name)


def child(rows: Sequence[str], within: Span, name: str) -> tuple[int, Span | None]:
    """Return the line of a key, and the lines below it; (0, None) if there is no such key. Raises FormError."""
    found = [(number, rest) for number, key, rest in keys(rows, within) if key == name]
    if not found:
        return 0, None
    at, rest = found[0]
    if rest:
        raise FormError(at + 1, f"{name}: with a value on its own line")
    if len(found) > 1:
        raise FormError(found[1][0] + 1, f"a second {name}:")
    below = [number for number in content(rows, within) if number > at]
    end = next((number for number in below if _ends(rows[number], within.indent)), within.end)
    indent = indent_of(rows[below[0]]) if below and below[0] < end else within.indent
    return at, Span(at + 1, end, indent)


def keys(rows: Sequence[str], within: Span) -> list[tuple[int, str, str]]:
    """Return the line of each key that begins at the indent of a span, the key, and the rest without a comment."""
    found = [(number, _key(rows[number], within.indent)) for number in content(rows, within)]
    return [(number, *key) for number, key in found if key]


def content(rows: Sequence[str], span: Span) -> list[int]:
    """Return the numbers of the lines that are neither empty nor comments."""
    return [number for number in range(span.start, span.end) if not is_aside(rows[number])]


def is_aside(line: str) -> bool:
    """Return whether a line is a comment or empty."""
    return not line.strip() or line.lstrip().startswith("#")


def value(given: str, number: int) -> str:
    """Return the text that a scalar of one line stands for. Raises FormError."""
    quoted = _SINGLE.fullmatch(given) or _DOUBLE.fullmatch(given)
    if quoted:
        return quoted[1].replace("''", "'") if given.startswith("'") else quoted[1]
    plain = re.split(r"[ \t]#", given, maxsplit=1)[0].rstrip()
    if given[:1] in _INDICATORS or given[:1] in "'\"" or re.search(r":(?:\s|$)", plain):
        raise FormError(number, "a value that is no simple text")
    return plain


def indent_of(row: str) -> int:
    """Return how many blanks a line begins with."""
    return len(row) - len(row.lstrip(" "))


def _key(row: str, indent: int) -> tuple[str, str] | None:
    found = _KEY.fullmatch(row[indent:].rstrip()) if not row[:indent].strip() else None
    if found is None:
        return None
    rest = found[2] or ""
    return found[1].strip("\"'"), "" if rest.startswith("#") else rest


def _ends(row: str, indent: int) -> bool:
    """Return whether a line is not below a key of this indent; the items of a list may be indented like their key."""
    return indent_of(row) < indent or (indent_of(row) == indent and not row.lstrip().startswith("- "))
