# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a PgBouncer took a change: how it treats new connections, not what it answers to RELOAD.

Up to 1.24 it answers RELOAD as if all was well while it keeps the old files, and it loads bad files for PostgreSQL
without looking at them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Container, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Connection, Console, is_plain
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.frontend import Frontend, is_of_this_host
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.settings import not_in_force
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import log
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.log import Position
else:
    log = lazy_import("pgbouncer.log")

RECYCLES_ALONE = (1, 24)  # before it, each RELOAD closes all connections to PostgreSQL as they become free
_PATIENCE = 5.0  # seconds for a reload or for new connections to PostgreSQL to show; usual are milliseconds
_ATTEMPTS = 2  # somebody else's reload can happen in the middle of a switch
_PAUSE = 0.02  # seconds between looks


class Prover:
    """Asks one PgBouncer to reload, and checks whether it did."""

    def __init__(self, console: Console, config: Mapping[str, str], frontend: Frontend) -> None:
        self.console = console
        self.config = config
        self.frontend = frontend

    def refuse_silent(self) -> None:
        """Raise TlsError where nobody could see what clients are shown."""
        if self.frontend.is_silent():
            raise TlsError(
                f"{self.console.place}: it answers at none of its TCP addresses on this host (listen_addr "
                f"{self.config.get('listen_addr', '')!r}), so no change could be proven. Nothing was changed.",
                remedy="Add 127.0.0.1 to listen_addr and restart PgBouncer, or leave this host out: Unix sockets never "
                "use TLS.",
                code="pooler_not_listening",
            )

    def front(self, fingerprint: str, wanted: Mapping[str, str], names: Sequence[Name], *, by_log: bool) -> None:
        """Reload until every address shows this leaf and the settings are in force. Raises TlsError with its words.

        ``by_log``: the leaf is the one before, so the log has to show that the reload went well.
        """
        refused: list[str] = []
        for _attempt in range(_ATTEMPTS):
            start = log.position(self.config)
            fault = self.console.reload()
            unproven = self._unproven(fingerprint, names, start)
            written = log.written(start)
            refused = log.refusals(written)
            differing = not_in_force(wanted, self.console.config()) if wanted else []
            is_told = log.tells_of_reload(written) or not by_log
            if not (fault or unproven or refused or differing) and is_told:
                return
            why = [fault, *refused, *unproven, *differing, *([] if is_told else ["its log does not show the reload"])]
        raise TlsError(
            f"PgBouncer did not take the new TLS files: {'; '.join(filter(None, why))}.",
            code="pooler_files_not_taken",
            pooler_log=refused,
        )

    def previous(self, fingerprint: str, names: Sequence[Name]) -> None:
        """Reload until PgBouncer shows the leaf that it showed before ('' for no TLS). Raises TlsError."""
        self.front(fingerprint, {}, names, by_log=False)

    def reconnect(self, known: Container[Connection], start: Position) -> None:
        """Have connections to PostgreSQL use the new files: one database after the other, each proven before the next.

        Those in use are closed when their transaction or session ends. ``known`` are those from before.
        Raises TlsError.
        """
        for name in self.console.connected():
            self.console.reconnect(name)
            self.back(known, start)

    def back(self, known: Container[Connection], start: Position, *, may_be_plain: bool = False) -> None:
        """Look at new connections to PostgreSQL until no client waits for one.

        Raises TlsError for one without TLS, unless it ``may_be_plain``, and where clients wait while the log tells of
        failures of TLS.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            new = [row for one, row in self.console.servers().items() if one not in known]
            plain = [row for row in new if is_plain(row)]
            if plain and not may_be_plain:
                raise TlsError(
                    f"A new connection from PgBouncer to {plain[0].get('addr')}:{plain[0].get('port')} has no TLS.",
                    code="back_plaintext",
                )
            if not self.console.waiting():
                return
            failed = log.of_back(log.written(start))
            if failed:
                raise TlsError(
                    f"Clients wait, because new connections from PgBouncer to PostgreSQL fail: {'; '.join(failed)}.",
                    code="back_failed",
                    pooler_log=failed,
                )
            if time.monotonic() > deadline:
                return  # they wait for something else: the pool is in use
            time.sleep(_PAUSE)

    def _unproven(self, fingerprint: str, names: Sequence[Name], start: Position) -> list[str]:
        """Wait until each address shows a leaf; return those that do not, in words."""
        addresses = self.frontend.addresses(names)
        deadline = time.monotonic() + _PATIENCE
        while True:
            shown = {address: self.frontend.shown(address) for address in addresses}
            other = [address for address, leaf in shown.items() if leaf not in (None, fingerprint)]
            other = [address for address in other if is_of_this_host(address)]  # one that moves may just have left
            if not other and any(leaf is not None for leaf in shown.values()):
                return []
            if time.monotonic() > deadline or log.refusals(log.written(start)):
                return [f"{one} shows another certificate or no TLS" for one in other] or ["no address of it answers"]
            time.sleep(_PAUSE)
