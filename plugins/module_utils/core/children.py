# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a function as another OS user, in a process of its own that has nothing of the caller's."""

from __future__ import annotations

import contextlib
import json
import locale
import os
import select
import signal
from typing import Any, Callable, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import PATH, Account, becoming

Send = Callable[[Any], None]  # gives the parent a value that JSON can hold; None is only a sign of life


class Ended(NamedTuple):
    """What a child left: the values that it sent, and how it failed ('' when it did not)."""

    sent: list[Any]
    fault: str


def run_as(user: Account, work: Callable[[Send], None], silence: float) -> Ended:
    """Call ``work`` in a child process that is permanently ``user``; return what it sent.

    Its environment is HOME, PATH and the C locale, its directory is /, and it has no open file but the way to the
    parent. ``work`` cannot import anything: the user may be unable to read Python's files, and those of a module. A
    child that sends nothing for ``silence`` seconds is killed. Raises TlsError when there can be no child.
    """
    become = becoming(user)
    reader, writer = os.pipe()
    try:
        child = os.fork()  # nothing here has threads
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise TlsError(
            f"A process of OS user {user.name} could not be started: {error.strerror}.", code="process_not_started"
        ) from error
    if child == 0:
        _work(user, become, work, writer)
    os.close(writer)
    is_over = False
    try:
        content, is_over = _gather(reader, silence)
    finally:
        os.close(reader)
        if not is_over:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    return _ended(content, "" if is_over else f"gave no sign of life for {silence:g} s and was stopped", status)


def _work(user: Account, become: Callable[[], None] | None, work: Callable[[Send], None], writer: int) -> None:
    """Be the child; there is no way back into the caller's code."""
    status = 1
    try:
        _close_all_but(writer)
        if become is not None:
            become()
        _forget_surroundings(user)
        work(lambda value: _send(writer, {"sent": value}))
        status = 0
    except BaseException as error:  # noqa: BLE001 (whatever it is, the parent says it)
        with contextlib.suppress(Exception):
            _send(writer, {"fault": f"failed: {type(error).__name__}: {error}"})
    finally:
        os._exit(status)


def _close_all_but(kept: int) -> None:
    """Close all files, so that what libraries print goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    last = max(int(name) for name in os.listdir("/dev/fd"))
    os.closerange(3, kept)
    os.closerange(kept + 1, last + 1)


def _forget_surroundings(user: Account) -> None:
    os.chdir("/")
    os.environ.clear()  # getenv of libraries sees it too
    os.environ.update(HOME=user.home, PATH=PATH, LC_ALL="C")
    locale.setlocale(locale.LC_ALL, "C")  # Ansible has set the user's, which messages would be translated to


def _send(writer: int, line: Any) -> None:
    content = json.dumps(line).encode() + b"\n"
    while content:
        content = content[os.write(writer, content) :]


def _gather(reader: int, silence: float) -> tuple[bytes, bool]:
    """Return what the child wrote, and whether it has ended."""
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    content = b""
    while waiting.poll(silence * 1000):
        chunk = os.read(reader, 65536)
        if not chunk:
            return content, True
        content += chunk
    return content, False


def _ended(content: bytes, fault: str, status: int) -> Ended:
    lines = [json.loads(line) for line in content.split(b"\n")[:-1]]  # after the last line end is half a line or none
    sent = [line["sent"] for line in lines if line.get("sent") is not None]
    fault = fault or next((line["fault"] for line in lines if "fault" in line), "")
    if not fault and os.WIFSIGNALED(status):
        fault = f"was killed by signal {os.WTERMSIG(status)} ({signal.Signals(os.WTERMSIG(status)).name})"
    if not fault and status:
        fault = f"ended with status {os.WEXITSTATUS(status)}"
    return Ended(sent, fault)
