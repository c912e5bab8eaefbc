# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other files bring into pg_hba.conf and pg_ident.conf: words by @FILE, and from PostgreSQL 16 on whole lines."""

from __future__ import annotations

import errno
import os
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line, Token

DEEPEST = 10  # files in files, for the server from 16 on; before, it opens files until it has no more descriptors


class Source(NamedTuple):
    """Where a text is from: the path of its file, and how many files lead there. ``major`` is the server's version."""

    path: str
    major: int
    depth: int = 0

    def within(self, name: str) -> Source:
        """Return the place of a file that is named here."""
        path = name if os.path.isabs(name) else os.path.normpath(os.path.join(os.path.dirname(self.path), name))
        return Source(path, self.major, self.depth + 1)


def followed(text: str, place: Source) -> Iterator[tuple[str, Line]]:
    """Yield the lines of a text and of all that it includes, each with the path of its file.

    Words from files are in them already. What could not be included makes a line with an error.
    """
    for line in lexer.read(text, place.major):
        expanded = _expanded(line, place)
        if not expanded.error and lexer.is_directive(expanded, place.major):
            yield from _included(expanded, place)
        elif expanded.fields or expanded.error:
            yield place.path, expanded


def _included(line: Line, place: Source) -> Iterator[tuple[str, Line]]:
    directive, name = (field[0].text for field in line.fields)
    errors = []
    try:
        names = _names(place.within(name).path, name) if directive == "include_dir" else [name]
    except OSError as error:
        names, errors = [], [f"directory {name!r} cannot be read ({error.strerror}), expected one with files *.conf"]
    for one in names:
        inner = place.within(one)
        try:
            text = _text(inner)
        except FileNotFoundError as error:
            if directive != "include_if_exists":
                errors.append(_unreadable(one, error))
        except OSError as error:
            errors.append(_unreadable(one, error))
        else:
            yield from followed(text, inner)
    if errors:
        yield place.path, line._replace(error="; ".join(errors))


def _names(path: str, name: str) -> list[str]:
    """Return the paths of the files in a directory that the server would read, in its order. Raises OSError."""
    if not name.strip(" \t\r\n"):
        raise OSError(0, "its name is empty")
    found = sorted(os.listdir(os.fsencode(path)))
    files = (os.path.join(path, os.fsdecode(one)) for one in found if one.endswith(b".conf") and one[:1] != b".")
    return [one for one in files if not _is_directory(one)]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) or not os.stat(path)  # a dangling link is an error


def _expanded(line: Line, place: Source) -> Line:
    """Return a line with the words of the files that it names by @FILE in their places; a field may have none left."""
    if not any(_names_file(token) for field in line.fields for token in field):
        return line
    fields: list[list[Token]] = []
    for field in line.fields:
        tokens: list[Token] = []
        for token in field:
            if not _names_file(token):
                tokens.append(token)
                continue
            found, error = _words(place.within(token.text[1:]), token.text[1:])
            tokens += found
            if error:
                return line._replace(fields=[*fields, tokens], error=error)
        fields += [tokens] if tokens else []
    return line._replace(fields=fields)


def _words(place: Source, name: str) -> tuple[list[Token], str]:
    """Return all words of a file, and why there are not more of them."""
    tokens: list[Token] = []
    try:
        text = _text(place)
    except OSError as error:
        return tokens, _unreadable(name, error)
    for _path, line in followed(text, place):
        if line.error:
            return tokens, line.error
        tokens += [token for field in line.fields for token in field]
    return tokens, ""


def _names_file(token: Token) -> bool:
    return not token.quoted and len(token.text) > 1 and token.text[0] == "@"


def _text(place: Source) -> str:
    """Return the text of a file; a directory is an empty one to the server. Raises OSError."""
    if place.depth > DEEPEST:
        raise OSError(0, f"more than {DEEPEST} files lead to it")
    if place.major >= 14 and os.path.isdir(place.path):
        return ""
    found = files.text(place.path)  # which does not wait for a pipe
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place.path)
    return found


def _unreadable(name: str, error: OSError) -> str:
    return f"file {name!r} cannot be read ({error.strerror}), expected one that the server can read"
