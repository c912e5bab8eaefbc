# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of others that a service may be given although its OS user cannot read them, such as keys that root keeps.

Root reads them, and the OS user gets what they hold. So that this user cannot choose what is read, nothing on the way
there may be this user's to change.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import as_root
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

_LINKS = 40  # that the kernel follows at most


def read(path: str, option: str, account: Account) -> bytes:
    """Return what a file holds, read as ``account`` (whom this process acts as) or as root. Raises TlsError.

    ``option`` names the file in errors.
    """
    try:
        content = _read(path, option, account)
    except OSError as error:
        raise TlsError(
            f"{option}: {path}: {error.strerror or error}. Nothing was changed.",
            remedy="Correct the path, or the rights of the file.",
            code="existing_unreadable",
        ) from error
    if content is None:
        raise TlsError(
            f"{option}: {path}: expected a file, found none. Nothing was changed.",
            remedy="Have whoever renews it put it there, or correct the path.",
            code="existing_missing",
        )
    return content


def _read(path: str, option: str, account: Account) -> bytes | None:
    try:
        return files.read(path)
    except PermissionError:
        if os.getuid() != 0:
            raise
    with as_root(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for at in on_the_way(path):
            if _may_change(at, account):
                raise TlsError(
                    f"{option}: {path} can be read by root alone, and OS user {account.name!r} could have root read "
                    f"another file, because that user may change {at}. Nothing was changed.",
                    remedy=f"Give the file to a place that {account.name} cannot change, or let that user read it.",
                    code="existing_redirectable",
                )
        return files.read(path)
    return None


def on_the_way(path: str) -> Iterator[str]:
    """Give everything that decides where an absolute path leads: directories, links, and the file. Raises OSError."""
    at, left, links = "/", _parts(path), 0
    yield at
    while left:
        part = left.pop(0)
        if part == "..":
            at = os.path.dirname(at)
            continue
        at = os.path.join(at, part)
        yield at
        if stat.S_ISLNK(os.lstat(at).st_mode):
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(at)
            left = _parts(target) + left
            at = "/" if target.startswith("/") else os.path.dirname(at)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _may_change(path: str, account: Account) -> bool:
    """Return whether a user owns something, or may write to it. In a sticky directory what others own is safe."""
    found = os.lstat(path)
    if found.st_uid == account.uid:
        return True
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return False
    is_in_group = found.st_gid in os.getgrouplist(account.name, account.gid)
    return bool(found.st_mode & 0o002 or (found.st_mode & 0o020 and is_in_group))
