# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's log: where it is, and what was written to it between a moment and a mark of our own."""

from __future__ import annotations

import os
import re
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState

# What the main process says when it does not take a reload. That "unaffected changes were applied" is no verdict on
# our files: it is said at every reload while any setting of postgresql.conf waits for a restart.
TLS_VERDICTS = ("SSL configuration was not reloaded", "no changes were applied")
_NOT_RELOADED = "{} was not reloaded"
_RELOADS = "received SIGHUP"
_EXCERPT = 20  # lines; a reason needs two or three
_MOST = 64 << 20  # bytes read of what a busy server writes in the meantime
_OF_SECRETS = re.compile(r"conninfo|_command\b|passphrase|passw", re.IGNORECASE)  # in names of settings
# Lines of sessions can hold anything that somebody typed, passwords included.
_OF_SESSIONS = re.compile(
    r"^\t|\b(?:LOG:  (?:statement|duration|execute|bind|parse)\b|STATEMENT:|QUERY:|CONTEXT:  SQL|DETAIL:  [Pp]aram)"
)

_PROCESS = re.compile(r"\[\d+\]")


class Position(NamedTuple):
    """A place in the log file: its path (None: the log cannot be read here) and the bytes before it."""

    path: str | None
    offset: int


def rules_verdicts(state: ServerState, *, has_maps: bool = True) -> tuple[str, ...]:
    """Return what the main process says when it does not take new rules, or, if it ``has_maps``, new maps."""
    return tuple(_NOT_RELOADED.format(name) for name in rules_files(state, has_maps=has_maps))


def rules_files(state: ServerState, *, has_maps: bool = True) -> list[str]:
    """Return what the main process calls the files of rules and, if it ``has_maps``, of maps.

    Older versions say the usual name whatever the file is called, newer ones (16) the file's path: either counts.
    """
    settings = {"pg_hba.conf": "hba_file", **({"pg_ident.conf": "ident_file"} if has_maps else {})}
    return [name for usual, setting in settings.items() for name in (usual, state.value(setting))]


def position(state: ServerState, pid: int) -> Position:
    """Return the present end of the server's log. ``pid`` is the server's main process."""
    path = path_of(state.log_file, state.value("data_directory"), pid)
    try:
        return Position(path, os.stat(path).st_size) if path else Position(None, 0)
    except OSError:
        return Position(None, 0)


def path_of(log_file: str | None, data_directory: str, pid: int) -> str | None:
    """Return the path of the log: ``log_file`` of the collector, else what the main process has as standard error."""
    if log_file:
        return os.path.join(data_directory, log_file)
    try:
        target = os.readlink(f"/proc/{pid}/fd/2")
    except OSError:
        return None
    return target if os.path.isfile(target) and target != os.devnull else None


def since(start: Position, current: str | None = None) -> list[str]:
    """Return the lines written since ``start``, with those of the ``current`` log when it was rotated since."""
    if start.path is None:
        return []
    lines = _lines(start.path, start.offset)
    return lines + _lines(current, 0) if current and current != start.path else lines


def until(lines: Sequence[str], mark: str) -> list[str] | None:
    """Return the lines before the one with ``mark``, None when it does not exist (yet)."""
    at = next((number for number, line in enumerate(lines) if mark in line), None)
    return None if at is None else list(lines[:at])


def tells_of_reload(lines: Sequence[str]) -> bool:
    """Return whether a reload is in the lines, in the language that the verdicts are looked for."""
    return any(_RELOADS in line for line in lines)


def refusals(lines: Sequence[str], verdicts: Sequence[str]) -> list[str]:
    """Return the lines that say why a reload was refused: up to and including the verdict itself.

    Lines from other processes than the one that gave the verdict are left out, as far as they can be recognized.
    """
    last = next((at for at in reversed(range(len(lines))) if any(phrase in lines[at] for phrase in verdicts)), None)
    if last is None:
        return []
    first = next((at for at in reversed(range(last)) if _RELOADS in lines[at]), -1)
    found = [line for line in lines[first + 1 : last + 1] if _is_of_main_process(line, lines[last])]
    return found[-_EXCERPT:]


def by_process(lines: Sequence[str], pid: int) -> list[str]:
    """Return the last lines of a process without user and database, as far as the log says which process wrote them.

    They are recognized by the usual log_line_prefix, by the fields of csvlog, and by those of jsonlog. Lines about
    settings that may hold a secret are left out: after a reload the server logs each new value, in its language.
    """
    begin = re.compile(rf'[^\[\]]*(?<!\w)\[{pid}\]|[^,"]*,,,{pid},|\{{"timestamp":"[^"]*","pid":{pid},')
    return [line for line in lines if begin.match(line) and not _OF_SECRETS.search(line)][-_EXCERPT:]


def _is_of_main_process(line: str, verdict: str) -> bool:
    """Return whether a line was written by the process that gave the verdict, as far as the log shows."""
    process = _PROCESS.search(verdict)  # of the usual log_line_prefix
    if process and process.group() not in line:
        return False
    return " changed to " not in line and not _OF_SESSIONS.search(line)


def _lines(path: str, offset: int) -> list[str]:
    try:
        with open(path, "rb") as stream:
            # a log that is shorter than it was has been truncated in place
            stream.seek(offset if os.fstat(stream.fileno()).st_size >= offset else 0)
            return stream.read(_MOST).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
