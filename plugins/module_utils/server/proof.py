# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a server loaded a change: how it treats new connections, never what it reports about itself.

pg_reload_conf(), pg_settings and pg_file_settings report success while the old certificate is served.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Callable, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings, state, wire
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator, LogMark
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import hosts, log, rules
else:
    hosts = lazy_import("postgres.hosts")
    log = lazy_import("postgres.log")
    rules = lazy_import("postgres.rules")

_PATIENCE = 10.0  # seconds for a reload to show; 25 ms is usual
_ATTEMPTS = 3  # somebody else's reload can happen in the middle of a switch
_PAUSE = 0.02  # seconds between looks


class Prover:
    """Asks one server to reload, and checks whether it did."""

    def __init__(self, administrator: Administrator, found: state.ServerState) -> None:
        self.administrator = administrator
        self.found = found
        self.endpoint = _answering([wire.Endpoint(host, administrator.port) for host in found.local_addresses])

    def chain(self) -> Sequence[Certificate]:
        """Return the certificates that the server shows, leaf first (before Python 3.10 alone); none without TLS."""
        try:
            return wire.observe(self.endpoint).chain
        except TlsError:
            return ()

    def served(self) -> str:
        """Return the fingerprint of the leaf that the server shows, '' when it offers no TLS."""
        chain = self.chain()
        return chain[0].sha256 if chain else ""

    def observes_log(self) -> bool:
        """Return whether the server's log would show a refused reload: a line of ours arrives in it, in English."""
        start = self._log_position()
        mark, marked = self._marked()
        return marked.is_english and self._log_until(start, mark, marked) is not None

    def tls(self, fingerprint: str, wanted: dict[str, str], *, is_new: bool) -> None:
        """Reload until the server shows the leaf with this fingerprint and has the ``wanted`` settings in force.

        A leaf that ``is_new`` came with the switch: whatever caused the reload, the rest of the switch is loaded as
        well. Raises TlsError with the server's own log lines when it does not.
        """
        for _attempt in range(_ATTEMPTS):
            refused = self._reload_until(fingerprint, is_new=is_new)
            if refused is None:
                break
        else:
            raise _not_taken(
                "tls_files_not_taken", f"The server did not take the new TLS files{self._other_hosts()}", refused or []
            )
        differing = settings.not_in_force(wanted, state.inspect(self.administrator)) if wanted else []
        if differing:
            raise TlsError(
                f"After the reload settings are not in force: {'; '.join(differing)}.",
                remedy="Remove them at the places named.",
                code="settings_not_in_force",
            )

    def _reload_until(self, fingerprint: str, *, is_new: bool) -> list[str] | None:
        """Reload once; return None when that is proven to have worked, else the log lines that say why not."""
        is_told_by_leaf = is_new or self.served() != fingerprint
        start = self._log_position()
        self.administrator.reload()
        if is_told_by_leaf:
            shown = self._until(lambda: self.served() == fingerprint, lambda: bool(self._refused(start)))
            return None if shown else self._refused(start) or self._said(start)  # a new leaf is proof enough
        logged, _is_english = self._logged_since(start)  # for the same leaf, only the log can tell
        if logged is None or not log.tells_of_reload(logged):
            raise TlsError(
                "The server shows the same certificate before and after the reload, and its log "
                f"({start.path or 'which cannot be read here'}) does not mention the reload. So nothing proves that "
                "the server loaded the new TLS files.",
                remedy=f"Rerun with {option('renew')}: true: a new certificate proves it.",
                code="reload_not_provable",
            )
        refused = log.refusals(logged, log.TLS_VERDICTS)
        return refused or (None if self.served() == fingerprint else [])

    def _other_hosts(self) -> str:
        """Return why the server may show another certificate although it has loaded the files, '' for no reason."""
        reason = hosts.in_use(self.found) if self.found.value("ssl_sni") == "on" else ""
        return f": {reason[:-1]}" if reason else ""

    def rules(self, *, plaintext: str) -> None:
        """Reload after pg_hba.conf or pg_ident.conf changed; the server has found no fault in the files before.

        Raises TlsError when it refuses them anyway, locks this module out, or, with ``plaintext`` reject, still lets a
        connection without TLS begin.
        """
        start = self._log_position()
        self.administrator.reload()
        logged, is_english = self._logged_since(start)  # the management connection is still let in, or this raises
        refused = self._refused_rules(logged or [], is_english=is_english)
        if refused:
            raise _not_taken("rules_not_taken", "The server did not take the new rules", refused)
        if plaintext == "reject" and not self._until(self._refuses_plaintext):
            raise _not_taken(
                "plaintext_not_refused",
                f"After the reload a connection without TLS is still not refused; {option('plaintext')} is reject",
                [],
            )

    def _refused_rules(self, logged: list[str], *, is_english: bool) -> list[str]:
        """Return the lines that say why rules or maps were refused: in any language, they name the file."""
        has_maps = os.path.exists(self.found.value("ident_file"))  # a server runs without that file, and logs that
        if is_english:
            return log.refusals(logged, log.rules_verdicts(self.found, has_maps=has_maps))
        names = log.rules_files(self.found, has_maps=has_maps)
        said = log.by_process(logged, self.administrator.pid)
        return said if any(name in line for line in said for name in names) else []

    def check_rules(self) -> None:
        """Ask the server for faults in the rules on disk, before it loads them. Raises TlsError."""
        bad = rules.faults(state.bad_lines(self.administrator), self.found.major)
        if bad:
            listed = [str(fault) for fault in bad]
            raise TlsError(
                f"The server refuses {bad[0].name}: {'; '.join(listed)}.",
                remedy="Correct what is named there.",
                code="rules_faulty",
                server_log=listed,
            )

    def previous(self, fingerprint: str) -> None:
        """Reload after a roll-back and prove that what was served before is served again. Raises TlsError.

        If somebody restarts the server, this waits as long as a reload may take.
        """
        start = self._log_position()
        if self._until(lambda: self._asked() and self._is_let_in() and self.served() == fingerprint):
            return
        if not self._asked():
            self.administrator.reload()  # whose error says what is wrong
        refused = log.refusals(log.since(start), (*log.TLS_VERDICTS, *log.rules_verdicts(self.found)))
        refused = refused or self._said(start)
        raise _not_taken("previous_certificate_not_shown", "The server does not show its previous certificate", refused)

    def _asked(self) -> bool:
        """Ask for a reload; return whether that worked.

        The rules that are rolled back may have locked this module out, and a restart may have made another process the
        main one.
        """
        self.administrator = self.administrator.again()
        for ask in (self.administrator.reload, self.administrator.signal_reload):
            with contextlib.suppress(TlsError):
                ask()
                return True
        return False

    def _log_position(self) -> log.Position:
        return log.position(self.found, self.administrator.pid)

    def _refused(self, start: log.Position) -> list[str]:
        return log.refusals(log.since(start), log.TLS_VERDICTS)

    def _said(self, start: log.Position) -> list[str]:
        """Return what the main process wrote in another language than English: nobody can tell what of it matters."""
        lines = log.since(start)
        return [] if log.tells_of_reload(lines) else log.by_process(lines, self.administrator.pid)

    def _marked(self) -> tuple[str, LogMark]:
        mark = f"pgops.tls {os.urandom(8).hex()}"
        return mark, self.administrator.mark_log(mark)

    def _logged_since(self, start: log.Position) -> tuple[list[str] | None, bool]:
        """Return what the log says of a reload that was just asked for (None: it cannot be read), and if in English.

        The server handles the signal before it accepts the session that marks the log. So its lines about the reload
        come before the mark, even if a collector delays them.
        """
        mark, marked = self._marked()
        return self._log_until(start, mark, marked), marked.is_english

    def _log_until(self, start: log.Position, mark: str, marked: LogMark) -> list[str] | None:
        current = log.path_of(marked.file, self.found.value("data_directory"), self.administrator.pid)
        if start.path is None or current is None or not {"stderr", "csvlog", "jsonlog"} & _words(marked.destination):
            return None
        self._until(lambda: log.until(log.since(start, current), mark) is not None)
        return log.until(log.since(start, current), mark)

    def _is_let_in(self) -> bool:
        try:
            return bool(self.administrator.query("SELECT to_json(true)"))
        except TlsError:
            return False

    def _refuses_plaintext(self) -> bool:
        try:
            with wire.connected(self.endpoint) as connection:
                wire.log_in(connection, self.administrator.role, "postgres")
        except wire.RefusedError as refusal:
            return refusal.sqlstate.startswith("28")  # invalid authorization: pg_hba.conf rejects
        return False

    @staticmethod
    def _until(holds: Callable[[], bool], is_hopeless: Callable[[], bool] = lambda: False) -> bool:
        """Check again and again until something holds; stop early when it is hopeless."""
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if is_hopeless() or time.monotonic() > deadline:
                return holds()
            time.sleep(_PAUSE)
        return True


def _words(listed: str) -> set[str]:
    return {word.strip() for word in listed.split(",")}


def _answering(endpoints: Sequence[wire.Endpoint]) -> wire.Endpoint:
    """Return the first endpoint that takes a connection: the server may listen at addresses that are not up."""
    for endpoint in endpoints[:-1]:
        with contextlib.suppress(TlsError), wire.connected(endpoint):
            return endpoint
    return endpoints[-1]


def _not_taken(code: str, what: str, lines: list[str]) -> TlsError:
    reasons = " / ".join(line.strip() for line in lines)
    unsaid = "nothing that could be read; a handshake does not show what was expected"
    remedy = "Correct what it names, then rerun." if reasons else "Check its log."
    return TlsError(f"{what}. It says: {reasons or unsaid}.", remedy=remedy, code=code, server_log=lines)
