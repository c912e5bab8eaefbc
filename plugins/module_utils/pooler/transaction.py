# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a PgBouncer to its target, or leaves it as it was: see ``deployment/pair_service.py``.

It rehearses the way to PostgreSQL, too. Its steps: switch, reload, prove; reconnect, prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome, pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_service import PairService
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, settings
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Console
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.frontend import Frontend
from ansible_collections.pgops.tls.plugins.module_utils.pooler import look, refusals
from ansible_collections.pgops.tls.plugins.module_utils.pooler import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pooler.proof import RECYCLES_ALONE, Prover
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import BACK, CONF, FRONT, MODES, Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend, log
    from ansible_collections.pgops.tls.plugins.module_utils.pooler import recovery, rehearsal
else:
    backend = lazy_import("pgbouncer.backend")
    log = lazy_import("pgbouncer.log")
    recovery = lazy_import("pooler.recovery")
    rehearsal = lazy_import("pooler.rehearsal")

Outcome = pair_outcome.Outcome[Plan, Found, Target]


class Transaction(PairService[Plan, Found, Target]):
    """One PgBouncer and its target."""

    program = "PgBouncer"
    modes = MODES
    consistent = "PgBouncer is consistent nevertheless: it shows the certificate on disk and would load its files."
    stays = Plan({FRONT: (), BACK: ()}, None, None, (), changes_back=False, relies_on_log=False)
    keeps_key = (BACK,)  # whose files PgBouncer opens for each connection to PostgreSQL, those of the front at once

    def __init__(self, target: Target, console: Console, now: int) -> None:
        place = console.place
        self.console = console
        self.version = console.version()
        self.config = console.config()
        self.directory = console.directory()
        refusals.refuse_process(target, self.config, place)
        super().__init__(target, place.account, now, look.config_file(target.config_file, place.account))
        pair = target.pair.client_files(self.store.current_link)
        self.frontend = Frontend(self.config, place.port, (pair.certificate, pair.key))
        self.prover = Prover(console, self.config, self.frontend)
        self.served = self.frontend.served()
        self.tell = console.try_to_reload
        self.trials: Sequence[backend.Trial] = ()  # of the ways to PostgreSQL, with the files that are rehearsed
        self.notes += names.underscored(target.pair.server.spec.names, option("names"))

    def _text(self) -> str:
        return look.text(self.file)

    def _lines(self, text: str, coming: Mapping[str, str] | None = None) -> list[ini.Line]:
        return look.lines(self.file, text, self.directory, coming)

    def _look(self, kept: pairs.Kept, text: str) -> Found:
        own = self._lines(ini.without_include(text))
        return Found(kept, text, own, self.served, self.config, look.has_log(self.config), self.version)

    def _loaded(self, found: Found) -> Found:
        leaf, current = self._leaves(found.generation).get(FRONT), found.kept.current
        config = found.config if current is None else {**found.config, **self.target.values(current)}
        return found._replace(served=leaf.sha256 if leaf else found.served, config=config)

    def _make(self, target: Target, found: Found) -> Plan:
        return planning.make(target, found, self.now)

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:  # noqa: ARG002
        settings.refuse_unknown(self.target.values("0"), self.config, self.version)
        self.notes += refusals.broken_line(found.own, self.config, self.version, is_to_reload=bool(plan.changes))
        generation = self.store.next_name() if plan.contents is not None else found.kept.current or ""
        coming = {self.target.included: self.target.conf(generation).decode()}
        lines = self._lines(found.text if plan.text is None else plan.text, coming)
        refusals.refuse_login(self.target, lines)
        refusals.refuse_overridden(self.target, lines, generation)
        if plan.changes:
            settings.refuse_values(self.target.settings, self.account)
            self.prover.refuse_silent()
            refusals.refuse_lock_out(self.target, found.config, self.console, self.now)
        if plan.text is not None:
            self.file.refuse_unwritable()

    def _contents(self, plan: Plan, found: Found) -> dict[str, File]:
        conf = File(self.target.conf(self.store.next_name()), MODES[CONF])
        return {**super()._contents(plan, found), CONF: conf}

    def _rehearse(self, generation: str) -> None:
        super()._rehearse(generation)
        databases = ini.databases(self._lines(self._text(), {self.target.included: ""}))
        ways = backend.ways(databases, self.target.pair.client.spec.common_name or "")
        current, files_in = self.store.current(), self.target.pair.client_files
        before = None if current is None else files_in(self.store.path(current))
        tried = rehearsal.of_ways(ways, files_in(self.store.path(generation)), before, self.account)
        self.trials, warnings = tried
        self.notes += warnings

    def _change(self, plan: Plan, found: Found, leaves: Mapping[str, Certificate]) -> None:
        known, start = self.console.servers(), log.position(self.config)
        self.journal.switch()
        if plan.text is not None:
            self.file.write(found.text, plan.text, self.journal)
        wanted, own = self.target.values(self.store.current() or ""), self.target.pair.server.spec.names
        self.prover.front(leaves[FRONT].sha256, wanted, own, by_log=plan.relies_on_log)
        if plan.changes_back:
            in_use = self.target.pair.client_files(self.store.current_link)
            rehearsal.prove(self.trials, in_use, self.account, leaves[BACK].serial)
            if self.version >= RECYCLES_ALONE:
                self.prover.reconnect(known, start)
        self.prover.back(known, start)

    def half(self) -> list[str]:
        """Return what is inconsistent, in words."""
        found = self._found()
        return recovery.half(self.target, found, self._lines(found.text))

    def prove_previous(self) -> None:
        """Reload until clients see what they saw when this run began. Raises TlsError."""
        self.prover.previous(self.served, self.target.pair.server.spec.names)

    def settle(self) -> None:
        """Reload until clients see what the files on disk say, and inspect PgBouncer again. Raises TlsError."""
        decides = ini.settings(self._lines(self._text())).get("client_tls_cert_file")
        leaf = self._leaves_of(self.store.current()).get(FRONT)
        shown = leaf.sha256 if leaf else ""
        if decides is None or decides.file != self.target.included:
            shown = self.frontend.served()  # what is in force is not of this collection
        self.prover.previous(shown, self.target.pair.server.spec.names)
        self.config = self.prover.config = self.console.config()
        self.served = self.frontend.served()
