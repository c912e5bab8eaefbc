# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File operations that leave the old or the new state at any instant, never a mix."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

_LARGEST = 64 * 1024 * 1024  # bytes that are read of a file


class Owner(NamedTuple):
    """The numeric user and group that a file is to have."""

    uid: int
    gid: int


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give(descriptor: int, owner: Owner) -> None:
    """Give an open file to ``owner``; who is not root keeps what is already its own."""
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != owner:
        os.fchown(descriptor, owner.uid, owner.gid)


def write_new(path: str, content: bytes, mode: int, owner: Owner | None = None) -> None:
    """Create ``path`` (which must not exist) durably. It is unreadable for others until mode and owner are right."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(content)
        if owner is not None:
            give(descriptor, owner)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str, content: bytes, mode: int, owner: Owner | None = None) -> None:
    """Replace ``path`` by one rename: readers see the old bytes or the new ones. Raises OSError."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.pgops-new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # left by a run that died; the caller holds the lock of this directory
    try:
        write_new(temporary, content, mode, owner)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def rewrite(path: str, content: bytes) -> None:
    """Replace the bytes of an existing file by one rename, keeping its owner and mode. Follows symbolic links."""
    real = os.path.realpath(path)
    found = os.stat(real)
    write_atomically(real, content, found.st_mode & 0o7777, Owner(found.st_uid, found.st_gid))


def may_write(directory: str) -> bool:
    """Return whether files can be made in a directory with our effective ids.

    Old C libraries ask the kernel for the real ids, which are root's; so the bits of an own directory are looked at.
    """
    found = os.stat(directory)
    if found.st_uid == os.geteuid() != 0:
        return found.st_mode & 0o300 == 0o300 and not os.statvfs(directory).f_flag & os.ST_RDONLY
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def point(link: str, target: str) -> None:
    """Make ``link`` a symbolic link to ``target`` by one rename."""
    temporary = f"{link}.pgops-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.symlink(target, temporary)
        os.rename(temporary, link)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(link))


def read(path: str) -> bytes | None:
    """Return the bytes of ``path`` or None when there is no such file. Raises OSError for anything else.

    Only regular files of up to 64 MiB are read: a pipe that somebody put there cannot make the caller wait forever,
    and a huge file cannot take all memory.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file, found another kind", path)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise OSError(errno.EFBIG, f"expected at most {_LARGEST} bytes, found more", path)
        return content
    finally:
        os.close(descriptor)


def text(path: str) -> str | None:
    """Return the text of a file as ``read`` does its bytes; those that are no UTF-8 survive the round trip."""
    content = read(path)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def free_name(path: str) -> str:
    """Return ``path`` if it does not exist, else with the first free number behind it."""
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}-{number}"
    return name


_PARENT_MODE = 0o755


def make_directory(path: str, mode: int, owner: Owner | None = None) -> bool:
    """Create a directory (its parents too, with mode 0755); return whether it was missing.

    It appears under its name only with its owner and mode, so that one that exists is never half made. Others may make
    it at the same time: clusters of one host have parents in common, and two runs may be the first ones. One that
    exists is never replaced: its lock may be held.
    """
    if os.path.isdir(path):
        return False
    parent, name = os.path.split(path)
    _make_parents(parent)
    temporary = os.path.join(parent, f".{name}.pgops-new")
    with contextlib.suppress(FileExistsError):  # somebody else's, or left by a run that died
        os.mkdir(temporary, 0o700)
    try:
        with locked(temporary):
            if os.path.isdir(path):
                raise FileExistsError(path)
            _furnish(temporary, mode, owner)
            os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(temporary)
        if os.path.isdir(path):  # another run was faster
            return False
        raise
    sync_directory(parent)
    return True


def sweep(directory: str) -> None:
    """Remove what runs that died left half made in a directory, if it exists. Whoever could work there holds a lock."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith(".pgops-new") and os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            elif name.endswith(".pgops-new"):
                os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, as far as that can be done.

    What is no directory stays. A pipe that somebody put there would make the removal wait for a writer.
    """
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)


def _make_parents(path: str) -> None:
    """Create a directory and its parents. Nothing is renamed here: that could replace one that somebody just made."""
    if os.path.isdir(path):
        return
    _make_parents(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, _PARENT_MODE)
        os.chmod(path, _PARENT_MODE)  # whatever the umask is
        sync_directory(os.path.dirname(path))


def _furnish(directory: str, mode: int, owner: Owner | None) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if owner is not None:
            give(descriptor, owner)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: str, patience: float = 60.0) -> Iterator[None]:
    """Hold the lock of a directory; wait up to ``patience`` seconds for another run.

    The lock is the kernel's (flock on the directory itself): it leaves no file behind and ends with its holder.
    Raises TlsError if another run still holds it after that time, FileNotFoundError if it was removed in the meantime.
    """
    deadline = time.monotonic() + patience
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while not _takes_lock(descriptor):
            if time.monotonic() >= deadline:
                raise TlsError(
                    f"{directory}: another run has held the lock of this directory for over {patience:.0f} s"
                    f"{_holder(descriptor)}.",
                    remedy="Wait for that run to end, then rerun.",
                    code="directory_locked",
                )
            time.sleep(0.1)
        if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
            yield
            return
    finally:
        os.close(descriptor)
    with locked(directory, max(0.0, deadline - time.monotonic())):  # it was recreated while this waited
        yield


def _takes_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _holder(descriptor: int) -> str:
    """Return, in words, which process has the lock of an open file; '' where the kernel does not tell."""
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        locks = [line.split() for line in (read("/proc/locks") or b"").decode().splitlines()]
        pid = next(fields[4] for fields in locks if fields[1] == "FLOCK" and fields[5] == place)
        return f": process {pid} ({(read(f'/proc/{pid}/comm') or b'').decode('utf-8', 'replace').strip()})"
    except (OSError, IndexError, StopIteration):
        return ""
