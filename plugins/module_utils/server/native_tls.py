# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS that a server has by its own settings, once ours are gone: whether it works, and for which clients."""

from __future__ import annotations

import os
from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import passphrase, settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server import rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CONF
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import Pair

_SESSIONS = """
    SELECT coalesce(json_agg(json_build_object('role', usename, 'database', coalesce(datname, 'replication'),
             'address', host(client_addr), 'application', application_name, 'issuer', coalesce(issuer_dn, ''),
             'subject', coalesce(client_dn, ''))
             ORDER BY usename, client_addr, pid), '[]')
      FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND client_addr IS NOT NULL"""


def coming(target: Target, state: ServerState) -> dict[str, str]:
    """Return the settings of TLS that the server has after a run: the target's, and its own beside them."""
    own = NativeTls(state, f"{target.directory}/current/{CONF}").settings
    return {**own, **{name: value for name, value in target.settings.items() if value}}


def place(target: Target, state: ServerState, account: Account) -> rehearsal.DataDirectory:
    """Return where the server is after a run, and by which command it gets a passphrase then."""
    command = coming(target, state).get(passphrase.COMMAND, "")
    return rehearsal.DataDirectory(state.value("data_directory"), account, command)


class NativeTls:
    """What the server's files say about TLS, apart from our own file, whose path is ``included``."""

    def __init__(self, state: ServerState, included: str) -> None:
        self.state = state
        self.included = included
        self.settings = {row.name: row.value for row in state.on_disk if row.file != included}

    @property
    def is_on(self) -> bool:
        """Return whether the server would offer TLS."""
        return settings.normal(self.settings.get("ssl", "off"), self.state.settings["ssl"]) == "on"

    def fingerprint(self) -> str:
        """Return the fingerprint of the leaf that the server would show, '' without TLS. Raises TlsError, OSError."""
        if not self.is_on:
            return ""
        text = (files.read(self.certificate) or b"").decode("ascii", "replace")
        return read_pem(text, self.certificate)[0].sha256

    def refuse_unusable(self, target: Target, account: Account) -> None:
        """Raise TlsError when the server could not load its own certificate, key, trust, lists or settings."""
        if not self.is_on:
            return
        if self.needs_passphrase():
            raise TlsError(
                f"Without the settings of this collection the server would use its own files again, but {self.key} has "
                f"a passphrase, which the server cannot get at a reload: {self.cannot_ask()}. Nothing was changed.",
                remedy=self.remedy(),
                code="passphrase_unavailable",
            )
        try:
            self.fingerprint()
            self._refuse_key()
            place = rehearsal.DataDirectory(
                self.state.value("data_directory"), account, self.settings.get(passphrase.COMMAND, "")
            )
            pair = Pair(self.certificate, self.key, place.passphrase(files.read(self.key) or b""))
            rehearsal.server_context(self._as_target(target), pair, place)
        except (TlsError, OSError) as error:
            fault = error.fault if isinstance(error, TlsError) else str(error)
            raise TlsError(
                "Without the settings of this collection the server would have ssl = on, but its own files cannot be "
                f"used: {fault.rstrip('.')}. Nothing was changed.",
                remedy=f"Correct them, or set ssl = off in {self.state.value('config_file')}, then rerun.",
                code="native_tls_unusable",
            ) from error

    @property
    def certificate(self) -> str:
        """Return the path of the server's own certificate."""
        return self._path("ssl_cert_file", "server.crt")

    @property
    def key(self) -> str:
        """Return the path of the server's own key."""
        return self._path("ssl_key_file", "server.key")

    def needs_passphrase(self) -> bool:
        """Return whether the own key has a passphrase that the server cannot get at a reload."""
        return self.is_on and bool(self.cannot_ask()) and _is_encrypted(self.key)

    def cannot_ask(self) -> str:
        """Return why the server cannot get a passphrase at a reload, '' if it can."""
        return passphrase.objection(self.settings, self.state)

    def remedy(self) -> str:
        """Return what to do about a passphrase."""
        return (
            f"In {self.state.value('config_file')}, set ssl_passphrase_command to a command that does not prompt, and "
            "ssl_passphrase_command_supports_reload = on. Or use a key without a passphrase there. Then rerun."
        )

    def _as_target(self, target: Target) -> Target:
        """Return a target with the server's own settings, trust and lists. Raises TlsError, OSError."""
        return target._replace(
            settings=self.settings, trusted_clients=self._trusted(), crls=self._content("ssl_crl_file")
        )

    def _refuse_key(self) -> None:
        """Raise TlsError for a key that the server would not load because of its owner or mode, OSError."""
        found = os.stat(self.key)
        mode = found.st_mode & 0o7777
        too_much = 0o077 if found.st_uid == os.geteuid() else 0o037 if found.st_uid == 0 else 0o7777
        if mode & too_much:
            raise TlsError(
                f"{self.key}: owner {found.st_uid}, mode {mode:04o}; expected mode 0600 of the server's OS user, or "
                "0640 of root",
                code="key_permissions_wrong",
            )

    def refuse_files_in(self, directory: str) -> None:
        """Raise TlsError when the server would continue to use a file in a directory that is to be removed."""
        root = os.path.realpath(directory)
        for name, value in self.settings.items():
            is_path = bool(value) and name.endswith(("_file", "_dir")) and self.is_on
            if is_path and os.path.commonpath([root, os.path.realpath(self._path(name, ""))]) == root:
                raise TlsError(
                    f"{name} = {shown(value)}: by its own settings the server would still use that file, which is "
                    f"to be removed with {directory}. Nothing was changed.",
                    remedy=f"Set it to a file elsewhere in {self.state.value('config_file')}, or keep that directory: "
                    f"{option('remove_directory')}: false.",
                    code="file_still_used",
                )

    def refuse_lock_out(self, administrator: Administrator, target: Target) -> None:
        """Raise TlsError when live sessions could not reconnect without TLS, or without trust in their authority.

        Clients of the target do not count: they lose their certificates in the same run.
        """
        sessions = administrator.query(_SESSIONS)
        if not self.is_on:
            _refuse(
                sessions,
                "use TLS, which the server would no longer offer",
                "Set the server's own certificate (ssl, ssl_cert_file, ssl_key_file) in "
                f"{self.state.value('config_file')} first.",
            )
            return
        ours = self._no_longer_trusted(target)
        roles = {str(one.get("role")) for one in target.clients}
        theirs = [one for one in sessions if not roles & {one["role"], one["subject"].partition("/CN=")[2]}]
        lost = [one for one in theirs if any(f"CN={name}" in one["issuer"] for name in ours)]
        _refuse(
            lost,
            f"have certificates of this collection, which the server would no longer trust (its own ssl_ca_file is "
            f"{self.settings.get('ssl_ca_file')!r})",
            "Give these clients their own files back first, and reconnect them.",
        )

    def _no_longer_trusted(self, target: Target) -> list[str]:
        """Return our authorities whose certificates the server would refuse; none if it asks for no certificates."""
        text = self._trusted()
        if not text:
            return []
        trusted = {one.der for one in [*read_pem(text, "ssl_ca_file"), *target.extra_trusted]}
        return [one.common_name for one in read_pem(target.trusted_clients, "") if one.der not in trusted]

    def _trusted(self) -> str:
        return self._content("ssl_ca_file")

    def _content(self, name: str) -> str:
        """Return the text of a file that a setting names, '' for none. Raises TlsError for one that does not exist."""
        if not self.settings.get(name):
            return ""
        path = self._path(name, "")
        content = files.read(path)
        if not content:
            raise TlsError(
                f"{name}: {path}: expected PEM, found {'no file' if content is None else 'nothing'}", code="pem_missing"
            )
        return content.decode("ascii", "replace")

    def _path(self, name: str, default: str) -> str:
        return os.path.join(self.state.value("data_directory"), self.settings.get(name) or default)


def _is_encrypted(path: str) -> bool:
    """Return whether a key (PEM) has a passphrase; one that cannot be read has none that matters here."""
    try:
        content = files.read(path) or b""
    except OSError:
        return False
    return passphrase.is_needed(content)


def _refuse(sessions: Iterable[Mapping[str, Any]], why: str, remedy: str) -> None:
    listed = "; ".join("{role}@{database} from {address} ({application})".format(**one) for one in sessions)
    if listed:
        raise TlsError(
            f"Live sessions {why}: {listed}. Nothing was changed.",
            remedy=f"{remedy} To ignore these sessions, set {option('on_lockout')} to allow.",
            code="session_lockout",
        )
