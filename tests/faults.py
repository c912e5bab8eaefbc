# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults for tests: a run is killed, or one of its operations fails, at a numbered point.

A point is an operation on files, the start of a command (psql, openssl), or a connection to the server.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import after_change
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Running

# Everything that changes the file system or makes it durable goes through one of these.
OPERATIONS = (
    "open", "fdopen", "rename", "unlink", "symlink", "link", "mkdir", "rmdir", "fsync", "fchmod", "fchown", "chmod",
    "pwrite", "ftruncate",
)  # fmt: skip
READ, WRITE, COMMAND, STARTED, CONNECTION = "read", "write", "command", "started", "connection"
FILES = frozenset({READ, WRITE})
ALL = frozenset({*FILES, COMMAND, CONNECTION})
Action = Callable[[], object]
Arguments = Sequence[str]


class Fault(NamedTuple):
    """What goes wrong, at which kinds of points, and whether it stays so from then on.

    ``error`` 0: nothing fails by itself. ``instead`` makes of a command the one that runs in its place, and its caller
    waits for it ``patience`` seconds at most; connections get no answer then.
    """

    name: str
    kinds: frozenset[str]
    error: int = 0
    is_lasting: bool = False
    instead: Callable[[Arguments], Arguments] | None = None
    patience: float = 0.0

    @property
    def is_death(self) -> bool:
        """Return whether nothing of the process is left to clean up."""
        return not self.error and self.instead is None


def _script(text: str) -> Callable[[Arguments], Arguments]:
    return lambda arguments: ["sh", "-c", text, "sh", *arguments]


NONE = Fault("none", ALL | {STARTED})
KILLED = Fault("killed", ALL | {STARTED})
DISK_FULL = Fault("ENOSPC once", ALL, errno.ENOSPC)
FAULTS = (
    KILLED,
    DISK_FULL,
    Fault("EACCES once", FILES, errno.EACCES),
    Fault("all fails from then on", ALL, errno.ENOSPC, is_lasting=True),
    Fault("read-only from then on", frozenset({WRITE}), errno.EROFS, is_lasting=True),
    Fault("command fails", frozenset({COMMAND}), instead=_script("exit 1"), patience=30.0),
    Fault("no answer in time", frozenset({COMMAND, CONNECTION}), instead=_script("exec sleep 60"), patience=0.05),
    Fault("answer lost", frozenset({COMMAND}), instead=_script('"$@"; exec sleep 60'), patience=0.5),
)


class Injection(contextlib.AbstractContextManager["Injection"]):
    """The points of one run, numbered as they come, and a fault at one of them."""

    def __init__(self, fault: Fault, number: int) -> None:
        self.fault = fault
        self.number = number
        self.kinds: list[str] = []
        self.cells = memoryview(mmap.mmap(-1, 16)).cast("Q")  # a child that is killed has told what it counted
        self.silent = socket.create_server(("127.0.0.1", 0))  # the kernel takes connections, and nobody answers

    def __bool__(self) -> bool:
        """Return whether anything went wrong."""
        return self.hits > 0

    def __exit__(self, *_: object) -> None:
        self.silent.close()

    @property
    def points(self) -> int:
        """Return how many points there were."""
        return int(self.cells[0])

    def of(self, kinds: frozenset[str]) -> int:
        """Return how many points of these kinds there were."""
        return sum(kind in kinds for kind in self.kinds)

    @property
    def hits(self) -> int:
        """Return at how many points something went wrong."""
        return int(self.cells[1])

    def reaches(self, kind: str) -> bool:
        """Count a point; return whether something else is to happen there. Raises OSError, or ends the process."""
        if kind not in self.fault.kinds:
            return False
        self.kinds.append(kind)
        number = self.points
        self.cells[0] += 1
        if number != self.number and not (self.fault.is_lasting and number > self.number >= 0):
            return False
        self.cells[1] += 1
        if self.fault.error:
            raise OSError(self.fault.error, os.strerror(self.fault.error), "injected")
        if self.fault.is_death:
            os.killpg(0, signal.SIGKILL)
        return True

    def install(self, patch: Callable[[Any, str, Any], None]) -> None:
        """Let every point be counted from now on; ``patch`` is setattr, or remembers what was there."""
        for name in OPERATIONS:
            patch(os, name, self._operation(name, getattr(os, name)))
        patch(subprocess, "Popen", self._starting(subprocess.Popen))
        patch(socket, "create_connection", self._connecting(socket.create_connection))
        patch(Running, "finish", _impatient(Running.finish))
        patch(after_change, "TIMEOUT", 5.0)  # seconds for a hook that gives no answer

    def _operation(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.reaches(_kind(name, arguments))
            if name == "pwrite" and len(arguments[1]) > 1:  # half of it is written when it goes wrong
                descriptor, content, at = arguments
                half = original(descriptor, content[: len(content) // 2], at)
                self.reaches(WRITE)
                return half + original(descriptor, content[half:], at + half)
            result = original(*arguments, **options)
            is_written = name == "fdopen" and _kind(name, arguments) == WRITE
            return TornStream(result, lambda: self.reaches(WRITE)) if is_written else result

        return call

    def _starting(self, original: Any) -> Callable[..., Any]:
        def start(arguments: Arguments, **options: Any) -> Any:
            is_replaced = self.reaches(COMMAND)
            instead = self.fault.instead
            process = original(instead(arguments) if is_replaced and instead else arguments, **options)
            process.patience = self.fault.patience if is_replaced else None
            self.reaches(STARTED)
            return process

        return start

    def _connecting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(address: Any, timeout: float) -> Any:
            if self.reaches(CONNECTION):
                return original(self.silent.getsockname(), timeout=self.fault.patience)
            return original(address, timeout=timeout)

        return connect


class TornStream(contextlib.AbstractContextManager["TornStream"]):
    """A stream that has written half of its bytes when something goes wrong."""

    def __init__(self, stream: Any, step: Action) -> None:
        self.stream = stream
        self.step = step

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def write(self, content: bytes) -> int:
        self.stream.write(content[: len(content) // 2])
        self.stream.flush()
        self.step()
        return int(self.stream.write(content[len(content) // 2 :]))


def _kind(operation: str, arguments: Sequence[Any]) -> str:
    if operation == "open":
        return WRITE if arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else READ
    return READ if operation == "fdopen" and arguments[1] == "rb" else WRITE


def _impatient(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let the caller of a command that was replaced wait no longer than its fault says."""

    def finish(running: Any, stdin: str = "", timeout: float = 30.0) -> Any:
        patience = getattr(running.process, "patience", None)
        return original(running, stdin, timeout if patience is None else patience)

    return finish


@contextlib.contextmanager
def injected(fault: Fault, number: int) -> Iterator[Injection]:
    """Let a fault happen at point ``number`` from now (none for -1); what it yields tells whether it came to that."""
    with Injection(fault, number) as injection, pytest.MonkeyPatch.context() as patch:
        injection.install(patch.setattr)
        yield injection


def killed(number: int, action: Action) -> Injection:
    """Run ``action`` in a process whose group is killed at point ``number``; what it returns tells whether it was."""
    with Injection(KILLED, number) as injection:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                injection.install(setattr)
                action()
                status = 0
            except BaseException:  # noqa: BLE001 (whatever it is, pytest shows it with the rest of the output)
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (-signal.SIGKILL if injection else 0), "the action itself failed"
        return injection


def deaths(action: Action, step: int = 1) -> Iterator[int]:
    """Run an action again and again, each time dying ``step`` points later, until it gets through.

    After each death it yields; the caller looks, and puts everything back for the next one.
    """
    for number in itertools.count(0, step):
        died = killed(number, action)
        print(f"killed at point {number}")  # pytest shows it if what follows fails
        yield number
        if not died:
            assert number > 3, "nothing was counted"
            return


def failing(number: int) -> contextlib.AbstractContextManager[Injection]:
    """Let the operation ``number`` from now fail as on a full disk; what it yields is true if it came to that."""
    return injected(DISK_FULL, number)


def everything(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Return what is below a directory: type, mode, owner, content."""
    found = {}
    for path in sorted(directory.rglob("*")):
        info = path.lstat()
        content: Any = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (oct(info.st_mode), info.st_uid, info.st_gid, content)
    return found


def put_back(directory: Path, found: dict[str, tuple[Any, ...]]) -> None:
    """Make what is below a directory what ``everything`` has found there."""
    for path in directory.iterdir():
        path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    for name, (mode, uid, gid, content) in found.items():
        path = directory / name
        if isinstance(content, str):
            path.symlink_to(content)
        elif content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        os.chown(path, uid, gid, follow_symlinks=False)
        if not isinstance(content, str):
            path.chmod(int(mode, 8) & 0o7777)


@contextlib.contextmanager
def dying(method: str = "commit") -> Iterator[None]:
    """Let the run inside die, as if it were killed, when it comes to a step of its journal; nothing is cleaned up."""

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, method, killed)
        with pytest.raises(KeyboardInterrupt):
            yield
