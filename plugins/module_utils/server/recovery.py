# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interrupted run left in files, put back: within a transaction, and where the server cannot be asked."""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account_of
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.server import directory
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import root_files


def undo(journal: Journal, administrator: Administrator | None) -> None:
    """Put back what an open journal tells of, and have the server read it. Raises TlsError that says what is wrong."""
    try:
        journal.roll_back(discard=False, tell=administrator and administrator.try_to_signal)
    except OSError as error:
        raise TlsError(
            f"{error.filename or journal.path}: {error.strerror or error}. What an interrupted run left is "
            f"not put back whole ({journal.path} tells of it). Mend that (rights, space) and start again: the "
            "next run goes on with it.",
            rolled_back=False,
        ) from error


def of_files(path: str, administrator: Administrator | None) -> bool:
    """Undo what an interrupted run left in the files of a server that cannot be asked; return whether there was any.

    It may be those files that keep the server from starting, or this module out of it. ``path`` is the directory of the
    server's generations. Raises TlsError.
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
