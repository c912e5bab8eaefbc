# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a PgBouncer to its target, or leaves it as it was.

lock, recover, inspect, plan, stage, rehearse (also the way to PostgreSQL), switch, reload, prove, reconnect, prove,
commit; any failure restores the state before, proves that too, and ends with the reason.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential import upkeep
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, recovery, refusals
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Console
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.look import Look, config_file
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.proof import RECYCLES_ALONE, Prover
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import (
    BACK,
    BACK_CERTIFICATE,
    BACK_KEY,
    CONF,
    FRONT,
    MODES,
    Target,
    installed,
    lacking,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend, exchanging, log, rehearsal
else:
    backend = lazy_import("pgbouncer.backend")
    exchanging = lazy_import("pgbouncer.exchanging")
    log = lazy_import("pgbouncer.log")
    rehearsal = lazy_import("pgbouncer.rehearsal")

Leaves = Mapping[str, Certificate]  # by credential


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do. ``requests`` (PEM, by credential) ask for a second call.

    In check mode they are ''. ``next_run`` is what the declared state would change after a roll-back.
    """

    plan: Plan
    changes: Sequence[str]
    requests: Mapping[str, str]
    before: Leaves
    after: Leaves
    version: tuple[int, int]
    target: Target
    found: Found
    warnings: Sequence[str]
    next_run: Sequence[str] | None = None


class Transaction:
    """One PgBouncer and its target; the lock is held, and this acts as the OS user of the process."""

    def __init__(self, target: Target, console: Console, now: int) -> None:
        place = console.place
        self.target = target
        self.account = place.account
        self.now = now
        self.console = console
        self.version = self.console.version()
        self.config = self.console.config()
        refusals.refuse_process(target, self.config, place)
        self.store = GenerationStore(target.directory, place.account.owner)
        self.main = config_file(target.config_file, place.account)
        self.look = Look(self.store, self.main)
        self.journal = Journal(self.store, self.main.rooted)
        self.prover = Prover(self.console, self.config, self.version, self._pair())
        self.served = self.prover.served()
        self.has_recovered = False
        self.warnings = names.underscored(target.front.spec.names, option("names"))

    def _pair(self) -> tuple[str, str]:
        return f"{self.store.current_link}/{BACK_CERTIFICATE}", f"{self.store.current_link}/{BACK_KEY}"

    def run(self, *, check_mode: bool) -> Outcome:
        """Recover, plan, and unless ``check_mode`` converge or ask for certificates. Raises TlsError, OSError."""
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        plan = planning.make(self.target, found, self.now)
        self._refuse(plan, found)
        before = after = self._leaves(found.generation)
        tightened = upkeep.tightened(self.store, MODES, check_mode=check_mode)
        requests: dict[str, str] = {}
        waiting = lacking(self.target, plan.reasons)
        if plan.changes and waiting:
            requests = {one.name: "" if check_mode else self._request(one.name, plan, found) for one in waiting}
        elif plan.changes and not check_mode:
            self._apply(plan, found)
            after = self._in_use()
        if not check_mode and not requests:
            self._tidy()
        changes = [*recovered, *tightened, *plan.changes]
        return Outcome(plan, changes, requests, before, after, self.version, self.target, found, self.warnings)

    def _found(self) -> Found:
        """Return what there is; in check mode as if what an interrupted run left were undone."""
        text = self.look.text()
        if not self.journal.is_open():
            return self.look.found(self.store.current(), self.target, self.served, self.config, text)
        previous, before = self.look.before(self.journal, text)
        found = self.look.found(previous, self.target, "", self.config, before)
        leaf = self._leaves(found.generation).get(FRONT)
        config = self.config if previous is None else {**self.config, **self.target.values(previous)}
        return found._replace(served=leaf.sha256 if leaf else self.served, config=config)

    def _in_use(self) -> dict[str, Certificate]:
        return self._leaves({name: self.look.read(self.store.current(), name) or b"" for name in MODES})

    def _leaves(self, generation: Mapping[str, bytes]) -> dict[str, Certificate]:
        chains = {name: installed(self.target, generation, name) for name in (FRONT, BACK)}
        return {name: chain[0] for name, chain in chains.items() if chain}

    def _refuse(self, plan: Plan, found: Found) -> None:
        """Raise TlsError for what a reload would not take; nothing is touched."""
        refusals.refuse_settings(self.target, self.config, self.version)
        own = self.look.lines(ini.without_include(found.text))
        self.warnings += refusals.broken_line(own, self.config, is_to_reload=bool(plan.changes))
        generation = self.store.next_name() if plan.contents is not None else found.current or ""
        coming = {self.target.included: self.target.conf(generation).decode()}
        lines = self.look.lines(found.text if plan.text is None else plan.text, coming)
        refusals.refuse_login(self.target, lines)
        refusals.refuse_overridden(self.target, lines, generation)
        if plan.changes:
            rehearsal.refuse_settings(self.target)
            self.prover.refuse_silent()
        if plan.text is not None:
            self.main.refuse_unwritable()

    def _recover(self, *, check_mode: bool) -> list[str]:
        """Undo what an interrupted run left half done. Returns what it did, in words."""
        recovery.refuse_damage(self.journal)
        if not self.journal.is_open():
            if not check_mode:
                self.store.discard_unused()
                self.journal.clear()
                self.main.forget()
            return []
        if not check_mode:
            recovery.undo(self.journal, self.prover)
            self.has_recovered = True
            self.main.forget()
            self.prover.previous(self._shown_before(), self.target.front.spec.names)
            self.store.discard_unused()
            self.config = self.console.config()
            self.prover.config = self.config
            self.served = self.prover.served()
        return ["recovery: the transaction of an interrupted run is undone"]

    def _shown_before(self) -> str:
        """Return the leaf that clients must see with the files on disk."""
        lines = self.look.lines(self.look.text())
        decides = ini.settings(lines).get("client_tls_cert_file")
        if decides is None or decides.file != self.target.included:
            return self.prover.served()  # what is in force is not of this collection
        leaf = self._in_use().get(FRONT)
        return leaf.sha256 if leaf else ""

    def _request(self, name: str, plan: Plan, found: Found) -> str:
        keys = exchanging.keys(self.store, name, self.account)
        return exchanging.request(self.target, keys, plan.reasons[name], found.generation)

    def _apply(self, plan: Plan, found: Found) -> None:
        """Make the changes of a plan. Raises TlsError after putting all back."""
        trials: Sequence[backend.Trial] = ()
        staged = None
        if plan.contents is not None:
            staged, trials = self._stage(plan, found)
        try:
            self.journal.begin(staged)
            self._switch(plan, found, staged or found.current or "", trials)
            self.journal.commit()
        except Exception as error:
            raise self._rolled_back(error, staged) from error

    def _stage(self, plan: Plan, found: Found) -> tuple[str, Sequence[backend.Trial]]:
        """Write the new generation and rehearse with it; nothing live is touched. Raises TlsError."""
        contents = dict(plan.contents or {})
        for one in self.target.credentials:
            if plan.reasons[one.name]:
                keys = exchanging.keys(self.store, one.name, self.account)
                pair = exchanging.received(self.target, one, keys, found.generation, self.now)
                contents[one.certificate], contents[one.key] = pair
        contents[CONF] = self.target.conf(self.store.next_name())
        staged = self.store.stage({name: File(contents[name], MODES[name]) for name in MODES}, plan.left)
        try:
            rehearsal.rehearse(self.target, self.store.path(staged))
            trials = self._try_back(self.store.path(staged), found)
        except Exception:
            self.store.discard(staged)
            raise
        return staged, trials

    def _try_back(self, directory: str, found: Found) -> Sequence[backend.Trial]:
        """Try the ways to PostgreSQL with files that nothing uses yet. Raises TlsError for one that would break."""
        databases = ini.databases(self.look.lines(found.text, {self.target.included: ""}))
        role = self.target.back.spec.common_name or ""
        trials = backend.trials(backend.ways(databases, role), directory, self.account)
        failed = [one.way for one in trials if one.verdict == backend.REFUSED]
        before: dict[Any, str] = {}
        if failed and found.current is not None:
            again = backend.trials(failed, self.store.path(found.current), self.account)
            before = {one.way: one.verdict for one in again}
        backend.refuse(trials, before)
        self.warnings += backend.warnings(trials, before)
        return trials

    def _switch(self, plan: Plan, found: Found, generation: str, trials: Sequence[backend.Trial]) -> None:
        """Let PgBouncer use a generation, and prove both directions. Raises TlsError."""
        known, start = self.prover.servers(), log.position(self.config)
        self.journal.switch()
        if plan.text is not None:
            self.main.write(found.text, plan.text, self.journal)
        leaves = self._in_use()
        wanted, own = self.target.values(generation), self.target.front.spec.names
        self.prover.front(leaves[FRONT].sha256, wanted, own, by_log=plan.relies_on_log)
        if plan.changes_back:
            self._prove_back(trials, leaves[BACK])
            if self.version >= RECYCLES_ALONE:
                self.prover.reconnect(known, start)
        self.prover.back(known, start)

    def _prove_back(self, trials: Sequence[backend.Trial], leaf: Certificate) -> None:
        """Try each way that worked once more, with the files that PgBouncer uses now. Raises TlsError."""
        worked = [one.way for one in trials if one.verdict in (backend.ACCEPTED, backend.ROLE_REFUSED)]
        again = backend.trials(worked, self.store.current_link, self.account)
        backend.refuse(again, {})
        backend.refuse_other_serial(again, leaf.serial)

    def _tidy(self) -> None:
        """Remove what is no longer needed. What cannot be removed now is left to the next run."""
        with contextlib.suppress(OSError):
            self.store.prune()
            for one in self.target.credentials:
                key = self.look.read(self.store.current(), one.key)
                if key is not None and files.read(self.store.pending_key(one.name)) == key:
                    self.store.drop_pending_key(one.name)
            self.store.drop_stale_keys(self.now)

    def _rolled_back(self, error: Exception, staged: str | None) -> TlsError:
        """Restore and prove the state before; return the reason of the failure with what came of the roll-back."""
        details = {**error.details, "code": error.code} if isinstance(error, TlsError) else {"code": "system_error"}
        try:
            if self.journal.is_open():
                self.journal.roll_back(discard=False, tell=self.prover.try_to_reload)
            elif staged is not None:
                self.store.discard(staged)
        except (TlsError, OSError) as second:
            remedy = f"The next run tries again; {self.journal.path} lists what to restore."
            message = f"{error} The previous state could NOT be restored completely: {second} {remedy}"
            return TlsError(message, **{**details, "rolled_back": False})
        try:
            self.prover.previous(self.served, self.target.front.spec.names)
            self.store.discard_unused()  # not before: PgBouncer may have been reading it
        except (TlsError, OSError) as second:
            message = f"{error} All files are as before, but PgBouncer could NOT be proven to use them: {second}"
            return TlsError(message, **{**details, "rolled_back": False})
        return TlsError(f"{error} The previous state is restored and proven.", **{**details, "rolled_back": True})
