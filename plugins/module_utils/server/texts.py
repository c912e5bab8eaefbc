# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's configuration files: where they are, what is in them, and with whose rights they are changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal

_SETTINGS = {"postgresql.conf": "config_file", "pg_hba.conf": "hba_file", "pg_ident.conf": "ident_file"}


def root_files(account: Account) -> RootFiles:
    """Return the keeper of those files that root gave to the server's OS user for reading."""
    return RootFiles(tuple(_SETTINGS), account.gid)


class Texts:
    """The files by their names, read and written at paths that are resolved once: no link moves between the two."""

    def __init__(self, found: ServerState, account: Account) -> None:
        self.account = account
        self.rooted = root_files(account)
        self.named = {name: found.value(setting) for name, setting in _SETTINGS.items()}  # as the server calls them
        self.paths = {name: os.path.realpath(path) for name, path in self.named.items()}

    def read(self, name: str, missing: str | None = None) -> str:
        """Return a file's text; bytes that are no UTF-8 survive the round trip.

        ``missing`` is the text of a file that does not exist; None raises TlsError.
        """
        content = files.read(self.paths[name])
        if content is not None:
            return content.decode("utf-8", "surrogateescape")
        if missing is None:
            raise TlsError(
                f"{self.named[name]}: the server runs with this file, but it no longer exists.",
                remedy="Restore it first.",
                code="config_file_missing",
            )
        return missing

    def refuse_unwritable(self, name: str) -> None:
        """Raise TlsError when a file can be replaced neither with our present rights, that user's, nor as root."""
        self._file(name).refuse_unwritable()

    def write(self, rewrite: Rewrite, journal: Journal) -> None:
        """Replace a file within a transaction. Raises TlsError, OSError."""
        self._file(rewrite.name).write(rewrite.before, rewrite.after, journal)

    def files(self) -> list[ServiceFile]:
        """Return all of them."""
        return [self._file(name) for name in self.paths]

    def _file(self, name: str) -> ServiceFile:
        return ServiceFile(name, self.named[name], self.paths[name], self.account, self.rooted)
