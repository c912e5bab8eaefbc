# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a REST API to its target, or leaves it as it was: see ``deployment/service.py``.

Its steps: switch, patroni.yml, reload, prove; ask other members with the client's certificate.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, Service
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, settings, told
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.restapi import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.restapi import refusals
from ansible_collections.pgops.tls.plugins.module_utils.restapi.look import Look, config_file
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.proof import Node, Prover
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import (
    API,
    CTL_CERTIFICATE,
    CTL_KEY,
    MODES,
    Target,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
    from ansible_collections.pgops.tls.plugins.module_utils.patroni import check
    from ansible_collections.pgops.tls.plugins.module_utils.restapi import (
        members,
        own_client,
        recovery,
        rehearsal,
    )
else:
    exchange = lazy_import("credential.exchange")
    check = lazy_import("patroni.check")
    members = lazy_import("restapi.members")
    own_client = lazy_import("restapi.own_client")
    recovery = lazy_import("restapi.recovery")
    rehearsal = lazy_import("restapi.rehearsal")


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do: ``service.Done``, and what is reported with it."""

    plan: Plan
    found: Found
    changes: Sequence[str]
    requests: Mapping[str, str]
    before: Mapping[str, Certificate]
    after: Mapping[str, Certificate]
    next_run: Sequence[str] | None
    target: Target
    warnings: Sequence[str]


class Transaction(Service[Plan, Found, Outcome]):
    """One Patroni and its target; the locks are held, and this acts as the OS user of the process."""

    subject = "Patroni's REST API: recovery"
    program = "Patroni"
    modes = MODES
    consistent = "The REST API is consistent nevertheless: it shows the certificate that its file holds."

    def __init__(self, target: Target, patroni: Patroni, account: Account, now: int) -> None:
        self.target = target
        self.account = account
        self.patroni = patroni
        self.config = config_file(patroni, account)
        super().__init__(GenerationStore(target.directory, account.owner), now, [self.config])
        self.look = Look(self.store, patroni, account)
        said = self.look.settings(settings.text_of(patroni))
        pair = f"{self.store.current_link}/{CTL_CERTIFICATE}", f"{self.store.current_link}/{CTL_KEY}"
        self.node = Node(patroni, account, api.endpoint(said.restapi.get("listen", "")), pair)
        has_tls = bool(said.restapi.get("certfile"))
        self.answer = api.look(self.node.at, self.node.context(), has_tls=has_tls)
        self.prover = Prover(self.node, self.answer)
        self.tell = self.prover.try_to_signal
        self.trials: Sequence[members.Trial] = ()  # of other members, with the files that are rehearsed

    def _found(self) -> Found:
        text = settings.text_of(self.patroni)
        if not self._is_open():
            return self.look.found(self.store.current(), self.target, text, self.answer)
        previous, originals = self.journal.originals()
        content = originals.get(self.config.path)
        before = text if content is None else content.decode("utf-8", "surrogateescape")
        found = self.look.found(previous, self.target, before, self.answer)
        leaf = told.leaf_at(found.settings.restapi.get("certfile", ""))
        inside = self._leaves(found.generation).get(API)  # the link may still lead to the generation that is undone
        shown = inside if found.settings.restapi.get("certfile") == self._own_file else leaf
        return found._replace(answer=self.answer and self.answer._replace(leaf=shown))

    @property
    def _own_file(self) -> str:
        return self.target.values["restapi"]["certfile"]

    def _leaves(self, generation: Mapping[str, bytes]) -> dict[str, Certificate]:
        return pairs.leaves(self.target.credentials, generation)

    def _plan(self, found: Found) -> Plan:
        return planning.make(self.target, found, self.now)

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:
        if not plan.changes:
            return
        refusals.refuse_tools()
        refusals.refuse_environment(self.target, found)
        refusals.refuse_other_name(self.target, found)
        refusals.refuse_silence(plan, found)
        refusals.refuse_foreign_clients(self.target, found)
        refusals.refuse_foreign_trust(self.target, found)
        if plan.text is not None:
            check.refuse_other_keys(self.patroni, self.account, found.text, plan.text, self._values(plan))
            self.config.refuse_unwritable()
        if check_mode or not self._waiting(plan):  # else it stays as it is, maybe for days
            self.notes += refusals.new_https(plan, found)

    def _values(self, plan: Plan) -> Mapping[str, Mapping[str, str | None]]:  # noqa: ARG002 (a removal has others)
        return self.target.values

    def _waiting(self, plan: Plan) -> list[str]:
        return [name for name, why in plan.reasons.items() if why and name not in self.target.certificates]

    def _request(self, name: str, plan: Plan, found: Found) -> str:
        one = self.target.api if name == API else self.target.ctl
        return pairs.request(one, self._keys(name), plan.reasons[name], found.generation, keeps_key=True)

    def _keys(self, name: str) -> exchange.Keys:
        return exchange.Keys(self.store, name, self.account)

    def _contents(self, plan: Plan, found: Found) -> dict[str, File]:
        contents = dict(plan.contents or {})
        for one in self.target.credentials:
            if plan.reasons[one.name]:
                given, keys = self.target.certificates, self._keys(one.name)
                contents.update(pairs.received(one, given, keys, found.generation, self.now))
        return {name: File(contents[name], mode) for name, mode in MODES.items()}

    def _rehearse(self, generation: str) -> None:
        directory = self.store.path(generation)
        pairs.rehearse(self.target, directory)
        said = self.look.settings(settings.text_of(self.patroni))
        own_client.refuse_unfit(self.target, self.node, said, directory)
        has_tls = self.answer is not None and self.answer.leaf is not None
        others = members.of(self.node.at, self.node.context(), said.name, has_tls=has_tls)
        self.trials = rehearsal.with_members(others, directory, members.files_of(said))
        self.notes += members.warnings(self.trials)

    def _change(self, plan: Plan, found: Found, leaves: Mapping[str, Certificate]) -> None:
        self.journal.switch()
        if plan.text is not None:
            self._write(found.text, plan.text)
        if plan.reloads:
            self.prover.load(leaves[API].sha256)
        self._ask_members()

    def _write(self, before: str, after: str) -> None:
        if settings.text_of(self.patroni) != before:
            raise check.changed_meanwhile(self.patroni)
        self.config.write(before, after, self.journal)

    def _ask_members(self) -> None:
        """Ask those that answered once more, with the files in use now. Raises TlsError."""
        worked = [one.member for one in self.trials if one.verdict == members.ACCEPTED]
        members.refuse(members.trials(worked, members.files_in(self.store.current_link)), {})

    def _keys_in_use(self) -> dict[str, bytes | None]:
        return {one.name: self._read(self.store.current(), one.key) for one in self.target.credentials}

    def _outcome(self, plan: Plan, found: Found, done: Done) -> Outcome:
        return Outcome(plan, found, *done, self.target, self.notes)

    def half(self) -> list[str]:
        """Return what is inconsistent, in words."""
        return recovery.half(self.target, self._found(), is_there=os.path.exists(self.store.current_link))

    def prove_previous(self) -> None:
        """Reload until the REST API shows what it showed when this run began. Raises TlsError."""
        self.prover.previous(self.answer.fingerprint if self.answer else "")

    def settle(self) -> None:
        """Reload until the REST API shows what its file holds, and look again. Raises TlsError."""
        said = self.look.settings(settings.text_of(self.patroni))
        leaf = told.leaf_at(said.restapi.get("certfile", ""))
        self.prover.previous(leaf.sha256 if leaf else "")
        self.answer = self.prover.look()
