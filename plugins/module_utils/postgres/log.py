# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's log: where it is, and what was written to it since a moment."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState

_REFUSALS = ("was not reloaded", "contains errors")
_EXCERPT = 20  # lines; a reason needs two or three


class Position(NamedTuple):
    """A place in the log file: its path (None: the log cannot be read here) and the bytes before it."""

    path: str | None
    offset: int


def position(state: ServerState, pid: int) -> Position:
    """Return the present end of the server's log. ``pid`` is the server's main process."""
    path = _path(state, pid)
    try:
        return Position(path, os.stat(path).st_size) if path else Position(None, 0)
    except OSError:
        return Position(None, 0)


def since(start: Position) -> list[str]:
    """Return the lines written since ``start``, the last ones if they are many."""
    if start.path is None:
        return []
    try:
        with open(start.path, "rb") as stream:
            stream.seek(start.offset)
            text = stream.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()


def refusals(lines: list[str]) -> list[str]:
    """Return the lines that tell why a reload was refused: up to and including the verdict itself."""
    verdicts = [number for number, line in enumerate(lines) if any(phrase in line for phrase in _REFUSALS)]
    if not verdicts:
        return []
    told = [line for line in lines[: verdicts[-1] + 1] if "SIGHUP" not in line and " changed to " not in line]
    return told[-_EXCERPT:]


def tells_refusals(start: Position, state: ServerState) -> bool:
    """Return whether a refused reload could be read from the log: it is a readable file, in English."""
    language = state.value("lc_messages")
    return start.path is not None and (language in ("C", "POSIX") or language.startswith(("en", "C.")))


def _path(state: ServerState, pid: int) -> str | None:
    if state.log_file:
        return os.path.join(state.value("data_directory"), state.log_file)
    try:
        target = os.readlink(f"/proc/{pid}/fd/2")  # without a logging collector: whatever its standard error is
    except OSError:
        return None
    return target if os.path.isfile(target) and target != os.devnull else None
