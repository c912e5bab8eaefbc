# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back: a transaction whose target is the generation before the one in use, of one OS user.

As on servers (deployment/roll_back.py): its files become a new generation, which is rehearsed and switched to like any
other. A mark in it makes the next roll-back do nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import keystore, login, revoked, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, TRUST, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.outcome import UserOutcome
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.client.transaction import Transaction
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.deployment import roll_back
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rollback_checks
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import after_change, managed
else:
    after_change = lazy_import("client.after_change")
    managed = lazy_import("client.managed")

_STAYS = planning.Plan({}, [], generation=False, links={}, service=None, directories=[], changes=[])


class RollBack(Transaction):
    """The identities of one OS user that are rolled back. The declared state serves for the rehearsal."""

    finds_what_is_due = False

    def __init__(self, user: Account, identities: Sequence[Identity], target: Target, now: int) -> None:
        super().__init__(user, identities, target, now)
        self.declared = target
        self.names = [one.name for one in self.certified]

    def refuse_unfit(self) -> None:
        """Raise TlsError for foreseeable failures, before any OS user of the host is rolled back."""
        self.home.refuse_unfit()
        self._way_back()

    def _converge(self, *, check_mode: bool) -> UserOutcome:
        found, coming, plan = self._way_back()
        endpoints = managed.look(self.identities, self.target, found, self.now) if self.target.trust else []
        foreseen = after_change.foreseen(plan.hooks) if plan.hooks else []
        recovered = self._recover(check_mode=check_mode)
        if not check_mode:
            if plan.changes:
                self._apply(coming, plan)
            self._tidy()
        changes = [*recovered, *plan.changes]
        changes += foreseen if check_mode else []
        outcome = UserOutcome(
            plan, bool(changes), changes, [], user_files.leaves(found), user_files.leaves(coming), found
        )
        generation = self.store.current()
        hooks = () if check_mode else plan.hooks
        outcome = outcome._replace(next_run=self._next_run(coming), hooks=hooks, generation=generation)
        return outcome._replace(endpoints=endpoints)

    def _way_back(self) -> tuple[HomeFiles, HomeFiles, planning.Plan]:
        """Return what is in use, what will be, and the plan that leads there. Raises TlsError.

        What an interrupted run left counts as undone.
        """
        store, (in_use, is_back) = self.store, roll_back.start(self)
        found = self.home.found_with(in_use, self.names)
        revoked.refuse_to_forget(self.certified, found, self.target, self.now)
        if is_back:
            return found, found, _STAYS
        name = roll_back.before(
            self,
            in_use,
            f"OS user {self.user.name!r} cannot be rolled back",
            "To roll back other OS users, leave out the identities of this one.",
        )
        with rollback_checks.explained(name, store.generations):
            coming = self.home.found_with(name, self.names)._replace(faults={}, directories={})
            coming = self._with_keystores(keystore.with_passwords(coming, found))
            self._refuse_unusable(coming, name)
            coming = coming._replace(contents={**coming.contents, **self._chains(coming)})
            changes = self._in_words(found, coming, f"{in_use}", name)
        self.target = self.declared._replace(roots=read_pem(_trust(coming), TRUST), trust=self._outside(coming))
        coming = coming._replace(contents=self._contents(coming))
        plan = _STAYS._replace(generation=True, changes=changes, left=f"{in_use}")
        return found, coming, plan._replace(hooks=self._hooks(found, plan, coming.contents))

    def _refuse_unusable(self, coming: HomeFiles, name: str) -> None:
        """Raise TlsError for a generation with which an identity could not log in, or would not trust a server."""
        rollback_checks.refuse_lost_trust(_trust(coming), self.declared.roots, TRUST, self.now)
        for one in self.certified:
            credential = user_files.installed(coming, one.name)
            if credential is None:
                raise TlsError(
                    f"{one.name}: {one.id} has no usable key and certificate in it.",
                    code="generation_file_missing",
                )
            rollback_checks.refuse_dates(credential.leaf, f"{one.name}/{CERTIFICATE}", self.now)
            revoked = self.target.issuer(one).revoked
            rollback_checks.refuse_revoked(credential.leaf, f"{one.name}/{CERTIFICATE}", revoked)
            login.rehearse_of(one, self.home.store.path(name), self.target)

    def _outside(self, coming: HomeFiles) -> dict[str, Sequence[Certificate]]:
        """Return the roots for servers outside the inventory to restore, the declared ones where there were none."""
        names = {one.id: f"{one.name}/{TRUST}" for one in self.identities if one.is_managed}
        declared = self.declared.trust
        return {id_: read_chain(coming.contents.get(path), TRUST) or declared[id_] for id_, path in names.items()}

    def _chains(self, coming: HomeFiles) -> dict[str, bytes]:
        """Return the chains to restore, without authorities that may no longer be trusted."""
        credentials = {one: user_files.installed(coming, one.name) for one in self.identities}
        return {
            f"{one.name}/{CERTIFICATE}": planning.fitted(credential, one, self.declared, self.now).chain
            for one, credential in credentials.items()
            if credential
        }

    def _contents(self, coming: HomeFiles) -> dict[str, bytes]:
        """Return what will be staged; identities that are no longer declared are not restored."""
        credentials = {one: user_files.installed(coming, one.name) for one in self.certified}
        usable = {one: credential for one, credential in credentials.items() if credential}
        files = user_files.contents(usable, self.target, coming, self.identities)
        return {path: file.content for path, file in files.items()}

    def _in_words(self, found: HomeFiles, coming: HomeFiles, in_use: str, name: str) -> list[str]:
        """Return what changes. Raises TlsError when nothing does."""
        old, new = user_files.leaves(found), user_files.leaves(coming)
        changes = []
        for one in self.certified:
            paths = [os.path.join(one.name, file) for file in (CERTIFICATE, KEY)]
            if any(found.contents.get(path) != coming.contents.get(path) for path in paths):
                before = f"{old[one.name].serial:x}" if one.name in old else "none"
                changes.append(f"{one.id}: certificate with serial {before} -> {new[one.name].serial:x}")
        if found.contents.get(TRUST) != coming.contents[TRUST]:
            trusted = [repr(root.common_name) for root in read_pem(_trust(coming), TRUST)]
            changes.append(f"{self.user.name}: {TRUST} holds {', '.join(trusted)}")
        changes += managed.in_words(self.identities, found, coming.contents) if self.declared.trust else []
        roll_back.refuse_same(changes, in_use)
        return [f"{self.user.name}: from generation {in_use} back to the files of {name}", *changes]

    def _next_run(self, coming: HomeFiles) -> list[str]:
        """Return what the declared state will change after the roll-back, in words."""
        declared = self.declared._replace(renew=False, new_keys=False, certificates={})
        declared = declared._replace(wished=self._ids_of_wished(coming))
        needed = {one.name: planning.reasons(one, coming, declared, self.now) for one in self.certified}
        needs = planning.Needs(needed, [])
        return planning.make(self.identities, needs, coming, declared, self._layout(coming.service)).changes


def _trust(found: HomeFiles) -> str:
    if TRUST not in found.contents:
        raise TlsError(
            f"{TRUST}: expected in it, and readable for its OS user; found none.", code="generation_file_missing"
        )
    return found.contents[TRUST].decode("ascii", "replace")
