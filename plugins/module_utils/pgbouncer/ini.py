# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of pgbouncer.ini: what PgBouncer reads of it, and our one line in it. Pure, without files.

Tried with 1.18 and 1.24: the header ``[pgbouncer]`` resets every setting of that section to its default, the last line
of a setting wins, and an included file continues the section that includes it. What follows such a file is in the
section in which it ends. Behind a header, a line continues like a new one.
"""

from __future__ import annotations

import re
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

SECTION = "pgbouncer"
MARK = "; pgops.tls: keep the next line at the end of this section, the last line of a setting wins"
QUOTES_SINCE = (1, 25)  # the version that takes a name in single quotes; none takes double ones
_HEADER = re.compile(r"\[([^\]]*)\]\s*")
_INCLUDE = re.compile(r"%include[ \t]+(\S.*?)\s*")
_SETTING = re.compile(r"('[^']+'|[A-Za-z0-9_.*-]*)[ \t]*=[ \t]*(.*?)\s*")
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
    is_quoted: bool = False

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
        for line in _line(raw.strip(), section, path, number):
            yield line
            if line.kind == "include":
                included = read(line.key) if depth < _DEEPEST else None
                if included is None:
                    yield line._replace(kind="broken", value="an included file that does not exist or cannot be read")
                else:
                    yield from _lines(included, line.key, read, section, depth + 1)


def _line(text: str, section: list[str], path: str, number: int) -> Iterator[Line]:
    """Yield what a line says: headers, and what follows them."""
    while text.startswith("["):
        header = _HEADER.match(text)
        if not header:
            break
        section[0], text = header[1], text[header.end() :]
        yield Line("section", header[1], "", section[0], path, number)
    if text and text[0] not in ";#":
        yield _statement(text, section[0], path, number)


def _statement(text: str, section: str, path: str, number: int) -> Line:
    include, setting = _INCLUDE.fullmatch(text), _SETTING.fullmatch(text)
    if include:
        return Line("include", include[1], "", section, path, number)
    if setting and section:
        is_quoted = setting[1].startswith("'")
        key = setting[1][1:-1] if is_quoted else setting[1]
        return Line("setting", key, setting[2], section, path, number, is_quoted)
    return Line("broken", "", "neither a section, nor NAME = VALUE, nor %include", section, path, number)


def broken(found: Sequence[Line], known: Iterable[str], version: tuple[int, int]) -> str:
    """Return what is wrong with the first line that PgBouncer would not load, '' if it would load all of them.

    ``known`` are the settings that this ``version`` has.
    """
    names = frozenset(known)
    for line in found:
        why = line.value if line.kind == "broken" else ""
        if line.kind == "setting" and line.section == SECTION and line.key not in names:
            why = f"setting {line.key!r}, which this version of PgBouncer does not know"
        if line.is_quoted and version < QUOTES_SINCE:
            why = f"a name in quotes, which PgBouncer {version[0]}.{version[1]} does not take"
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
    hosts = [one.strip() for one in said.get("host", "").split(",")]
    port = said.get("port", "")
    return Database(
        name=line.key,
        hosts=[one for one in hosts if one and one[0] not in "/@"],
        port=int(port) if port.isdigit() else 5432,
        database=said.get("dbname") or ("postgres" if line.key == "*" else line.key),
        user=said.get("user", ""),
    )


def _unquoted(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def with_include(text: str, included: str, path: str, own: Sequence[Line]) -> str:
    """Return the text with our line where section ``[pgbouncer]`` ends last, and the rest untouched.

    ``own`` are the lines without ours, with those of included files. ``path`` is the file of the text. Raises TlsError
    if there is no such section.
    """
    kept, at = without_include(text).split("\n"), _end(own, path)
    if not at:
        raise TlsError(
            f"{path}: expected a section [{SECTION}], found none.",
            remedy="Name the main configuration file of PgBouncer.",
            code="pooler_config_no_section",
        )
    return "\n".join([*kept[:at], MARK, f"%include {included}", *(kept[at:] or [""])])


def _end(own: Sequence[Line], path: str) -> int:
    """Return the number of the last line of a file that section ``[pgbouncer]`` continues behind, 0 for none.

    An included file may begin another section, also for what follows it.
    """
    found, number = 0, 0
    for line, following in zip(own, [*own[1:], None]):
        number = line.number if line.file == path else number
        is_next_line = following is None or (following.file == path and following.number != number)
        if is_next_line and line.section == SECTION:
            found = number
    return found


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
    told = [f"{name} in {last[name].place}" for name in wanted if name in last and last[name].value != wanted[name]]
    reset = [name for name in wanted if name not in last]
    headers = [line.place for line in found if line.kind == "section" and line.key == SECTION]
    return [*told, *(f"{name} by the header in {headers[-1]}" for name in reset if headers)]
