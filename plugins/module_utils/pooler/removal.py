# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal: a transaction that takes our line out of the configuration of a PgBouncer, and then our directory away.

What the configuration says besides takes effect again, and is proven like any other change.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import removal
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, log
from ansible_collections.pgops.tls.plugins.module_utils.pooler import refusals
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate

_TOLD = 8  # clients that a message names


class Removal(Transaction):
    """One PgBouncer that loses the TLS of this collection."""

    def _run(self, *, check_mode: bool) -> Outcome:
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        plan = plan_removal(found, self.target.config_file)
        before = self._leaves(found.generation)
        if plan.text is not None:
            self._refuse_removal(plan.text)
            if not check_mode:
                self._transact(None, lambda: self._take_out(plan.text or "", found))
        place = self.store.directory, self.account, self.program
        cleared = removal.clear(*place, is_wanted=True, check_mode=check_mode)
        changes = [*recovered, *plan.changes, *cleared]
        return self._outcome(plan, found, Done(changes, {}, before, {}, None))

    def _refuse_removal(self, text: str) -> None:
        """Raise TlsError where PgBouncer would not load what is left, or clients would lose TLS that they use."""
        lines = self.look.lines(text)
        refusals.broken_line(lines, self.config, is_to_reload=True)
        self.prover.refuse_silent()
        self.main.refuse_unwritable()
        own = _values(lines)
        if own.get("auth_type") == "cert" and own.get("client_tls_sslmode") != "verify-full":
            raise TlsError(
                f"{self.target.config_file}: auth_type is cert, which needs client_tls_sslmode verify-full. Without "
                "this collection it would be missing, and PgBouncer would keep its old settings. Nothing was changed.",
                remedy="Set client_tls_sslmode and its files there, or another auth_type. Then rerun.",
                code="pooler_sslmode_unfit",
            )
        if not _own_leaf(own) and self.target.on_lockout == "refuse":
            self._refuse_lock_out()

    def _refuse_lock_out(self) -> None:
        rows = [one for one in self.console.rows("SHOW CLIENTS") if one.get("tls")]
        if rows:
            listed = "; ".join(f"{one['user']}@{one['database']} from {one['addr']}" for one in rows[:_TOLD])
            more = f" and {len(rows) - _TOLD} more" if len(rows) > _TOLD else ""
            raise TlsError(
                f"Live connections use TLS, which PgBouncer would no longer offer: {listed}{more}. Nothing was "
                "changed.",
                remedy=f"Set client_tls_sslmode and its files in {self.target.config_file} first. To ignore these "
                f"connections, set {option('on_lockout')} to allow.",
                code="session_lockout",
            )

    def _take_out(self, text: str, found: Found) -> None:
        """Let PgBouncer use its own settings alone, and prove both directions. Raises TlsError."""
        known, start = self.prover.servers(), log.position(self.config)
        self.main.write(found.text, text, self.journal)
        names = self.target.front.spec.names
        self.prover.front(_own_leaf(_values(self.look.lines(text))), {}, names, by_log=False)
        self.prover.back(known, start, may_be_plain=True)


def plan_removal(found: Found, config_file: str) -> Plan:
    """Return the plan that takes our line out."""
    text = ini.without_include(found.text)
    is_ours = text != found.text
    return Plan(
        reasons={"front": (), "back": ()},
        contents=None,
        text=text if is_ours else None,
        changes=[f"{config_file}: without what this collection has added"] if is_ours else [],
        changes_back=is_ours,
        relies_on_log=False,
    )


def _values(lines: Sequence[ini.Line]) -> dict[str, str]:
    return {name: line.value for name, line in ini.settings(lines).items()}


def _own_leaf(own: Mapping[str, str]) -> str:
    """Return the fingerprint of the leaf that clients see with these settings, '' without TLS. Raises TlsError."""
    if own.get("client_tls_sslmode", "disable") == "disable":
        return ""
    path = own.get("client_tls_cert_file", "")
    chain = certificate.read_chain(files.read(path) if path else None, path)
    if not chain:
        raise TlsError(
            f"client_tls_cert_file: expected a PEM certificate in {path or 'it'}, found none. By its own settings "
            "PgBouncer would not offer TLS again. Nothing was changed.",
            remedy="Correct the settings client_tls_* in the configuration file of PgBouncer. Then rerun.",
            code="own_tls_unusable",
        )
    return chain[0].sha256
