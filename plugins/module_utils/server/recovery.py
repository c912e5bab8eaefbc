# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo what an interrupted run left in files: within a transaction, and for a server that cannot be reached."""

from __future__ import annotations

import os
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core import directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account_of
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, rules
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CERTIFICATE, Found, leaf_of
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import root_files


def undo(journal: Journal, administrator: Administrator | None) -> None:
    """Undo the changes in an open journal, and have the server load the result. Raises TlsError with the reason."""
    try:
        journal.roll_back(discard=False, tell=administrator and administrator.try_to_signal)
    except OSError as error:
        raise TlsError(
            f"{error.filename or journal.path}: {error.strerror or error}. What an interrupted run left is "
            f"only partly undone ({journal.path} lists it).",
            remedy="Fix that (permissions, space), then rerun: the next run continues.",
            code="recovery_failed",
            rolled_back=False,
        ) from error


def refuse_half(damage: str, journal: Journal, found: Found, state: ServerState, included: str) -> None:
    """Raise TlsError unless a server is consistent without its damaged journal.

    A consistent server shows the certificate on disk, and would load all of its files. Then it does not matter what the
    interrupted run did: the plan of this run continues from there.
    """
    half = list(_half(found, state, included))
    if half:
        raise TlsError(
            f"{damage} So it is unknown what an interrupted run changed, and these faults are left: {'; '.join(half)}. "
            "Nothing was changed.",
            remedy=journal.remedy,
            code="journal_damaged",
        )


def _half(found: Found, state: ServerState, included: str) -> Iterator[str]:
    """Return what is inconsistent, in words."""
    yield from (f"{one['file']} line {one['line']}: {one['error']}" for one in state.faults)
    yield from map(str, rules.faults(state.bad_lines, state.major))
    for name, text in (("pg_hba.conf", found.hba), ("pg_ident.conf", found.ident)):
        try:
            configuration.with_block(text, "", name)
        except TlsError as error:
            yield error.message
    is_included = any(row.file == included for row in state.on_disk)
    if not found.generation and not is_included:
        return  # nothing of ours is in use
    leaf = leaf_of(found.generation.get(CERTIFICATE))
    if leaf is None or found.served != leaf.sha256:
        yield "the server shows another certificate than the one on disk"
    else:
        yield from found.drift
    if not is_included:
        yield f"its configuration does not include {included}"
    if found.unfit:
        yield found.unfit


def of_files(path: str, administrator: Administrator | None) -> bool:
    """Undo what an interrupted run left in the files of a server that cannot be reached; return whether there was any.

    Those files may be why the server does not start, or refuses this module. ``path`` is the directory of the server's
    generations. Raises TlsError.
    """
    try:
        owner = account_of(os.stat(path).st_uid)
    except FileNotFoundError:
        return False
    with directory.held(path, owner, check_mode=False):
        journal = Journal(GenerationStore(path, owner.owner), root_files(owner))
        if not journal.is_open():
            return False
        undo(journal, administrator)
        return True


def without_journal(damage: str, aside: str, directory: str) -> str:
    """Return the warning of a run that continues without a damaged journal. ``aside`` says what happens to it."""
    return (
        f"{damage} The server is consistent nevertheless: it shows the certificate on disk and accepts its files. So "
        f"the journal is {aside}. Find out who wrote to {directory}, then remove that file."
    )
