# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a PgBouncer to its target, or leaves it as it was: see ``deployment/service.py``.

It rehearses the way to PostgreSQL, too. Its steps: switch, reload, prove; reconnect, prove.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, Service
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, settings
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Console
from ansible_collections.pgops.tls.plugins.module_utils.pooler import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.pooler import refusals
from ansible_collections.pgops.tls.plugins.module_utils.pooler.look import Look, config_file
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pooler.proof import RECYCLES_ALONE, Prover
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import (
    BACK,
    BACK_CERTIFICATE,
    BACK_KEY,
    CONF,
    FRONT,
    MODES,
    ROOTS,
    Target,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
    from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend, log
    from ansible_collections.pgops.tls.plugins.module_utils.pooler import recovery
else:
    exchange = lazy_import("credential.exchange")
    backend = lazy_import("pgbouncer.backend")
    log = lazy_import("pgbouncer.log")
    recovery = lazy_import("pooler.recovery")


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do: ``service.Done``, and what is reported with it."""

    plan: Plan
    found: Found
    changes: Sequence[str]
    requests: Mapping[str, str]
    before: Mapping[str, Certificate]
    after: Mapping[str, Certificate]
    next_run: Sequence[str] | None
    version: tuple[int, int]
    target: Target
    warnings: Sequence[str]


class Transaction(Service[Plan, Found, Outcome]):
    """One PgBouncer and its target; the lock is held, and this acts as the OS user of the process."""

    program = "PgBouncer"
    modes = MODES
    consistent = "PgBouncer is consistent nevertheless: it shows the certificate on disk and would load its files."

    def __init__(self, target: Target, console: Console, now: int) -> None:
        place = console.place
        self.target = target
        self.account = place.account
        self.console = console
        self.version = console.version()
        self.config = console.config()
        refusals.refuse_process(target, self.config, place)
        self.main = config_file(target.config_file, place.account)
        super().__init__(GenerationStore(target.directory, place.account.owner), now, [self.main])
        self.look = Look(self.store, self.main)
        pair = f"{self.store.current_link}/{BACK_CERTIFICATE}", f"{self.store.current_link}/{BACK_KEY}"
        self.prover = Prover(console, self.config, self.version, pair)
        self.served = self.prover.frontend.served()
        self.tell = self.prover.try_to_reload
        self.trials: Sequence[backend.Trial] = ()  # of the ways to PostgreSQL, with the files that are rehearsed
        self.notes += names.underscored(target.front.spec.names, option("names"))

    def _found(self) -> Found:
        text = self.look.text()
        if not self._is_open():
            return self.look.found(self.store.current(), self.target, self.served, self.config, text)
        previous, originals = self.journal.originals()
        content = originals.get(self.main.path)
        before = text if content is None else content.decode("utf-8", "surrogateescape")
        found = self.look.found(previous, self.target, "", self.config, before)
        leaf = self._leaves(found.generation).get(FRONT)
        config = self.config if previous is None else {**self.config, **self.target.values(previous)}
        return found._replace(served=leaf.sha256 if leaf else self.served, config=config)

    def _leaves(self, generation: Mapping[str, bytes]) -> dict[str, Certificate]:
        return pairs.leaves(self.target.credentials, generation)

    def _plan(self, found: Found) -> Plan:
        return planning.make(self.target, found, self.now)

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:  # noqa: ARG002
        settings.refuse_unknown(self.target.values("0"), self.config, self.version)
        own = self.look.lines(ini.without_include(found.text))
        self.notes += refusals.broken_line(own, self.config, is_to_reload=bool(plan.changes))
        generation = self.store.next_name() if plan.contents is not None else found.current or ""
        coming = {self.target.included: self.target.conf(generation).decode()}
        lines = self.look.lines(found.text if plan.text is None else plan.text, coming)
        refusals.refuse_login(self.target, lines)
        refusals.refuse_overridden(self.target, lines, generation)
        if plan.changes:
            settings.refuse_values(self.target.settings, self.account)
            self.prover.refuse_silent()
        if plan.text is not None:
            self.main.refuse_unwritable()

    def _waiting(self, plan: Plan) -> list[str]:
        return [name for name, why in plan.reasons.items() if why and name not in self.target.certificates]

    def _request(self, name: str, plan: Plan, found: Found) -> str:
        # PgBouncer opens the files of the back for each connection to PostgreSQL, those of the front at once
        one = self.target.back if name == BACK else self.target.front
        keys, why = self._keys(name), plan.reasons[name]
        return pairs.request(one, keys, why, found.generation, keeps_key=name == BACK)

    def _keys(self, name: str) -> exchange.Keys:
        return exchange.Keys(self.store, name, self.account)

    def _contents(self, plan: Plan, found: Found) -> dict[str, File]:
        contents = dict(plan.contents or {})
        for one in self.target.credentials:
            if plan.reasons[one.name]:
                given, keys = self.target.certificates, self._keys(one.name)
                contents.update(pairs.received(one, given, keys, found.generation, self.now))
        contents[CONF] = self.target.conf(self.store.next_name())
        return {name: File(contents[name], mode) for name, mode in MODES.items()}

    def _rehearse(self, generation: str) -> None:
        pairs.rehearse(self.target, self.store.path(generation))
        databases = ini.databases(self.look.lines(self.look.text(), {self.target.included: ""}))
        ways = backend.ways(databases, self.target.back.spec.common_name or "")
        current = self.store.current()
        before = None if current is None else back_files(self.store.path(current))
        self.trials, warnings = backend.rehearsed(ways, back_files(self.store.path(generation)), before, self.account)
        self.notes += warnings

    def _change(self, plan: Plan, found: Found, leaves: Mapping[str, Certificate]) -> None:
        known, start = self.prover.servers(), log.position(self.config)
        self.journal.switch()
        if plan.text is not None:
            self.main.write(found.text, plan.text, self.journal)
        wanted, own = self.target.values(self.store.current() or ""), self.target.front.spec.names
        self.prover.front(leaves[FRONT].sha256, wanted, own, by_log=plan.relies_on_log)
        if plan.changes_back:
            backend.prove(self.trials, back_files(self.store.current_link), self.account, leaves[BACK].serial)
            if self.version >= RECYCLES_ALONE:
                self.prover.reconnect(known, start)
        self.prover.back(known, start)

    def _keys_in_use(self) -> dict[str, bytes | None]:
        return {one.name: self._read(self.store.current(), one.key) for one in self.target.credentials}

    def _outcome(self, plan: Plan, found: Found, done: Done) -> Outcome:
        return Outcome(plan, found, *done, self.version, self.target, self.notes)

    def half(self) -> list[str]:
        """Return what is inconsistent, in words."""
        found = self._found()
        return recovery.half(self.target, found, self.look.lines(found.text))

    def prove_previous(self) -> None:
        """Reload until clients see what they saw when this run began. Raises TlsError."""
        self.prover.previous(self.served, self.target.front.spec.names)

    def settle(self) -> None:
        """Reload until clients see what the files on disk say, and inspect PgBouncer again. Raises TlsError."""
        decides = ini.settings(self.look.lines(self.look.text())).get("client_tls_cert_file")
        leaf = self._leaves_of(self.store.current()).get(FRONT)
        shown = leaf.sha256 if leaf else ""
        if decides is None or decides.file != self.target.included:
            shown = self.prover.frontend.served()  # what is in force is not of this collection
        self.prover.previous(shown, self.target.front.spec.names)
        self.config = self.prover.config = self.console.config()
        self.served = self.prover.frontend.served()


def back_files(directory: str) -> backend.Files:
    """Return the paths of the back's files in a directory."""
    return backend.Files(*(os.path.join(directory, name) for name in (BACK_CERTIFICATE, BACK_KEY, ROOTS)))
