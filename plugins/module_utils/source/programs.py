# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of the inventory's author: it reads a JSON object, and may answer with one.

Its standard error is for people: its last lines are in the message if it fails.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, holds_private_key

PATIENCE = 120  # seconds, if the inventory says nothing else
_LONGEST = 400  # characters of what a message quotes


def check(argv: Sequence[str], place: str) -> None:
    """Raise TlsError, naming ``place``, for a program that this user cannot start."""
    path = argv[0]
    if os.path.isfile(path) and os.access(path, os.X_OK):
        return
    found = "nothing" if not os.path.lexists(path) else "another kind of file"
    if os.path.isfile(path):
        found = f"a file that user id {os.geteuid()} cannot execute"
    raise TlsError(
        f"{place}: {path}: expected a program on the host of the authorities, found {found}.",
        remedy="Install it there, correct the path, or make it executable.",
        code="source_command_unusable",
    )


def run(argv: Sequence[str], question: Mapping[str, Any], place: str, timeout: int) -> str:
    """Return what a program writes to its standard output. Raises TlsError, naming ``place``."""
    check(argv, place)
    home = os.path.expanduser("~")
    try:
        running = processes.start(argv, environment={"HOME": home}, is_group=True)
        done = running.finish(f"{json.dumps(question, indent=1)}\n", timeout)
    except TlsError as error:
        is_late = error.code == "process_timeout"
        raise TlsError(
            f"{place}: {error.fault}",
            remedy="Make it faster, or set a longer timeout." if is_late else "Check its first line (#!) and its mode.",
            code="source_command_timeout" if is_late else "source_command_unusable",
        ) from error
    if done.status:
        how = f"exit code {done.status}" if done.status > 0 else _signal(-done.status)
        raise TlsError(
            f"{place}: {argv[0]} ended with {how}, and {_words(done.errors)}",
            remedy="Fix that, then rerun.",
            code="source_command_failed",
        )
    return done.output


def ask(argv: Sequence[str], question: Mapping[str, Any], place: str, timeout: int) -> Mapping[str, Any]:
    """Return the JSON object with which a program answers. Raises TlsError, naming ``place``."""
    output = run(argv, question, place, timeout)
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise TlsError(
            f"{place}: expected a JSON object on the standard output of {argv[0]}, found "
            f"{'something else' if output.strip() else 'nothing'}.",
            remedy="Have it write its answer there, and everything else to its standard error.",
            code="source_answer_unreadable",
        )
    return answer


def quoted(text: str) -> str:
    """Return what a program says for people: on one line, cut where it is long, and never a private key."""
    if holds_private_key(text):
        return "(not shown: it has a private key)"
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= _LONGEST else f"...{line[-_LONGEST:]}"


def sentence(text: str) -> str:
    """Return a text with one full stop behind it, as another sentence follows."""
    return f"{text.rstrip('. ')}."


def _words(errors: str) -> str:
    said = quoted("\n".join(errors.splitlines()[-5:]) if not holds_private_key(errors) else errors)
    return f"says: {sentence(said)}" if said else "wrote nothing to its standard error."


def _signal(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
