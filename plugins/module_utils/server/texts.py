# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's configuration files: where they are, what is in them, and with whose rights they are changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.postgres import managers
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
    from ansible_collections.pgops.tls.plugins.module_utils.patroni import texts as patroni_texts
    from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
else:
    patroni_texts = lazy_import("patroni.texts")

_SETTINGS = {"postgresql.conf": "config_file", "pg_hba.conf": "hba_file", "pg_ident.conf": "ident_file"}


def root_files(account: Account, owner: int = 0) -> RootFiles:
    """Return the keeper of those files that root gave to the server's OS user for reading.

    ``owner`` is another user id that may own such a file.
    """
    return RootFiles((*_SETTINGS, "*.yml", "*.yaml"), account.gid, owner)


def texts_of(found: ServerState, account: Account) -> Texts:
    """Return the files of a server, and who writes them: it, or Patroni. Raises TlsError, OSError."""
    own = Texts(found, account)
    main = own.read("postgresql.conf")
    if main.startswith(managers.PATRONI_HEADER) and "\ninclude '" in main:
        own = patroni_texts.PatroniTexts(found, account)
    return own


class Texts:
    """The files by their names, read and written at paths that are resolved once: no link moves between the two."""

    way_out = ""  # what else can be done about a manager that this collection cannot work with now
    patroni: Patroni | None = None  # who runs the server
    untold: TlsError | None = None  # why a manager was not told what a roll-back put back

    def __init__(self, found: ServerState, account: Account) -> None:
        self.account = account
        self.rooted = root_files(account)
        self.named = {name: found.value(setting) for name, setting in _SETTINGS.items()}  # as the server calls them
        self.paths = {name: os.path.realpath(path) for name, path in self.named.items()}

    def read(self, name: str, missing: str | None = None) -> str:
        """Return a file's text; bytes that are no UTF-8 survive the round trip.

        ``missing`` is the text of a file that does not exist; None raises TlsError.
        """
        found = files.text(self.paths[name])
        if found is not None:
            return found
        if missing is None:
            raise TlsError(
                f"{self.named[name]}: the server runs with this file, but it no longer exists.",
                remedy="Restore it first.",
                code="config_file_missing",
            )
        return missing

    def before(self, name: str, originals: Mapping[str, bytes | None], now: str) -> str:
        """Return what a file was before a transaction: ``originals`` by their paths, ``now`` if it is none of them."""
        return self._file(name).before(originals, now)

    def refuse_unwritable(self, rewrite: Rewrite) -> None:
        """Raise TlsError when a file can be replaced neither with our present rights, that user's, nor as root."""
        self._file(rewrite.name).refuse_unwritable()

    def write(self, rewrite: Rewrite, journal: Journal) -> None:
        """Replace a file within a transaction. Raises TlsError, OSError."""
        self._file(rewrite.name).write(rewrite.before, rewrite.after, journal)

    def files(self) -> list[ServiceFile]:
        """Return all of them."""
        return [self._file(name) for name in self.paths]

    def write_rules(self, steps: Sequence[Rewrite], journal: Journal) -> None:
        """Replace files of rules and maps within a transaction, for the server's next reload."""
        for rewrite in steps:
            self.write(rewrite, journal)

    def tell(self, _journal: Journal, administrator: Administrator) -> None:
        """Have the server load what a roll-back put back; the journal is still open."""
        administrator.try_to_signal()

    def prove_previous(self) -> None:
        """Raise TlsError if a manager is known to use other files than those that a roll-back put back."""

    def refuse_overrides(self, wanted: Mapping[str, str], state: ServerState) -> None:
        """Refuse settings of a manager that take precedence over ours: there is none."""

    def refuse_names(self, coming: Sequence[Name], served: Sequence[Name] | None) -> None:
        """Refuse a new certificate without the name that a manager announces: there is none."""

    def signs(self) -> Sequence[str]:
        """Return by what a manager is known that this collection cannot work with now."""
        return ()

    def warnings(self, _rewrites: Sequence[Rewrite]) -> list[str]:
        """Return what does not stop a run."""
        return []

    def _file(self, name: str) -> ServiceFile:
        return ServiceFile(name, self.named[name], self.paths[name], self.account, self.rooted)
