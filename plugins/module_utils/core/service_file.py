# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration file of a service: with whose rights it is changed, and when nobody could change it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
else:
    obstacles = lazy_import("core.obstacles")


class ServiceFile(NamedTuple):
    """A file by its usual ``name``, as the service calls it (``named``), at a ``path`` that is resolved once.

    ``service`` is what the OS user ``account`` runs, ``packaged`` whose packages make the file, both for messages.
    """

    name: str
    named: str
    path: str
    account: Account
    rooted: RootFiles
    service: str = "server"
    packaged: str = "PostgreSQL"

    def objection(self) -> str:
        """Return why the file is not changed as root, '' if it is."""
        return self.rooted.objection(self.path, self.name)

    def refuse_unwritable(self) -> None:
        """Raise TlsError when the file can be replaced neither with our present rights, that user's, nor as root."""
        obstacles.refuse(self.path)
        objection = self.objection()
        if not objection:
            return
        folder = os.path.dirname(self.path)
        exempt = f"A file that root alone can change is changed as root. This one is not: {objection}."
        who = f"OS user {self.account.name!r}, who runs the {self.service},"
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise TlsError(
                f"{self.named}: {who} cannot write to {folder}, but every change is made with that user's rights. "
                f"{exempt}",
                remedy=f"Correct that, or leave this {self.service} out.",
                code="config_file_not_writable",
            )
        if not os.path.exists(self.path):
            return
        found = os.stat(self.path)
        if found.st_uid != self.account.uid or found.st_gid not in {os.getegid(), *os.getgroups()}:
            raise TlsError(
                f"{self.named}: found owner and group {found.st_uid}:{found.st_gid}, which {who} could not give to the "
                f"changed file; every change is made with that user's rights. {exempt}",
                remedy=f"Find out who manages this file. {self.packaged}'s packages create it with owner and group "
                f"{self.account.uid}:{self.account.gid}.",
                code="config_file_wrong_owner",
            )

    def before(self, originals: Mapping[str, bytes | None], now: str) -> str:
        """Return the text before a transaction: ``originals`` by their paths, ``now`` if it is none of them."""
        return (originals[self.path] or b"").decode("utf-8", "surrogateescape") if self.path in originals else now

    def write(self, before: str, after: str, journal: Journal) -> None:
        """Replace the text within a transaction. Bytes that are no UTF-8 survive. Raises TlsError, OSError."""
        content = after.encode("utf-8", "surrogateescape")
        if self.objection():
            journal.put_file(self.path, content, 0o640)
        else:
            journal.put_rooted(self.path, before.encode("utf-8", "surrogateescape"), content)

    def forget(self) -> None:
        """Remove what a run that died after its commit left of a file of root."""
        if not self.objection():
            self.rooted.forget(self.path)
