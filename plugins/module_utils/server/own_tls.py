# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS that a server has by its own settings, once ours are gone: whether it works, and for whom."""

from __future__ import annotations

import os
from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem

_SESSIONS = """
    SELECT coalesce(json_agg(json_build_object('role', usename, 'database', coalesce(datname, 'replication'),
             'address', host(client_addr), 'application', application_name, 'issuer', coalesce(issuer_dn, ''),
             'subject', coalesce(client_dn, ''))
             ORDER BY usename, client_addr, pid), '[]')
      FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND client_addr IS NOT NULL"""


class OwnTls:
    """What the server's files say of TLS besides our own file, whose path is ``included``."""

    def __init__(self, state: ServerState, included: str) -> None:
        self.state = state
        self.settings = {row.name: row.value for row in state.on_disk if row.file != included}

    @property
    def is_on(self) -> bool:
        """Return whether the server would offer TLS."""
        return settings.normal(self.settings.get("ssl", "off"), self.state.settings["ssl"]) == "on"

    def fingerprint(self) -> str:
        """Return the fingerprint of the leaf that the server would show, '' without TLS. Raises TlsError, OSError."""
        if not self.is_on:
            return ""
        path = self._path("ssl_cert_file", "server.crt")
        return read_pem((files.read(path) or b"").decode("ascii", "replace"), path)[0].sha256

    def refuse_unusable(self) -> None:
        """Raise TlsError when the server could not load its own certificate, key or trust."""
        if not self.is_on:
            return
        pair = rehearsal.Pair(self._path("ssl_cert_file", "server.crt"), self._path("ssl_key_file", "server.key"))
        try:
            self.fingerprint()
            if not self.settings.get("ssl_passphrase_command"):  # a key with a passphrase is the server's business
                rehearsal.server_context(pair, self._trusted(), self.settings.get("ssl_ciphers", ""))
        except (TlsError, OSError) as error:
            raise TlsError(
                f"Without the settings of this collection the server would have ssl = on, but its own files are of no "
                f"use: {str(error).partition('. Run with')[0].rstrip('.')}. Nothing was changed. Mend them, or set "
                f"ssl = off in {self.state.value('config_file')}, then start again."
            ) from error

    def refuse_files_in(self, directory: str) -> None:
        """Raise TlsError when the server would go on to use a file in a directory that is to be removed."""
        root = os.path.realpath(directory)
        for name, value in self.settings.items():
            is_path = bool(value) and name.endswith(("_file", "_dir")) and self.is_on
            if is_path and os.path.commonpath([root, os.path.realpath(self._path(name, ""))]) == root:
                raise TlsError(
                    f"{name} = {shown(value)}: by its own settings the server would go on to use that file, which is "
                    f"to be removed with {directory}. Nothing was changed. Name a file elsewhere in "
                    f"{self.state.value('config_file')}, or leave that directory: postgres_server_remove_directory: "
                    "false."
                )

    def refuse_lock_out(self, administrator: Administrator, target: Target) -> None:
        """Raise TlsError when live sessions could not connect again for lack of TLS, or of trust in their authority.

        Trust in certificates of the target's clients does not count: these lose them in the same run.
        """
        sessions = administrator.query(_SESSIONS)
        if not self.is_on:
            _refuse(
                sessions,
                "use TLS, which the server would not have any more. Set its own certificate (ssl, ssl_cert_file, "
                f"ssl_key_file) in {self.state.value('config_file')} first",
            )
            return
        ours = self._no_longer_trusted(target)
        roles = {str(one.get("role")) for one in target.clients}
        theirs = [one for one in sessions if not roles & {one["role"], one["subject"].partition("/CN=")[2]}]
        lost = [one for one in theirs if any(f"CN={name}" in one["issuer"] for name in ours)]
        _refuse(
            lost,
            f"have certificates of this collection, which the server would not trust any more (its own ssl_ca_file is "
            f"{self.settings.get('ssl_ca_file')!r}). Give these clients their own files back first, and let them "
            "connect anew",
        )

    def _no_longer_trusted(self, target: Target) -> list[str]:
        """Return which of our authorities the server would refuse certificates of; one that asks for none does not."""
        text = self._trusted()
        if not text:
            return []
        trusted = {one.der for one in [*read_pem(text, "ssl_ca_file"), *target.extra_trusted]}
        return [one.common_name for one in read_pem(target.trusted_clients, "") if one.der not in trusted]

    def _trusted(self) -> str:
        path = self.settings.get("ssl_ca_file")
        return (files.read(self._path("ssl_ca_file", "")) or b"").decode("ascii", "replace") if path else ""

    def _path(self, name: str, default: str) -> str:
        return os.path.join(self.state.value("data_directory"), self.settings.get(name) or default)


def _refuse(sessions: Iterable[Mapping[str, Any]], why: str) -> None:
    listed = "; ".join("{role}@{database} from {address} ({application})".format(**one) for one in sessions)
    if listed:
        raise TlsError(
            f"Live sessions {why}: {listed}. Nothing was changed. With postgres_server_lock_out: allow they do not "
            "count."
        )
