# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in another OS user's home with that user's rights, so that no trick with paths gives the user anything."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account


@contextlib.contextmanager
def acting_as(user: Account) -> Iterator[None]:
    """Take on the effective ids and groups of ``user`` for a while; the caller is root or that user.

    Only the effective ids change: the user can neither signal nor trace this process. Raises TlsError for anybody
    else than root and the user.
    """
    if os.geteuid() == user.uid:
        yield
        return
    if os.geteuid() != 0:
        raise TlsError(
            f"Only root and OS user {user.name!r} can manage the files of that user, but this runs as user id "
            f"{os.geteuid()}.",
            remedy="Use become: true.",
            code="wrong_os_user",
        )
    group, groups = os.getegid(), os.getgroups()
    try:
        os.initgroups(user.name, user.gid)
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


@contextlib.contextmanager
def as_root() -> Iterator[None]:
    """Take root's effective ids back for a while, in a process of root that acts as somebody else.

    What is done in the meantime must not depend on anything that the other user could change.
    """
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    try:
        os.setegid(0)
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)
