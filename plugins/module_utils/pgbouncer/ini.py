# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of pgbouncer.ini: what PgBouncer reads of it, and our one line in it. Pure, without files.

Tried with 1.18 and 1.24: the header ``[pgbouncer]`` resets every setting of that section to its default, the last line
of a setting wins, and an included file continues the section that includes it.
"""

from __future__ import annotations

import re
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

SECTION = "pgbouncer"
MARK = "; pgops.tls: keep the next line at the end of this section, the last line of a setting wins"
_HEADER = re.compile(r"\[([^\]]*)\]\s*")
_INCLUDE = re.compile(r"%include[ \t]+(\S.*?)\s*")
_SETTING = re.compile(r'("(?:[^"]|"")*"|[A-Za-z0-9_.*-]+)[ \t]*=[ \t]*(.*?)\s*')
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:[^']|'')*'|[^\s']*)")
_DEEPEST = 10  # files that include one another

Read = Callable[[str], "str | None"]  # gives the text of an included file, None if there is none


class Line(NamedTuple):
    """A line that means something: ``kind`` is section, include, setting or broken.

    A value may hold a password, so it is never part of a message.
    """

    kind: str
    key: str
    value: str
    section: str
    file: str
    number: int

    @property
    def place(self) -> str:
        """Return where the line is, for messages."""
        return f"{self.file} line {self.number}"


class Database(NamedTuple):
    """What a line of ``[databases]`` says of the way to PostgreSQL. ``hosts`` is empty for a Unix socket."""

    name: str
    hosts: Sequence[str]
    port: int
    database: str
    user: str


def lines(text: str, path: str, read: Read) -> list[Line]:
    """Return the lines of a configuration in the order in which PgBouncer reads them, those of included files too."""
    return list(_lines(text, path, read, [""], 0))


def _lines(text: str, path: str, read: Read, section: list[str], depth: int) -> Iterator[Line]:
    for number, raw in enumerate(text.split("\n"), start=1):
        line = _line(raw.strip(), section, path, number)
        if line is None:
            continue
        yield line
        if line.kind == "include":
            included = read(line.key) if depth < _DEEPEST else None
            if included is None:
                yield line._replace(kind="broken", value="an included file that does not exist or cannot be read")
            else:
                yield from _lines(included, line.key, read, section, depth + 1)


def _line(text: str, section: list[str], path: str, number: int) -> Line | None:
    if not text or text[0] in ";#":
        return None
    header, include, setting = _HEADER.fullmatch(text), _INCLUDE.fullmatch(text), _SETTING.fullmatch(text)
    if header:
        section[0] = header[1]
        return Line("section", header[1], "", section[0], path, number)
    if include:
        return Line("include", include[1], "", section[0], path, number)
    if setting and section[0]:
        return Line("setting", setting[1], setting[2], section[0], path, number)
    return Line("broken", "", "neither a section, nor NAME = VALUE, nor %include", section[0], path, number)


def broken(found: Sequence[Line], known: Iterable[str]) -> str:
    """Return what is wrong with the first line that PgBouncer would not load, '' if it would load all of them.

    ``known`` are the settings that this version has.
    """
    names = frozenset(known)
    for line in found:
        why = line.value if line.kind == "broken" else ""
        if line.kind == "setting" and line.section == SECTION and line.key not in names:
            why = f"setting {line.key!r}, which this version of PgBouncer does not know"
        if why:
            return f"{line.place}: found {why}. PgBouncer stops reading there, and would not start again."
    return ""


def settings(found: Sequence[Line]) -> dict[str, Line]:
    """Return the line that decides on each setting of section ``[pgbouncer]``."""
    last: dict[str, Line] = {}
    for line in found:
        if line.kind == "section" and line.key == SECTION:
            last = {}
        elif line.kind == "setting" and line.section == SECTION:
            last[line.key] = line
    return last


def databases(found: Sequence[Line]) -> list[Database]:
    """Return what the lines of section ``[databases]`` say, without their passwords."""
    last = {line.key: line for line in found if line.kind == "setting" and line.section == "databases"}
    return [_database(line) for line in last.values()]


def _database(line: Line) -> Database:
    said = {key: _unquoted(value) for key, value in _PAIR.findall(line.value)}
    name = line.key[1:-1].replace('""', '"') if line.key.startswith('"') else line.key
    hosts = [one.strip() for one in said.get("host", "").split(",")]
    port = said.get("port", "")
    return Database(
        name=name,
        hosts=[one for one in hosts if one and one[0] not in "/@"],
        port=int(port) if port.isdigit() else 5432,
        database=said.get("dbname") or ("postgres" if name == "*" else name),
        user=said.get("user", ""),
    )


def _unquoted(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def with_include(text: str, included: str, path: str) -> str:
    """Return the text with our line at the end of its last section ``[pgbouncer]``, and the rest untouched.

    Raises TlsError, naming the file at ``path``, if it has no such section.
    """
    kept = without_include(text).split("\n")
    section, at = [""], 0
    for number, raw in enumerate(kept, start=1):
        line = _line(raw.strip(), section, path, number)
        if line is not None and section[0] == SECTION:
            at = number
    if not at:
        raise TlsError(
            f"{path}: expected a section [{SECTION}], found none.",
            remedy="Name the main configuration file of PgBouncer.",
            code="pooler_config_no_section",
        )
    return "\n".join([*kept[:at], MARK, f"%include {included}", *(kept[at:] or [""])])


def without_include(text: str) -> str:
    """Return the text without our line, wherever it leads."""
    kept: list[str] = []
    is_ours = False
    for raw in text.split("\n"):
        is_mark = raw.strip() == MARK
        if not is_mark and not (is_ours and raw.startswith("%include")):
            kept.append(raw)
        is_ours = is_mark
    return "\n".join(kept)


def includes(text: str) -> str:
    """Return our lines in the text, for a difference; everything else may hold passwords."""
    rows = text.split("\n")
    return "".join(f"{rows[at]}\n" for at in range(1, len(rows)) if rows[at - 1].strip() == MARK)


def overridden(found: Sequence[Line], wanted: Mapping[str, str]) -> list[str]:
    """Return which of the ``wanted`` settings another line decides on, in words."""
    last = settings(found)
    return [f"{name} in {last[name].place}" for name in wanted if name in last and last[name].value != wanted[name]]
