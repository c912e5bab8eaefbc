# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the files in use are as they were made: owners, modes, and that key and certificate work together."""

from __future__ import annotations

import os
import stat
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal


def tightened(store: GenerationStore, modes: Mapping[str, int], *, check_mode: bool) -> list[str]:
    """Remove the rights of others from our directories and keys; return the changes in words. Raises OSError.

    ``modes`` are those of the files of a generation. A generation whose files have wrong modes is replaced by a new
    one; its key is protected right away.
    """
    current = store.current()
    allowed = {store.directory: 0o755, store.generations: 0o755, store.pending: 0o700}
    for name in store.names():
        allowed[store.path(name)] = 0o755
        allowed.update((store.path(name, file), mode) for file, mode in modes.items())
    changes = []
    for path, mode in allowed.items():
        found = os.lstat(path) if os.path.lexists(path) else None
        if found is None or stat.S_ISLNK(found.st_mode) or found.st_uid != store.owner.uid:
            continue
        loose = found.st_mode & 0o7777 & ~mode
        if loose and (current is None or os.path.dirname(path) != store.path(current)):  # which the plan reports
            changes.append(f"{path}: mode {found.st_mode & 0o7777:04o}, expected {mode:04o}")
        if loose and not check_mode:
            os.chmod(path, found.st_mode & mode)
    return changes


def repairs(
    store: GenerationStore, current: str | None, generation: Mapping[str, bytes], modes: Mapping[str, int]
) -> list[str]:
    """Return which files of the current generation no longer have the owner or mode that they were created with.

    ``modes`` are the modes by the names of files.
    """
    wrong = []
    for name in generation if current else ():
        found = os.lstat(store.path(current or "", name))
        if stat.S_ISLNK(found.st_mode):
            wrong.append(f"{name}: a link, expected a file of its own")
        elif (found.st_uid, found.st_mode & 0o7777) != (store.owner.uid, modes[name]):
            wrong.append(
                f"{name}: owner {found.st_uid} and mode {found.st_mode & 0o7777:04o}, "
                f"expected {store.owner.uid} and {modes[name]:04o}"
            )
    return wrong


def unfit(pair: rehearsal.Pair, roots: str) -> str:
    """Return why a server could not start with a certificate and key, or no client would accept it; '' if they work.

    A handshake in memory is the cheapest way to have OpenSSL check the signatures. Names are not checked.
    """
    try:
        server = rehearsal.server_context(pair)
        rehearsal.handshake(server, rehearsal.client_context(roots, check_name=False), None)
    except TlsError as error:
        return error.fault.rstrip(".")
    return ""


def unfit_client(pair: rehearsal.Pair, trusted_clients: str) -> str:
    """Return why a client could not log in with a certificate and key, '' if it could."""
    try:
        rehearsal.log_in(pair, trusted_clients, rehearsal.client_context(trusted_clients, pair, check_name=False))
    except TlsError as error:
        return error.fault.rstrip(".")
    return ""
