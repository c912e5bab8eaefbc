# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's regular expressions, as far as Python's mean the same; of the others nothing is claimed."""

from __future__ import annotations

import re
from typing import NamedTuple

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "lower": "a-z",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
# The server compiles them in locale C: classes are ASCII, "." is any character, "^" and "$" are the ends of the text.
_PART = re.compile(
    r"""(?P<anchor>[$^])
    | (?P<quantifier>(?:[*+?]|\{\d+(?:,\d*)?\})(?![*+?{]))
    | (?P<bracket>\[\^?\]?(?:\[:[a-z]+:\]|\\[dsw]|\\[^A-Za-z0-9]|[^]\[\\])*\])
    | (?P<same>\\[dswDSW]|\\[^A-Za-z0-9]|\(\?:|\((?!\?)|[).|])
    | (?P<literal>[^]\\()\[{}|.^$*+?])""",
    re.VERBOSE | re.DOTALL,
)
_ITEM = re.compile(r"\[:(?P<class>[a-z]+):\]|(?P<escape>\\.)|(?P<char>.)", re.DOTALL)


class Search(NamedTuple):
    """What a search gave: whether the expression matches (None: unknown), and the first captured part.

    ``group`` is None where nothing is captured; ``is_group_sure``: whether PostgreSQL surely captures the same.
    """

    matches: bool | None
    group: str | None = None
    is_group_sure: bool = False


def search(pattern: str, text: str) -> Search:
    """Search a text as the server does."""
    parts = _parts(pattern)
    try:
        compiled = re.compile("".join(python for _kind, python in parts or ()), re.ASCII | re.DOTALL)
    except (re.error, OverflowError, RecursionError):  # what is too large for Python may be so for the server, too
        parts = None
    if parts is None:
        return Search(None)
    found = compiled.search(text)
    if found is None:
        return Search(False)
    return Search(True, found.group(1) if compiled.groups else None, _is_group_sure(parts))


def _parts(pattern: str) -> list[tuple[str, str]] | None:
    """Return the parts of an expression, each with its kind and as Python writes it; None for what it cannot write."""
    parts, at = [], 0
    while at < len(pattern):
        found = _PART.match(pattern, at)
        if found is None:
            return None
        kind, text = str(found.lastgroup), found.group()
        python = {"anchor": r"\A" if text == "^" else r"\Z", "literal": re.escape(text)}.get(kind, text)
        if kind == "bracket":
            written = _bracket(text)
            if written is None:
                return None
            python = written
        parts.append((kind, python))
        at = found.end()
    return parts


def _bracket(text: str) -> str | None:
    negated = text.startswith("[^")
    written = ""
    for found in _ITEM.finditer(text, 2 if negated else 1, len(text) - 1):
        name, char = found.group("class"), found.group("char")
        if name is not None and name not in _CLASSES:
            return None
        if name is not None:
            written += _CLASSES[name]
        elif char is not None:
            written += char if char == "-" else re.escape(char)
        else:
            written += found.group("escape")
    return f"[{'^' if negated else ''}{written}]"


def _is_group_sure(parts: list[tuple[str, str]]) -> bool:
    """Return whether both capture the same: PostgreSQL takes the longest match, Python the first that it comes to."""
    quantifiers = sum(kind == "quantifier" for kind, _python in parts)
    return ("same", "|") not in parts and (quantifiers < 2 or parts[-1] == ("anchor", r"\Z"))
