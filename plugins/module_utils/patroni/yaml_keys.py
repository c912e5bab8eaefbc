# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys with paths in sections of patroni.yml: the text with other values, and everything else as it was. Pure."""

from __future__ import annotations

import re
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_text
from ansible_collections.pgops.tls.plugins.module_utils.patroni.yaml_text import FormError

Values = Mapping[str, Mapping[str, "str | None"]]  # by section and key; None: there is no such key
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/_.+@-]*")
_COMMENT = re.compile(r"""(?:'(?:[^']|'')*'|"[^"\\]*"|[^'"].*?)?([ \t]+#.*)?""")
_INDENT = 2  # of keys in a section that is new


def rewritten(text: str, wanted: Values, path: str) -> str:
    """Return the text in which keys have the values ``wanted``. Raises TlsError, naming ``path``, for other forms.

    A section that loses its last key goes, too: Patroni cannot read an empty one.
    """
    try:
        yaml_text.lines(text)
        for section, keys in wanted.items():
            text = _with_section(text, section, keys)
    except FormError as error:
        raise TlsError(
            f"{path} line {error.number}: expected keys of restapi and ctl in block style, each on a line of its own; "
            f"found {error.found}. This collection changes no other form. Nothing was changed.",
            remedy="Write sections restapi and ctl so.",
            code="patroni_config_form",
        ) from error
    return text


def _with_section(text: str, name: str, wanted: Mapping[str, str | None]) -> str:
    rows = text.split("\n")
    at, span = yaml_text.section(rows, name)
    new = {key: value for key, value in wanted.items() if value is not None}
    if span is None:
        return text if not new else "\n".join([*_ended(rows), f"{name}:", *_lines(new, _INDENT), ""])
    is_empty = not yaml_text.content(rows, span)
    found = {} if is_empty else {key: (number, rest) for number, key, rest in yaml_text.keys(rows, span)}
    for key, value in wanted.items():
        if key in found:
            number, rest = found[key]
            _refuse_continued(rows, span, number, rest)
            rows[number] = _changed(rows[number], rest, value)
            new.pop(key, None)
    rows[span.start : span.start] = _lines(new, _INDENT if is_empty else span.indent)
    kept = [row for number, row in enumerate(rows) if row != _GONE]
    if not new and not any(key not in wanted or wanted[key] is not None for key in found):
        kept.remove(rows[at])
    return "\n".join(kept)


_GONE = "\0"  # in place of a line that is to be removed


def _changed(row: str, rest: str, value: str | None) -> str:
    """Return the line of a key with another value, and with the comment that it had."""
    if value is None:
        return _GONE
    comment = _COMMENT.fullmatch(rest)
    head = row[: len(row.rstrip()) - len(rest)] if rest else f"{row.rstrip()} "
    return f"{head}{_written(value)}{(comment[1] if comment else '') or ''}"


def _refuse_continued(rows: list[str], span: yaml_text.Span, number: int, rest: str) -> None:
    """Raise FormError for a value that is no text on the line of its key."""
    yaml_text.value(rest, number + 1)
    if not rest and not rows[number].rstrip().endswith(":"):
        raise FormError(number + 1, "a key without a value, and a comment behind it")
    following = next((one for one in yaml_text.content(rows, span) if one > number), None)
    if following is not None and yaml_text.indent_of(rows[following]) > span.indent:
        raise FormError(following + 1, "a value on several lines")


def _ended(rows: list[str]) -> list[str]:
    """Return the lines of a file without the empty one that stands for its last line end."""
    return rows[:-1] if rows and not rows[-1] else rows


def _lines(values: Mapping[str, str], indent: int) -> list[str]:
    return [f"{' ' * indent}{key}: {_written(value)}" for key, value in values.items()]


def _written(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "''") + "'"
