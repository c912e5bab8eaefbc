# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands as another OS user, with nothing of the caller's environment."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from typing import IO, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.files import Owner

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Account(NamedTuple):
    """An OS user: its name, numeric ids and home directory."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def owner(self) -> Owner:
        """Return the ids that this user's files have."""
        return Owner(self.uid, self.gid)


class Completed(NamedTuple):
    """What a finished command left: its exit status, standard output and standard error."""

    status: int
    output: str
    errors: str


def account(name: str, option: str) -> Account:
    """Return the OS user called ``name``. Raises TlsError, naming ``option``, when there is none."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in it
        raise TlsError(
            f"{option}: there is no OS user {shown(name)} on this host.",
            remedy="Create it first or name another one.",
            code="os_user_unknown",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def account_of(uid: int) -> Account:
    """Return the OS user with a numeric id. Raises TlsError when the id has no name."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise TlsError(
            f"The numeric user id {uid} has no name on this host; a named OS user is expected there.",
            code="os_user_unnamed",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def find(command: str, purpose: str) -> str:
    """Return the path of a command. Raises TlsError that says what it is needed for."""
    path = shutil.which(command, path=os.environ.get("PATH", "") + ":" + PATH)
    if path is None:
        raise TlsError(
            f"The command {command} was not found on this host; it is needed {purpose}.",
            remedy=f"Install it (search path: {PATH}).",
            code="command_missing",
        )
    return path


class Running:
    """A command that was started; ``finish`` waits for it. Several can run at once, without threads."""

    def __init__(
        self, process: subprocess.Popen[str], name: str, started: float, outputs: Sequence[IO[bytes]] = ()
    ) -> None:
        self.process = process
        self.name = name
        self.started = started
        self._outputs = outputs  # files for standard output and standard error, of the first of a group

    def finish(self, stdin: str = "", timeout: float = 30.0) -> Completed:
        """Return what the command left. Raises TlsError when it is not over ``timeout`` seconds after its start."""
        try:
            output, errors = self.process.communicate(stdin, max(0.0, self.started + timeout - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            raise TlsError(
                f"{self.name} did not end within {timeout:.0f} s and was stopped.", code="process_timeout"
            ) from None
        if self._outputs:
            output, errors = map(_content, self._outputs)
        self._close()
        return Completed(self.process.returncode, output, errors)

    def stop(self) -> None:
        """Kill the command, if it still runs, and forget what it wrote."""
        if self._outputs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()  # not for the end of its output, which a process that it has left may keep open
        self._close()

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr, *self._outputs):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def _content(output: IO[bytes]) -> str:
    """Return what is in a file, whose position belongs to those who still write to it."""
    descriptor = output.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")


def start(
    argv: Sequence[str],
    user: Account | None = None,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
    *,
    is_group: bool = False,
) -> Running:
    """Start a command with a scrubbed environment (PATH, HOME, C locale) plus ``environment``.

    ``user`` is who runs it; root switches to that user, anybody else must already be it. ``descriptors`` are open
    files that it has, too. With ``is_group``, what it starts is stopped with it, and its output goes into files without
    names: a process that it leaves behind may write on, and nobody waits for it. Raises TlsError when it cannot start.
    """
    surroundings = {"PATH": os.environ.get("PATH", "") + ":" + PATH, "LC_ALL": "C", **(environment or {})}
    surroundings.setdefault("HOME", user.home if user else "/nonexistent")
    outputs: list[IO[bytes]] = []
    try:
        outputs += [tempfile.TemporaryFile() for _each in range(2 if is_group else 0)]  # noqa: SIM115 (Running closes them)
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=outputs[0] if outputs else subprocess.PIPE,  # a key passes through a pipe, never a file
            stderr=outputs[1] if outputs else subprocess.PIPE,
            env=surroundings,
            cwd="/",
            pass_fds=descriptors,
            start_new_session=is_group,
            preexec_fn=becoming(user),  # noqa: PLW1509 (unsafe beside threads: there are none here)
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: a NUL in an argument
        for output in outputs:
            output.close()
        raise TlsError(f"{argv[0]} could not be started: {error}", code="process_not_started") from error
    return Running(process, argv[0], time.monotonic(), outputs)


def run(
    argv: Sequence[str],
    user: Account | None = None,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    *,
    descriptors: Sequence[int] = (),
) -> Completed:
    """Run a command to its end, as ``start`` does. Secrets go through ``stdin`` or ``descriptors`` only.

    Raises TlsError when it cannot start or runs longer than ``timeout`` seconds.
    """
    return start(argv, user, environment, descriptors).finish(stdin, timeout)


def becoming(user: Account | None) -> Callable[[], None] | None:
    """Return what a child process does to become ``user`` permanently, or None if it is already that user.

    Raises TlsError for anybody else than root and the user.
    """
    if user is None or os.getuid() == os.geteuid() == user.uid:
        return None
    if 0 not in (os.getuid(), os.geteuid()):
        raise TlsError(
            f"This must run as root or as the OS user {user.name!r}, but runs as user id {os.geteuid()}.",
            remedy="Use become: true.",
            code="wrong_os_user",
        )
    wanted: Account = user

    def switch() -> None:
        os.seteuid(0)  # root may have only the effective ids of the user; the command is to have no way back
        os.initgroups(wanted.name, wanted.gid)
        os.setgid(wanted.gid)
        os.setuid(wanted.uid)

    return switch
