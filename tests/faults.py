# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults for tests: processes that die before any of their file operations, and operations that fail."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal

# Everything that changes the file system or makes it durable goes through one of these.
OPERATIONS = ("open", "fdopen", "rename", "unlink", "symlink", "link", "mkdir", "rmdir", "fsync", "fchmod", "fchown")
Action = Callable[[], object]


class TornStream(contextlib.AbstractContextManager["TornStream"]):
    """A stream that has written half of its bytes when the process dies."""

    def __init__(self, stream: Any, step: Action) -> None:
        self.stream = stream
        self.step = step

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def read(self, size: int = -1) -> bytes:
        return bytes(self.stream.read(size))

    def write(self, content: bytes) -> int:
        self.stream.write(content[: len(content) // 2])
        self.stream.flush()
        self.step()
        return int(self.stream.write(content[len(content) // 2 :]))


def patched(step: Action, patch: Callable[[str, Any], None]) -> None:
    """Let every file operation call ``step`` first."""

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            step()
            result = original(*arguments, **options)
            return TornStream(result, step) if original is fdopen else result

        return call

    fdopen = os.fdopen
    for name in OPERATIONS:
        patch(name, counted(getattr(os, name)))


def dies_before(number: int, action: Action) -> bool:
    """Run ``action`` in a process that is killed before its operation ``number``; return False when it got through."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            counter = itertools.count()

            def step() -> None:
                if next(counter) == number:
                    os._exit(9)

            patched(step, lambda name, to: setattr(os, name, to))
            action()
            status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), "the action itself failed"
    return code == 9


def deaths(action: Action) -> Iterator[int]:
    """Run an action again and again, each time dying one operation later, until it gets through.

    After each death it yields; the caller looks, and puts everything back for the next one.
    """
    for number in itertools.count():
        died = dies_before(number, action)
        yield number
        if not died:
            assert number > 3, "nothing was counted"
            return


@contextlib.contextmanager
def failing(number: int) -> Iterator[list[int]]:
    """Let the file operation ``number`` from now fail as on a full disk; the list tells whether it came to that."""
    originals = {name: getattr(os, name) for name in OPERATIONS}
    counter = itertools.count()
    failed: list[int] = []

    def step() -> None:
        if next(counter) == number:
            failed.append(number)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "injected")

    patched(step, lambda name, to: setattr(os, name, to))
    try:
        yield failed
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def everything(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Return what is below a directory: type, mode, owner, content."""
    found = {}
    for path in sorted(directory.rglob("*")):
        info = path.lstat()
        content: Any = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (oct(info.st_mode), info.st_uid, info.st_gid, content)
    return found


@contextlib.contextmanager
def dying(method: str = "commit") -> Iterator[None]:
    """Let the run inside die, as if it were killed, when it comes to a step of its journal; nothing is cleaned up."""

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, method, killed)
        with pytest.raises(KeyboardInterrupt):
            yield
