# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a server to its target, or leaves it as it was.

lock, recover, inspect, plan, stage, rehearse, switch, reload, prove, rules, prove, commit; any failure restores the
state before, proves that too, and ends with the reason.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, state
from ansible_collections.pgops.tls.plugins.module_utils.server import interference, refusals
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Management, in_steps
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    KEY,
    Found,
    leaf_of,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.generation import files_to_stage, fitting
from ansible_collections.pgops.tls.plugins.module_utils.server.look import Look
from ansible_collections.pgops.tls.plugins.module_utils.server.proof import Prover
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
    from ansible_collections.pgops.tls.plugins.module_utils.server import native_tls, recovery, rehearsal, takeover
else:
    exchange = lazy_import("credential.exchange")
    native_tls = lazy_import("server.native_tls")
    recovery = lazy_import("server.recovery")
    rehearsal = lazy_import("server.rehearsal")
    takeover = lazy_import("server.takeover")

_PENDING = "server"  # the name of the pending key: a cluster has one


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do. ``request`` (PEM) asks for a certificate and a second call.

    ``next_run`` is what the declared state would change again after a roll-back; None after anything else.
    """

    plan: planning.Plan
    changes: list[str]
    request: str | None
    leaf: Certificate | None
    leaf_before: Certificate | None
    ssl_conf_before: str
    state: state.ServerState
    target: Target
    warnings: list[str]
    next_run: Sequence[str] | None = None


class Transaction:
    """One server and its target; the lock is held while it exists."""

    def __init__(self, target: Target, administrator: psql.Administrator, now: int) -> None:
        self.administrator = administrator = administrator.again()  # a restart while this waited for the lock
        self.now = now
        self.store = GenerationStore(target.directory, administrator.account.owner)
        self.state = state.inspect(administrator)
        interference.refuse_foreign_paths(self.state.value("data_directory"), administrator)
        self.texts = Texts(self.state, administrator.account)
        self.look = Look(self.store, self.texts)
        self.target = self.look.trusting(target.for_version(self.state.major))
        self.journal = Journal(self.store, self.texts.rooted)
        self.management = Management(administrator.role, administrator.account.name)
        self.prover = Prover(administrator, self.state)
        self.chain = self.prover.chain()
        self.served = self.chain[0].sha256 if self.chain else ""
        self.has_recovered = False
        self.notes: list[str] = []  # of a damaged journal

    def run(self, *, check_mode: bool) -> Outcome:
        """Recover, plan, and unless ``check_mode`` converge or ask for a certificate. Raises TlsError, OSError."""
        recovered = self._recover(check_mode=check_mode)
        included = f"{self.store.current_link}/{CONF}"
        refusals.refuse_settings(self.target, self.state, included)
        interference.refuse_revocations_that_end(self.target, self.state, included)
        is_open = self._is_open()  # in check mode only
        found = self._found()
        refusals.refuse_managers(found, self.target, self.state, self.texts.named)
        plan = self._plan(found)
        refusals.refuse_useless_lists(plan, found, self.target, self.now)
        refusals.refuse_broken_files(plan, self.state, self.texts, included)
        conf_before = found.generation.get(CONF, b"").decode("utf-8", "replace")
        leaf = leaf_before = leaf_of(found.generation.get(CERTIFICATE))
        refusals.refuse_to_cut_off_sessions(plan, self.target, self.state)
        refusals.refuse_lock_out(plan, found, self.target, self.administrator, self.texts)
        self._rehearse_early(plan, found, check_mode=check_mode)
        warnings = self.notes if is_open else self._warnings(plan)
        tightened = self.look.tightened(check_mode=check_mode)
        request = None
        if not check_mode and not plan.is_empty:
            if plan.reasons and self.target.certificate is None:
                request = self._request(found)
            else:
                leaf = self._apply(plan)
        if not check_mode and request is None:
            self._tidy()
        changes = [*recovered, *tightened, *plan.changes]
        return Outcome(plan, changes, request, leaf, leaf_before, conf_before, self.state, self.target, warnings)

    def _warnings(self, plan: planning.Plan) -> list[str]:
        found = [*self.notes, *interference.warnings(plan, self.target, self.state, self.texts, self.now)]
        if self.chain and self.store.current() is None:
            own = native_tls.NativeTls(self.state, f"{self.store.current_link}/{CONF}")
            found += takeover.warnings(self.chain, self.target, own)
        return found

    def _is_open(self) -> bool:
        """Return whether an interrupted run left a journal by which its changes can be undone."""
        return self.journal.is_open() and not self.journal.damage()

    def _set_aside(self, damage: str, *, check_mode: bool) -> list[str]:
        """Continue without a damaged journal if the server is proven to be consistent. Raises TlsError otherwise."""
        included = f"{self.store.current_link}/{CONF}"
        recovery.refuse_half(damage, self.journal, self._found(), self.state, included)
        aside = "set aside"
        if not check_mode:
            self.prover.check_rules()
            self.prover.previous(self.served)  # after a reload: now the files on disk are in force
            aside = f"set aside as {self.journal.set_aside()}"
            self.has_recovered = True
            self.texts.forget()
            self.store.discard_unused()
            self.state = state.inspect(self.administrator)
        self.notes.append(recovery.without_journal(damage, aside, self.store.directory))
        return ["recovery: the damaged journal of an interrupted run is set aside"]

    def _recover(self, *, check_mode: bool) -> list[str]:
        """Undo what an interrupted run left half done. Returns what it did, in words."""
        damage = self.journal.damage()
        if damage:
            return self._set_aside(damage, check_mode=check_mode)
        if not self.journal.is_open():
            if not check_mode:
                self.store.discard_unused()
                self.journal.clear()
                self.texts.forget()
            return []
        if not check_mode:
            recovery.undo(self.journal, self.administrator)
            self.has_recovered = True
            self.texts.forget()  # what a forged journal leaves out
            leaf = leaf_of(self.look.read(self.store.current(), CERTIFICATE))
            if leaf is not None:
                self.prover.previous(leaf.sha256)
            else:
                self.administrator.reload()
            self.store.discard_unused()
            self.state = state.inspect(self.administrator)
            self.served = self.prover.served()
        return ["recovery: the transaction of an interrupted run is undone"]

    def _found(self) -> Found:
        """Return what there is; in check mode as if what an interrupted run left were undone."""
        if self._is_open():
            return self.look.found_before(self.journal, self.target, self.state, self.served)
        return self.look.found(self.store.current(), self.target, self.state, self.served)

    def _plan(self, found: Found) -> planning.Plan:
        plan = planning.make(self.target, found, self.management, self.now)
        if plan.relies_on_log and not self.prover.observes_log():
            plan = planning.make(self.target, found._replace(observable=False), self.management, self.now)
        refusals.refuse_rules(plan, found, self.target, self.state.major, self.texts)
        return plan

    def _request(self, found: Found) -> str:
        """Return a certificate request for the key that waits for its certificate; create that key if needed."""
        in_use = found.generation.get(KEY)
        request = exchange.with_waiting_key(self._keys(), self.target.key_type, in_use)
        return request or exchange.with_new_key(self._keys(), self.target.key_type)

    def _keys(self) -> exchange.Keys:
        return exchange.Keys(self.store, _PENDING, self.administrator.account)

    def _apply(self, plan: planning.Plan) -> Certificate:
        """Make the changes of a plan; return the leaf that the server shows then. Raises TlsError."""
        staged = self._stage(plan) if plan.contents is not None else None
        chain = self.store.read(staged or self.store.current(), CERTIFICATE) or b""
        leaf = read_pem(chain.decode("ascii", "replace"), CERTIFICATE)[0]
        try:
            self.journal.begin(staged)
            self._switch(plan, staged, leaf.sha256)
            self._write_rules(plan)
            self.journal.commit()
        except Exception as error:
            raise self._rolled_back(error, staged) from error
        return leaf

    def _tidy(self) -> None:
        """Remove what is no longer needed. What cannot be removed now is left to the next run."""
        with contextlib.suppress(OSError):
            self.store.prune()
            key = self.look.read(self.store.current(), KEY)
            if key is not None and files.read(self.store.pending_key(_PENDING)) == key:
                self.store.drop_pending_key(_PENDING)
            self.store.drop_stale_keys(self.now)

    def _stage(self, plan: planning.Plan) -> str:
        """Write the new generation and rehearse with it; nothing live is touched. Raises TlsError."""
        certificate = self._new_certificate() if plan.reasons else None
        key = self._key_of(certificate) if certificate else None
        contents = files_to_stage(plan.contents or {}, self.target, self.store.next_name(), certificate, key)
        staged = self.store.stage(contents, plan.left)
        try:
            self._rehearse(staged)
        except Exception:
            self.store.discard(staged)
            raise
        return staged

    def _rehearse_early(self, plan: planning.Plan, found: Found, *, check_mode: bool) -> None:
        """Find what OpenSSL refuses in the target before a certificate is requested, and in check mode.

        Live files are not rehearsed again; a run that installs rehearses with what it staged. Raises TlsError.
        """
        if plan.reasons and self.target.certificate is None:
            leaf = leaf_of(found.generation.get(CERTIFICATE))
            is_same_kind = leaf is not None and leaf.key_type == self.target.key_type
            if not is_same_kind or found.generation.get(CONF) != self.target.ssl_conf.encode():
                self._rehearse(None)
        elif check_mode and plan.contents is not None and not plan.reasons:
            previous = self.journal.originals()[0] if self._is_open() else self.store.current()
            self._rehearse(previous or "")

    def _rehearse(self, generation: str | None) -> None:
        """Make handshakes with a generation, or (None) with the settings and a throw-away certificate."""
        place = rehearsal.DataDirectory(self.state.value("data_directory"), self.administrator.account)
        if generation is None:
            rehearsal.rehearse_settings(self.target, place)
        else:
            rehearsal.rehearse(self.target, self.store.path(generation), place)

    def _new_certificate(self) -> str:
        """Return the chain issued for the pending key, if it is what was requested. Raises TlsError."""
        chain = read_pem(self.target.certificate or "", "certificate")
        exchange.refuse_another(chain, self.target.spec, "certificate", self.now)
        return chains.pem(fitting(chain, self.target, self.now)).decode("ascii")

    def _key_of(self, chain: str) -> bytes:
        """Return the key of a new certificate: it is pending, or a concurrent run has installed it already."""
        current = self.store.current()
        in_use = leaf_of(self.look.read(current, CERTIFICATE))
        is_in_use = in_use is not None and in_use.public_key == read_pem(chain, "certificate")[0].public_key
        key = self.look.read(current, KEY) if is_in_use else None
        return key or exchange.waiting_key(self._keys(), read_pem(chain, "certificate")[0], "certificate")

    def _switch(self, plan: planning.Plan, staged: str | None, fingerprint: str) -> None:
        if plan.config is not None:
            self.texts.write(plan.config, self.journal)
        self.journal.switch()
        if staged or plan.config or plan.relies_on_log or self.served != fingerprint:
            self.prover.tls(
                fingerprint, self.look.settings(self.store.current(), self.target), is_new=bool(plan.reasons)
            )

    def _write_rules(self, plan: planning.Plan) -> None:
        for rewrite in in_steps(plan.rules, self.state.major):
            self.texts.write(rewrite, self.journal)
        if plan.rules:
            self.prover.check_rules()
            self.prover.rules(plaintext=self.target.plaintext)

    def _rolled_back(self, error: Exception, staged: str | None) -> TlsError:
        """Restore and prove the state before; return the reason of the failure with what came of the roll-back."""
        details = {**error.details, "code": error.code} if isinstance(error, TlsError) else {"code": "system_error"}
        try:
            if self.journal.is_open():
                self.journal.roll_back(discard=False, tell=self.administrator.try_to_signal)
            elif staged is not None:
                self.store.discard(staged)
        except (TlsError, OSError) as second:
            remedy = f"The next run tries again; {self.journal.path} lists what to restore."
            message = f"{error} The previous state could NOT be restored completely: {second} {remedy}"
            return TlsError(message, **{**details, "rolled_back": False})
        try:
            self.prover.previous(self.served)
            self.store.discard_unused()  # not before: the server may have been starting with it
        except (TlsError, OSError) as second:
            message = f"{error} All files are as before, but the server could NOT be proven to use them: {second}"
            return TlsError(message, **{**details, "rolled_back": False})
        return TlsError(f"{error} The previous state is restored and proven.", **{**details, "rolled_back": True})
