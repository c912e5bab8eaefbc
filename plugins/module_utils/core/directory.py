# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of a service's generations: created, locked, and used with the rights of the service's OS user alone.

That user owns the directory, often its parents (Debian's /etc/postgresql) and the configuration files. With root's
rights, a journal or a link that this user planted could give this user any file of the host.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as, as_root
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
else:
    obstacles = lazy_import("core.obstacles")


@contextlib.contextmanager
def held(path: str, account: Account, *, check_mode: bool, service: str = "server") -> Iterator[None]:
    """Act as the OS user of a service with its directory locked; check mode does not create the directory.

    ``service`` is what that user runs, for messages. Raises TlsError when the directory belongs to somebody else or
    others can write to it, OSError.
    """
    _refuse_unsafe(path, account, service)
    if not os.path.lexists(path):
        obstacles.refuse(path)
        if check_mode:
            with acting_as(account):
                yield
            return
    with contextlib.ExitStack() as stack:
        is_new = _enter(stack, path, account)
        try:
            yield
        except Exception:
            if is_new:
                remove_empty(path, account)
            raise


def _enter(stack: contextlib.ExitStack, path: str, account: Account) -> bool:
    """Create the directory if needed, act as the user, and lock it; return whether it is new."""
    is_new = not os.path.lexists(path)
    if is_new:
        _make(path, account)
    try:
        stack.enter_context(_locked_as(path, account))
    except FileNotFoundError:  # while this run waited, the one that created it stopped before its first change
        _make(path, account)
        stack.enter_context(_locked_as(path, account))
        is_new = True
    return is_new


@contextlib.contextmanager
def _locked_as(path: str, account: Account) -> Iterator[None]:
    with acting_as(account), files.locked(path):
        yield


def remove_empty(path: str, account: Account) -> None:
    """Remove a directory that is still empty, with the rights that created it; its lock is held."""
    with contextlib.suppress(OSError, TlsError):
        try:
            os.rmdir(path)
        except PermissionError:
            _refuse_detour(path, account)
            with as_root():
                os.rmdir(path)


def _make(path: str, account: Account) -> None:
    """Create the directory with that user's rights if they suffice, else with ours."""
    try:
        with acting_as(account):
            files.make_directory(path, 0o755)
    except PermissionError:
        _refuse_detour(path, account)
        files.make_directory(path, 0o755, account.owner)


def _refuse_detour(path: str, account: Account) -> None:
    """Refuse to work as root where that user could redirect the path with a link. Raises TlsError."""
    for way in (path, os.path.realpath(path)):
        at = way
        while at != "/":
            at = os.path.dirname(at)
            if os.path.lexists(at) and os.lstat(at).st_uid == account.uid:
                raise TlsError(
                    f"directory: {path} must be created as root, because OS user {account.name!r} may not. But its "
                    f"parent {at} belongs to that user, who could redirect root elsewhere.",
                    remedy=f"Set {option('directory')} to a path whose parents all belong to root, or where this user "
                    "can write.",
                    code="directory_parent_not_root_owned",
                )


def _refuse_unsafe(path: str, account: Account, service: str) -> None:
    for place in (path, os.path.join(path, "generations"), os.path.join(path, "pending")):
        if not os.path.lexists(place):
            continue
        found = os.stat(place)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
            raise TlsError(
                f"directory: {place} belongs to user id {found.st_uid}; expected a directory of OS user "
                f"{account.name!r}, who runs the {service}. Everything below it is kept with that user's rights.",
                remedy="If this collection created its contents, restore its owner (a restore as root changes it). If "
                f"it belongs to something else, leave it, and choose another {option('directory')}.",
                code="directory_wrong_owner",
            )
    at = os.path.realpath(path)
    while at != "/":
        mode = os.stat(at).st_mode if os.path.exists(at) else 0
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise TlsError(
                f"directory: everyone can write to {at} (mode {mode & 0o7777:04o}), and could replace the {service}'s "
                "key.",
                remedy=f"Choose another {option('directory')}. Or, if nobody needs that right, remove it "
                f"(chmod o-w {at}).",
                code="directory_world_writable",
            )
        at = os.path.dirname(at)


def refuse_unwritable(path: str, who: str, why: str) -> None:
    """Raise TlsError when the present user cannot write to a directory; ``why`` says what it is needed for."""
    obstacles.refuse(path)
    if not files.may_write(path):
        raise TlsError(
            f"{path}: {who} cannot write to this directory, {why}. Nothing was changed.",
            remedy="Check its mode, and whether its file system is read-only. Then rerun.",
            code="directory_not_writable",
        )
