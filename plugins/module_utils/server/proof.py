# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a server took a change: what it shows and does to new connections, never what it says of itself.

pg_reload_conf(), pg_settings and pg_file_settings report success while the old certificate is served.
"""

from __future__ import annotations

import time
from typing import Callable

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import log, settings, state, wire
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator

_PATIENCE = 10.0  # seconds for a reload to show; 25 ms is usual
_ATTEMPTS = 3  # a reload that somebody else asked for can fall into the middle of a switch
_PAUSE = 0.02  # seconds between looks


class Prover:
    """Asks one server to reload, and looks whether it did."""

    def __init__(self, administrator: Administrator, found: state.ServerState) -> None:
        self.administrator = administrator
        self.found = found
        self.endpoint = wire.Endpoint(found.local_address, administrator.port)

    def served(self) -> str:
        """Return the fingerprint of the leaf that the server shows, '' when it offers no TLS."""
        try:
            return wire.observe(self.endpoint).leaf.sha256
        except TlsError:
            return ""

    def tls(self, fingerprint: str, wanted: dict[str, str]) -> None:
        """Reload until the server shows the leaf with this fingerprint and has the ``wanted`` settings in force.

        Raises TlsError with the server's own log lines when it does not.
        """
        for _attempt in range(_ATTEMPTS):
            refused = self._reload_until(fingerprint)
            if refused is None:
                break
        else:
            raise _not_taken("The server did not take the new TLS files", refused or [])
        differing = settings.not_in_force(wanted, state.inspect(self.administrator)) if wanted else []
        if differing:
            raise TlsError("After the reload settings are not in force: " + "; ".join(differing) + ".")

    def _reload_until(self, fingerprint: str) -> list[str] | None:
        """Reload once; return None when that is proven to have worked, else the log lines that tell why not."""
        before = self.served()
        start = log.position(self.found, self.administrator.pid)
        self.administrator.reload()
        shown = self._until(lambda: self.served() == fingerprint, lambda: bool(log.refusals(log.since(start))))
        refused = log.refusals(log.since(start))
        # A leaf that was not there before proves the reload by itself; for the same leaf the log has to tell.
        return None if shown and (before != fingerprint or not refused) else refused

    def rules(self, *, plaintext: str) -> None:
        """Reload after pg_hba.conf or pg_ident.conf changed; the server has found no fault in the files before.

        Raises TlsError when it refuses them all the same, shuts this module out, or, with ``plaintext`` reject,
        still lets a connection without TLS begin.
        """
        start = log.position(self.found, self.administrator.pid)
        self.administrator.reload()
        if plaintext == "reject" and not self._until(self._refuses_plaintext):
            raise _not_taken(
                "After the reload a connection without TLS is still not refused; postgres_server_plaintext is reject",
                log.refusals(log.since(start)),
            )
        self.administrator.query("SELECT to_json(1)")  # the management connection is still let in
        refused = log.refusals(log.since(start))
        if refused:
            raise _not_taken("The server did not take the new rules", refused)

    def check_rules(self) -> None:
        """Ask the server what it holds against the rules on disk, before it is told to load them. Raises TlsError."""
        bad = state.bad_hba_rules(self.administrator)
        if bad:
            raise TlsError("The server refuses pg_hba.conf: " + "; ".join(bad) + ".", server_log=bad)
        bad = state.bad_ident_maps(self.administrator, self.found)
        if bad:
            raise TlsError("The server refuses pg_ident.conf: " + "; ".join(bad) + ".", server_log=bad)

    def previous(self, fingerprint: str) -> None:
        """Reload after a roll-back and prove that what was served before is served again. Raises TlsError."""
        start = log.position(self.found, self.administrator.pid)
        self.administrator.reload()
        if not self._until(lambda: self.served() == fingerprint):
            raise _not_taken("The server does not show its previous certificate", log.refusals(log.since(start)))

    def _refuses_plaintext(self) -> bool:
        try:
            with wire.connected(self.endpoint) as connection:
                wire.log_in(connection, self.administrator.role, "postgres")
        except wire.RefusedError as refusal:
            return refusal.sqlstate.startswith("28")  # invalid authorization: pg_hba.conf rejects
        return False

    @staticmethod
    def _until(holds: Callable[[], bool], is_hopeless: Callable[[], bool] = lambda: False) -> bool:
        """Look again and again until something holds; stop early when it is hopeless."""
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if is_hopeless() or time.monotonic() > deadline:
                return holds()
            time.sleep(_PAUSE)
        return True


def _not_taken(what: str, lines: list[str]) -> TlsError:
    reasons = " / ".join(line.strip() for line in lines)
    unsaid = "nothing that could be read; a handshake does not show what was expected"
    return TlsError(f"{what}. It says: {reasons or unsaid}.", server_log=lines)
