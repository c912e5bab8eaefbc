# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of pg_hba.conf and pg_ident.conf, as the tokenizer in PostgreSQL's hba.c reads them, versions 13 to 19.

A text is what was read as UTF-8 with ``surrogateescape``: a byte that is no UTF-8 is one character and nothing else.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

NEWEST = 19
TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")  # of rules
_DIRECTIVES = ("include", "include_if_exists", "include_dir")
# Bytes that fit, before a server says too much: in a word up to version 15, in a line (with its end) up to 13.
WORD_LIMIT, LINE_LIMIT = 10239, 20478
_RAW = re.compile(r"[^\n]*\n|[^\n]+")
# Quotes may begin anywhere in a word, and what is left open ends with the line.
_QUOTED = r'"((?:[^"]+|"")*)(?:"|\Z)'
_BLANKS, _WORD = re.compile(r"[ \t,]*"), re.compile(rf'(?:[^ \t,#"]|{_QUOTED})+')
# Up to version 18 a carriage return inside a line is a blank, too
_BLANKS_BEFORE_19, _WORD_BEFORE_19 = re.compile(r"[ \t\r,]*"), re.compile(rf'(?:[^ \t\r,#"]|{_QUOTED})+')
_QUOTED_PART = re.compile(_QUOTED)


class Token(NamedTuple):
    """A word of a line; a quote before its first character takes the special meaning from keywords."""

    text: str
    quoted: bool


class Line(NamedTuple):
    """A line with something on it: its number and its fields, each a list of words that commas join.

    ``text`` is the whole line, ``error`` why the server reads no further in it ('': it does).
    """

    number: int
    fields: list[list[Token]]
    text: str
    error: str = ""


def read(text: str, major: int = NEWEST) -> list[Line]:
    """Return the lines of a text that hold something, as a server of version ``major`` reads them."""
    lines = []
    for number, content, raw in pieces(text, major):
        fields, error = _fields(content, major)
        if major < 14 and len(_bytes(raw.partition("\0")[0])) > LINE_LIMIT:
            fields, error = [], f"the line has more than {LINE_LIMIT} bytes, expected fewer. Write it as several rules"
        if fields or error:
            lines.append(Line(number, fields, content, error))
    return lines


def pieces(text: str, major: int = NEWEST) -> Iterator[tuple[int, str, str]]:
    """Yield number, content and raw text of each line; all raw texts together are the text.

    From 14 on a backslash at the end of a line joins the next one. What follows a NUL is lost; from 14 on that is also
    the end of the line, so that the next one is a part of it.
    """
    number, joined, content, raw, kept = 1, 0, "", "", 0
    for part in _parts(text, major):
        head, nul, _lost = part.partition("\0")
        raw, content = raw + part, content + head
        if major >= 14:
            if nul and part.endswith("\n"):
                continue
            content = content.rstrip("\r\n")
            if content.endswith("\\") and len(content) > kept:
                content, joined = content[:-1], joined + 1
                kept = len(content)
                continue
        yield number, content.rstrip("\r\n"), raw
        number, joined, content, raw, kept = number + joined + 1, 0, "", "", 0
    if raw:  # after a backslash nothing is read that a carriage return before it would end
        yield number, content if kept == len(content) else content.rstrip("\r\n"), raw


def _parts(text: str, major: int) -> Iterator[str]:
    """Yield what the server reads at once: a line, up to 13 at most so much of one as fits."""
    for found in _RAW.finditer(text):
        part = found.group()
        if major >= 14 or len(part) * 4 <= LINE_LIMIT:
            yield part
            continue
        content, size = _bytes(part), LINE_LIMIT + 1
        for start in range(0, len(content), size):
            yield content[start : start + size].decode("utf-8", "surrogateescape")


def _fields(line: str, major: int) -> tuple[list[list[Token]], str]:
    """Return the fields of a line, and why there are not more of them ('': the line ends there)."""
    fields: list[list[Token]] = []
    blanks, word_of = (_BLANKS, _WORD) if major >= 19 else (_BLANKS_BEFORE_19, _WORD_BEFORE_19)
    at, joined = 0, False
    while True:
        found = word_of.match(line, _end(blanks, line, at))
        if found is None:
            return fields, ""
        raw, at = found.group(), found.end()
        comma = line[at : at + 1] == ","
        text = _unquoted(raw) if '"' in raw else raw
        if major < 16 and _is_too_long(text, raw, comma=comma):
            return fields, f"a word has more than {WORD_LIMIT} bytes, expected fewer before PostgreSQL 16"
        token = Token(text, raw[0] == '"')
        if joined:
            fields[-1].append(token)
        else:
            fields.append([token])
        joined = comma


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return found.end() if found else at


def _unquoted(raw: str) -> str:
    return _QUOTED_PART.sub(lambda found: found.group(1).replace('""', '"'), raw)


def _is_too_long(text: str, raw: str, *, comma: bool) -> bool:
    """Return whether the server gives a word up: when it is full and there is one more character to look at."""
    if len(text) * 4 < WORD_LIMIT:
        return False
    size = len(_bytes(text))
    return size > WORD_LIMIT or (size == WORD_LIMIT and (comma or raw.endswith('"')))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_directive(line: Line, major: int) -> bool:
    """Return whether a line names other files instead of being one of the file's own."""
    return major >= 16 and len(line.fields) == 2 and line.fields[0][0].text in _DIRECTIVES


def word(text: str) -> str:
    """Return a text as one word of a line, in quotes where it needs them. It holds no line break and no NUL."""
    if re.search(r'[\s,"#]|\\$', text):
        return '"' + text.replace('"', '""') + '"'
    return text
