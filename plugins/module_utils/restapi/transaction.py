# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings a REST API to its target, or leaves it as it was: see ``deployment/pair_service.py``.

Its steps: switch, patroni.yml, reload, prove; ask other members with the client's certificate.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, find
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome, pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_service import PairService
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, settings, told
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.restapi import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.restapi import refusals
from ansible_collections.pgops.tls.plugins.module_utils.restapi.look import Look, config_file
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.proof import Node, Prover
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, CTL, MODES, Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.patroni import check
    from ansible_collections.pgops.tls.plugins.module_utils.restapi import (
        members,
        own_client,
        recovery,
        rehearsal,
    )
else:
    check = lazy_import("patroni.check")
    members = lazy_import("restapi.members")
    own_client = lazy_import("restapi.own_client")
    recovery = lazy_import("restapi.recovery")
    rehearsal = lazy_import("restapi.rehearsal")

Outcome = pair_outcome.Outcome[Plan, Found, Target]


class Transaction(PairService[Plan, Found, Target]):
    """One Patroni and its target."""

    subject = "Patroni's REST API: recovery"
    program = "Patroni"
    modes = MODES
    consistent = "The REST API is consistent nevertheless: it shows the certificate that its file holds."
    stays = Plan({API: (), CTL: ()}, None, None, (), reloads=False)
    keeps_key = (API, CTL)

    def __init__(self, target: Target, patroni: Patroni, account: Account, now: int) -> None:
        super().__init__(target, account, now, config_file(patroni, account))
        self.patroni = patroni
        self.look = Look(patroni, account)
        said = self._said()
        pair = target.pair.client_files(self.store.current_link)
        at = api.endpoint(said.restapi.get("listen", ""))
        self.node = Node(patroni, account, at, (pair.certificate, pair.key))
        has_tls = bool(said.restapi.get("certfile"))
        self.answer = api.look(self.node.at, self.node.context(), has_tls=has_tls)
        self.prover = Prover(self.node, self.answer)
        self.tell = self.prover.try_to_signal
        self.trials: Sequence[members.Trial] = ()  # of other members, with the files that are rehearsed

    def _text(self) -> str:
        return settings.text_of(self.patroni)

    def _said(self) -> settings.Settings:
        return self.look.settings(self._text())

    def _look(self, kept: pairs.Kept, text: str) -> Found:
        return self.look.found(kept, text, self.answer)

    def _loaded(self, found: Found) -> Found:
        named = found.settings.restapi.get("certfile", "")
        inside = self._leaves(found.generation).get(API)  # the link may lead to another generation
        shown = inside if named == self.target.values["restapi"]["certfile"] else told.leaf_at(named)
        return found._replace(answer=found.answer and found.answer._replace(leaf=shown))

    def _make(self, target: Target, found: Found) -> Plan:
        if target.ends_former_trust and not self._has_every_member_moved():
            target = target._replace(ends_former_trust=False)
        return planning.make(target, found, self.now)

    def _has_every_member_moved(self) -> bool:
        """Ask also those that are not in the inventory, such as one that another team manages."""
        others = members.of(self.node.at, self.node.context(), self._said().name, has_tls=True)
        files = self.target.pair.client_files(self.store.current_link)
        left = rehearsal.left_behind(others, files, self.target.pair.roots)
        self.notes += map(members.not_moved, left)
        return not left and self.answer is not None

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:
        if not plan.changes:
            return
        find("openssl", "to make private keys and certificate requests")
        refusals.refuse_environment(self.target, found)
        refusals.refuse_other_name(self.target, found)
        if plan.reloads:
            refusals.refuse_silence(found)
        refusals.refuse_foreign_clients(self.target, found)
        refusals.refuse_foreign_trust(self.target, found)
        if plan.text is not None:
            check.refuse_other_keys(self.patroni, self.account, found.text, plan.text, self.target.values)
            self.file.refuse_unwritable()
        if check_mode or not self._waiting(plan):  # else it stays as it is, maybe for days
            self.notes += refusals.new_https(plan, found)

    def _rehearse(self, generation: str) -> None:
        super()._rehearse(generation)
        directory, said = self.store.path(generation), self._said()
        own_client.refuse_unfit(self.target, self.node, said, directory)
        has_tls = self.answer is not None and self.answer.has_tls
        others = members.of(self.node.at, self.node.context(), said.name, has_tls=has_tls)
        self.trials = rehearsal.with_members(others, self.target.pair.client_files(directory), members.files_of(said))
        self.notes += members.warnings(self.trials)

    def _change(self, plan: Plan, found: Found, leaves: Mapping[str, Certificate]) -> None:
        self.journal.switch()
        if plan.text is not None:
            self._write(found.text, plan.text)
        if plan.reloads:
            self.prover.load(leaves[API].sha256)
        self._ask_members()

    def _write(self, before: str, after: str) -> None:
        if self._text() != before:
            raise check.changed_meanwhile(self.patroni)
        self.file.write(before, after, self.journal)

    def _ask_members(self) -> None:
        """Ask those that answered once more, with the files in use now. Raises TlsError."""
        worked = [one.member for one in self.trials if one.verdict == members.ACCEPTED]
        members.refuse(members.trials(worked, self.target.pair.client_files(self.store.current_link)), {})

    def half(self) -> list[str]:
        """Return what is inconsistent, in words."""
        return recovery.half(self.target, self._found(), is_there=os.path.exists(self.store.current_link))

    def wait_for_program(self) -> None:
        """Wait until Patroni has acted on the signals of an interrupted run."""
        self.prover.wait_for_earlier_signals()

    def prove_previous(self) -> None:
        """Reload until the REST API shows what it showed when this run began. Raises TlsError."""
        self.prover.previous(self.answer.fingerprint if self.answer else "")

    def settle(self) -> None:
        """Reload until the REST API shows what its file holds, and look again. Raises TlsError."""
        leaf = told.leaf_at(self._said().restapi.get("certfile", ""))
        self.prover.previous(leaf.sha256 if leaf else "")
        self.answer = self.prover.look()
