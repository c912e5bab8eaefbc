# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a server to its target, or leaves it as it was: see ``deployment/service.py``.

Its steps: switch, reload, prove; rules, reload, prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, Service
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, state
from ansible_collections.pgops.tls.plugins.module_utils.server import interference, refusals
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Management, in_steps
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    KEY,
    MODES,
    Found,
    Offered,
    chain_of,
    leaf_of,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.generation import files_to_stage
from ansible_collections.pgops.tls.plugins.module_utils.server.look import Look
from ansible_collections.pgops.tls.plugins.module_utils.server.proof import Prover
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import texts_of
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
    from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
    from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange
    from ansible_collections.pgops.tls.plugins.module_utils.server import (
        existing,
        native_tls,
        recovery,
        rehearsal,
        takeover,
    )
else:
    existing = lazy_import("server.existing")
    exchange = lazy_import("credential.exchange")
    key_exchange = lazy_import("postgres.key_exchange")
    native_tls = lazy_import("server.native_tls")
    recovery = lazy_import("server.recovery")
    rehearsal = lazy_import("server.rehearsal")
    takeover = lazy_import("server.takeover")

_PENDING = "server"  # the name of the pending key: a cluster has one


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do. ``request`` (PEM) asks for a certificate and a second call.

    ``next_run`` is what the declared state would change again after a roll-back; None after anything else.
    ``patroni`` is the process that runs the server, if it is one of Patroni. ``late`` is the error for a certificate
    that others should have renewed by now.
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
    patroni: Patroni | None = None
    late: TlsError | None = None


class Transaction(Service[planning.Plan, Found, Outcome]):
    """One server and its target; the lock is held while it exists."""

    modes = MODES
    consistent = "The server is consistent nevertheless: it shows the certificate on disk and accepts its files."

    def __init__(self, target: Target, administrator: psql.Administrator, now: int) -> None:
        self.administrator = administrator = administrator.again()  # a restart while this waited for the lock
        self.state = state.inspect(administrator)
        interference.refuse_foreign_paths(self.state.value("data_directory"), administrator)
        self.texts = texts_of(self.state, administrator.account)
        super().__init__(GenerationStore(target.directory, administrator.account.owner), now, self.texts.files())
        self.look = Look(self.store, self.texts)
        self.included = f"{self.store.current_link}/{CONF}"
        own = target.for_server(
            self.state.major,
            lambda: key_exchange.objection(administrator.pid, administrator.account, self.state.value("ssl_groups")),
        )
        self.target = self.look.trusting(own)
        self.management = Management(administrator.role, administrator.account.name)
        self.prover = Prover(administrator, self.state)
        self.chain = self.prover.chain()
        self.served = self.chain[0].sha256 if self.chain else ""
        self.tell = lambda: self.texts.tell(self.journal, administrator)  # what a roll-back put back

    def _found(self) -> Found:
        return self._look()._replace(offered=self._offered(self.target))

    def _look(self) -> Found:
        if self._is_open():
            return self.look.found_before(*self.journal.originals(), self.target, self.state, self.served)
        return self.look.found(self.store.current(), self.target, self.state, self.served)

    def _offered(self, target: Target) -> Offered | None:
        return existing.look(target.existing, self.administrator.account) if target.existing else None

    def _read(self, generation: str | None, name: str) -> bytes | None:
        return self.look.read(generation, name)

    def _leaves(self, generation: Mapping[str, bytes]) -> dict[str, Certificate]:
        leaf = leaf_of(generation.get(CERTIFICATE))
        return {_PENDING: leaf} if leaf else {}

    def _specs(self) -> dict[str, Spec]:
        return {} if self.target.existing else {_PENDING: self.target.spec}

    def _later(self) -> list[str]:
        return [_PENDING] if self.target.comes_later else []

    def _renew(self, names: Collection[str]) -> None:
        self.target = self.target._replace(renew=self.target.renew or bool(names))

    def _plan(self, found: Found) -> planning.Plan:
        plan = planning.make(self.target, found, self.management, self.now)
        if plan.relies_on_log and not self.prover.observes_log():
            plan = planning.make(self.target, found._replace(observable=False), self.management, self.now)
        return plan

    def _refuse(self, plan: planning.Plan, found: Found, *, check_mode: bool) -> None:
        refusals.refuse_settings(self.target, self.state, self.included)
        self._refuse_existing(found)
        interference.refuse_revocations_that_end(self.target, self.state, self.included)
        refusals.refuse_managers(found, self.target, self.state, self.texts)
        if plan.reasons:
            self._refuse_names(found)
        refusals.refuse_rules(plan, found, self.target, self.state, self.texts)
        refusals.refuse_useless_lists(plan, found, self.target, self.now)
        refusals.refuse_broken_files(plan, self.state, self.texts, self.included)
        refusals.refuse_to_cut_off_sessions(plan, self.target, self.state)
        refusals.refuse_shared_trust(plan, found, self.target, self.administrator, self.texts)
        refusals.refuse_lock_out(plan, found, self.target, self.administrator, self.texts)
        self._rehearse_early(plan, found, check_mode=check_mode)
        self.notes += self._warnings(plan, found.offered)

    def _refuse_existing(self, found: Found) -> None:
        """Refuse files of others that the server, or its clients, could not use. Raises TlsError."""
        if found.offered is not None:
            coming = native_tls.coming(self.target, self.state)
            existing.refuse_passphrase(found.offered, self.target, coming, self.state)
            existing.refuse_unfit(found.offered, self.target, self._place(), self.now)

    def _refuse_names(self, found: Found) -> None:
        """Refuse a new certificate that lacks a name which those who use the server need. Raises TlsError."""
        came = found.offered.chain[0] if found.offered else leaf_of((self.target.certificate or "").encode())
        coming = self.target.spec.names_to_come(came)
        if coming is not None:
            served = self.chain[0].names if self.chain else ()
            self.texts.refuse_names(coming, None if self.store.current() is None else served)

    def _place(self) -> rehearsal.DataDirectory:
        return native_tls.place(self.target, self.state, self.administrator.account)

    def _warnings(self, plan: planning.Plan, offered: Offered | None = None) -> list[str]:
        if self._is_open():  # in check mode only: what is in force is not what will be judged
            return []
        found = interference.warnings(plan, self.target, self.state, self.texts, self.now)
        if self.chain and self.store.current() is None:
            coming = offered.chain[0].names if offered else self.target.names
            own = native_tls.NativeTls(self.state, self.included)
            found += takeover.warnings(self.chain, self.target, own, coming)
        return found

    def _waiting(self, plan: planning.Plan) -> list[str]:
        return [_PENDING] if plan.reasons and not (self.target.certificate or self.target.existing) else []

    def _request(self, _name: str, _plan: planning.Plan, found: Found) -> str:
        keys, in_use = self._keys(), found.generation.get(KEY)
        request = exchange.with_waiting_key(keys, self.target.spec, in_use)
        return request or exchange.with_new_key(keys, self.target.spec)

    def _keys(self) -> exchange.Keys:
        return exchange.Keys(self.store, _PENDING, self.administrator.account)

    def _keys_in_use(self) -> dict[str, bytes | None]:
        return {_PENDING: self.look.read(self.store.current(), KEY)}

    def _contents(self, plan: planning.Plan, found: Found) -> dict[str, File]:
        certificate = key = None
        if plan.reasons and found.offered:
            certificate = chains.pem(self.target.offer.fitting(found.offered.chain, self.now)).decode("ascii")
            key = found.offered.key
        elif plan.reasons:
            chain = read_pem(self.target.certificate or "", "certificate")
            exchange.refuse_another(chain, self.target.spec, "certificate", self.now)
            in_use = chain_of(found.generation.get(CERTIFICATE))
            key = exchange.key_for(self._keys(), chain[0], in_use, found.generation.get(KEY), "certificate")
            certificate = chains.pem(self.target.offer.fitting(chain, self.now)).decode("ascii")
        return files_to_stage(plan.contents or {}, self.target, self.store.next_name(), certificate, key)

    def _rehearse_early(self, plan: planning.Plan, found: Found, *, check_mode: bool) -> None:
        """Find what OpenSSL refuses in the target before a certificate is requested, and in check mode.

        Live files are not rehearsed again; a run that installs rehearses with what it staged. Raises TlsError.
        """
        if self._waiting(plan):
            leaf = leaf_of(found.generation.get(CERTIFICATE))
            is_same_kind = leaf is not None and leaf.key_type == self.target.key_type
            if not is_same_kind or found.generation.get(CONF) != self.target.ssl_conf.encode():
                self._rehearse(None)
        elif check_mode and plan.contents is not None and not plan.reasons:
            previous = self.journal.originals()[0] if self._is_open() else self.store.current()
            self._rehearse(previous or "")

    def _rehearse(self, generation: str | None) -> None:
        """Make handshakes with a generation, or (None) with the settings and a throw-away certificate."""
        if generation is None:
            rehearsal.rehearse_settings(self.target, self._place())
        else:
            rehearsal.rehearse(self.target, self.store.path(generation), self._place())

    def _change(self, plan: planning.Plan, _found: Found, leaves: Mapping[str, Certificate]) -> None:
        if plan.config is not None:
            self.texts.write(plan.config, self.journal)
        self.journal.switch()
        fingerprint = leaves[_PENDING].sha256
        if plan.contents or plan.config or plan.relies_on_log or self.served != fingerprint:
            wanted = self.look.settings(self.store.current(), self.target)
            # What others renew may be shown before it is in a generation
            self.prover.tls(fingerprint, wanted, is_new=bool(plan.reasons) and self.served != fingerprint)
        self._write_rules(plan)

    def _write_rules(self, plan: planning.Plan) -> None:
        if plan.rules:
            self.texts.write_rules(in_steps(plan.rules, self.state.major), self.journal)
            self.prover.check_rules()
            self.prover.rules(plaintext=self.target.plaintext)

    def _outcome(self, plan: planning.Plan, found: Found, done: Done) -> Outcome:
        target = self.target
        if found.offered:  # for the difference: it has come already
            target = target._replace(certificate=found.offered.chain[0].pem)
        return Outcome(
            plan=plan,
            changes=done.changes,
            request=done.requests.get(_PENDING) or None,
            leaf=done.after.get(_PENDING),
            leaf_before=done.before.get(_PENDING),
            ssl_conf_before=found.generation.get(CONF, b"").decode("utf-8", "replace"),
            state=self.state,
            target=target,
            warnings=self.notes,
            next_run=done.next_run,
            patroni=self.texts.patroni,
            late=existing.late(found.offered.chain[0], self.target, self.now) if found.offered else None,
        )

    def half(self) -> list[str]:
        """Return what is inconsistent, in words."""
        return list(recovery.half(self._look(), self.state, self.included))

    def prove_previous(self) -> None:
        """Reload until the server shows the leaf that it showed when this run began. Raises TlsError."""
        self.prover.previous(self.served)
        self.texts.prove_previous()

    def untold(self) -> str:
        """Return why Patroni was not told what was put back."""
        return self.texts.untold.message if self.texts.untold else ""

    def settle(self) -> None:
        """Reload until the server shows the leaf on disk, and inspect it again. Raises TlsError."""
        leaf = self._leaves_of(self.store.current()).get(_PENDING)
        if leaf is not None:
            self.prover.previous(leaf.sha256)
        else:
            self.administrator.reload()
        self.state = state.inspect(self.administrator)
        self.served = self.prover.served()
