# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo what an interrupted run left: within a transaction, and in the files of a PgBouncer that cannot be reached."""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.core import directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account_of
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import look
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.proof import Prover

SERVICE = "pooler"  # what messages call what the OS user runs


def refuse_damage(journal: Journal) -> None:
    """Raise TlsError for a journal by which nothing can be put back: only a person can decide."""
    damage = journal.damage()
    if damage:
        raise TlsError(
            f"{damage} So it is unknown what an interrupted run changed. Nothing was changed.",
            remedy=journal.remedy,
            code="journal_damaged",
        )


def undo(journal: Journal, prover: Prover | None) -> None:
    """Undo the changes in an open journal, and have PgBouncer load the result. Raises TlsError with the reason."""
    try:
        journal.roll_back(discard=False, tell=None if prover is None else prover.try_to_reload)
    except OSError as error:
        raise TlsError(
            f"{error.filename or journal.path}: {error.strerror or error}. What an interrupted run left is "
            f"only partly undone ({journal.path} lists it).",
            remedy="Fix that (permissions, space), then rerun: the next run continues.",
            code="recovery_failed",
            rolled_back=False,
        ) from error


def of_files(path: str, config_file: str) -> bool:
    """Undo what an interrupted run left in files; return whether there was any. Raises TlsError.

    These files may be why PgBouncer does not start. ``path`` is the directory of its generations.
    """
    try:
        owner = account_of(os.stat(path).st_uid)
    except FileNotFoundError:
        return False
    with directory.held(path, owner, check_mode=False, service=SERVICE):
        rooted = look.config_file(config_file, owner).rooted
        journal = Journal(GenerationStore(path, owner.owner), rooted)
        refuse_damage(journal)
        if not journal.is_open():
            return False
        undo(journal, None)
        return True
