# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings the files of one OS user to their target, or leaves them as they were.

lock, recover, inspect, plan, stage, rehearse, switch, links, service file, commit; any failure restores the state
before. Everything is done with the effective ids of that user.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import holding, login, requests, service_file, warnings
from ansible_collections.pgops.tls.plugins.module_utils.client import home as places
from ansible_collections.pgops.tls.plugins.module_utils.client import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.client.default_files import give_back, refuse_servers_outside
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, LISTS, Home, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity, default_holders
from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Credential, Layout, Plan
from ansible_collections.pgops.tls.plugins.module_utils.client.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    revocations = lazy_import("x509.revocations")


class UserOutcome(NamedTuple):
    """What was done for one OS user or, in check mode, would be.

    ``before`` and ``after`` are the leaves by identity; ``changes`` is everything in words, ``changed`` whether there
    was (or would be) something to write. ``next_run`` is what the declared state would change again after a roll-back.
    """

    plan: Plan
    changed: bool
    changes: list[str]
    requests: list[Request]
    before: dict[str, Certificate]
    after: dict[str, Certificate]
    found: HomeFiles
    next_run: Sequence[str] = ()


class Transaction:
    """The identities of one OS user and their target."""

    def __init__(self, user: Account, identities: Sequence[Identity], target: Target, now: int) -> None:
        self.user = user
        self.target = target
        self._set_identities(identities, [])
        self.now = now
        self.home = Home(user)
        self.journal = Journal(self.home.store)
        self.notes: list[str] = []  # of a damaged journal, and of identities that are held

    def _set_identities(self, identities: Sequence[Identity], held: Sequence[Identity]) -> None:
        """Converge these identities. Those that are ``held`` wait for their servers, as they are."""
        as_held = {one.name: one for one in held}
        self.held = frozenset(as_held)
        self.identities = [as_held.get(one.name, one) for one in identities]
        self.certified = [one for one in self.identities if one.has_certificate]
        self.default = default_holders(self.identities)[self.user.name]

    def refuse_unfit(self) -> None:
        """Raise TlsError for foreseeable failures, before anything is changed."""
        self.home.refuse_unfit(has_lists=bool(self.target.crls))
        self._hold()
        refuse_servers_outside(self.home, self.identities, self.target.known_servers)
        self._layout(files.read(self.home.service_file))
        self._refuse_other_authorities()

    def _hold(self) -> None:
        """Leave identities as they are whose servers do not follow in this run."""
        with contextlib.suppress(TlsError, OSError):  # the run for this OS user reports it
            found = self.home.found([one.name for one in self.identities])
            held = holding.held(self.identities, found, self.target, self.now)
            self.notes += map(holding.in_words, held)
            self._set_identities(self.identities, held)

    def _refuse_other_authorities(self) -> None:
        """Raise TlsError when an identity has a certificate of authorities that are replaced, or of older ones."""
        try:
            found = self.home.found([one.name for one in self.identities])
        except (TlsError, OSError):
            return  # the run for this OS user reports it, and does not stop the others
        self._refuse_to_forget(found)
        for one in self.certified:
            planning.refuse_another_root(one, found, self.target, self.home.current(one.name, CERTIFICATE), self.now)

    def _refuse_to_forget(self, found: HomeFiles) -> None:
        """Raise TlsError when the lists in use revoke certificates that the coming ones do not."""
        deployed = found.contents.get(LISTS)
        if deployed is not None and deployed != planning.lists(self.target).get(LISTS):
            revocations.refuse_to_forget(deployed, self.target.own_crls, self.target.roots, "crls", "server")

    def run(self, *, check_mode: bool) -> UserOutcome:
        """Converge, or ask for certificates. Raises TlsError, OSError; then the files are as they were."""
        if check_mode:
            with files.locked(self.home.store.directory) if self.home.is_set_up() else contextlib.nullcontext():
                return self.foresee()
        self.home.make_directories()
        with files.locked(self.home.store.directory):
            return self.converge()

    def warnings(self, outcome: UserOutcome) -> list[str]:
        """Return unexpected effects on connections of this user, in words."""
        is_told = bool(self.target.certificates)  # by the call that asked for them
        is_elsewhere = self.default is None or bool(self.default.home)  # where libpq does not look by default
        news = [] if is_told or is_elsewhere else warnings.of_news(self.home, outcome.found, self.target)
        return [*news, *self.notes, *warnings.of_lists(self.home, self.target)]

    def foresee(self) -> UserOutcome:
        """Return what a run would do; nothing is written. Raises TlsError, OSError."""
        recovered = self._recovery()
        found, plan = self._plan()
        changes = [*recovered, *plan.changes]
        asked = [Request(one, None, plan.reasons[one.name]) for one in plan.waiting]
        now = planning.leaves(found)
        return UserOutcome(plan, bool(changes), changes, asked, now, now, found)

    def converge(self) -> UserOutcome:
        """Do it, with the directory locked. Raises TlsError, OSError; then the files are as they were."""
        recovered = self._recover()
        found, plan = self._plan()
        before = planning.leaves(found)
        if plan.waiting:
            asked, made = requests.ask(self.home, self.target, plan, found)
            return UserOutcome(plan, bool(recovered or made), [*recovered, *made], asked, before, before, found)
        after = self._apply(found, plan) if plan.changes else before
        self._tidy()
        changes = [*recovered, *plan.changes]
        return UserOutcome(plan, bool(changes), changes, [], before, after, found)

    def _recovery(self) -> list[str]:
        """Return what ``_recover`` does, in words. Raises TlsError if only a person can decide what to do."""
        damage = self.journal.damage()
        if damage:
            self._refuse_half(damage)
            return [f"{self.user.name}: the damaged journal of an interrupted run is set aside"]
        return [f"{self.user.name}: the transaction of an interrupted run is undone"] if self._is_open() else []

    def _is_open(self) -> bool:
        """Return whether an interrupted run left a journal by which its changes can be undone."""
        return self.journal.is_open() and not self.journal.damage()

    def _recover(self) -> list[str]:
        recovered, is_open = self._recovery(), self._is_open()
        if is_open:
            self.journal.roll_back()
            return recovered
        if recovered:
            self.journal.set_aside()
        self.home.store.discard_unused()
        self.journal.clear()
        return recovered

    def _refuse_half(self, damage: str) -> None:
        """Raise TlsError unless the files are complete without their damaged journal; else note that for a warning."""
        found = self.home.found([])
        half = [f"{path} leads nowhere" for path, to in found.links.items() if to and not os.path.exists(path)]
        half += login.faults([self.home.current(name) for name in found.names()], self.target)
        if half:
            raise TlsError(
                f"{damage} So it is unknown what an interrupted run changed, and these faults are left: "
                f"{'; '.join(half)}. Nothing was changed.",
                remedy=self.journal.remedy,
                code="journal_damaged",
            )
        self.notes.append(
            f"{damage} The files of OS user {self.user.name!r} are complete nevertheless, and a rehearsed login works. "
            f"So the journal is set aside beside it. Find out who wrote to {self.home.store.directory}, then remove "
            "that file."
        )

    def _plan(self) -> tuple[HomeFiles, Plan]:
        found = self.home.found([one.name for one in self.identities])
        needed = {one.name: self._reasons(one, found) for one in self.certified}
        waiting = planning.unanswered(self.certified, needed, found, self.target)
        if self.target.certificates:  # the others keep their certificates until the next run
            needed = {one.name: needed[one.name] for one in self.certified if planning.came(one, found, self.target)}
        shortened = planning.shortened(self.certified, needed, found, self.target, self.now)
        needs = planning.Needs(needed, waiting, shortened)
        plan = planning.make(self.identities, needs, found, self.target, self._layout(found.service))
        if plan.generation and self.target.crls:
            revocations.refuse_gaps(self.target.crls, self.target.roots, "crls", self.now)
        return found, plan

    def _reasons(self, identity: Identity, found: HomeFiles) -> list[str]:
        if identity.name in self.held:
            return []
        reasons = planning.reasons(identity, found, self.target, self.now)
        if not reasons:
            try:
                login.rehearse_of(identity, self.home.current(), self.target)
            except TlsError as error:
                reasons.append(due.unusable(error.message))
        return reasons

    def _layout(self, service: bytes | None) -> Layout:
        path, has_lists = self.home.service_file, bool(self.target.crls)
        links = self.home.default_links(self.default.name) if self.default else {}
        if self.default and not self.default.has_certificate:
            links = {path: to for path, to in links.items() if os.path.basename(path) not in (CERTIFICATE, KEY)}
        return Layout(
            links={path: to for path, to in links.items() if has_lists or path != self.home.revocations},
            service_path=path,
            service=service_file.merge(service, self.identities, self.home.current(), path, has_lists=has_lists),
            former={path: kept for path, kept in self.home.former_files().items() if path not in links},
        )

    def _apply(self, found: HomeFiles, plan: Plan) -> dict[str, Certificate]:
        """Do what the plan says; return the leaves by identity. Raises TlsError, OSError after putting all back."""
        credentials = {one.name: self._credential(one, found, plan) for one in self.certified}
        for path in plan.directories:
            os.chmod(path, places.DIRECTORY_MODE)
        staged = self._stage(credentials, plan.left) if plan.generation else None
        try:
            self.journal.begin(staged)
            self._switch(found, plan)
            self.journal.commit()
        except Exception as error:
            raise self._rolled_back(error, staged) from error
        return {name: credential.leaf for name, credential in credentials.items()}

    def _tidy(self) -> None:
        """Remove what is no longer needed. What cannot be removed now is left to the next run."""
        with contextlib.suppress(OSError):
            self.home.store.prune()
            for one in self.identities:
                key = files.read(self.home.store.pending_key(one.name))
                if key is not None and (not one.has_certificate or key == files.read(self.home.current(one.name, KEY))):
                    self.home.store.drop_pending_key(one.name)
            self.home.store.drop_stale_keys(self.now)

    def _credential(self, identity: Identity, found: HomeFiles, plan: Plan) -> Credential:
        if identity.name in plan.reasons:
            installed = planning.installed(found, identity.name)
            received = requests.received(identity, installed, self.home, self.target, self.now)
            return planning.fitted(received, identity, self.target, self.now)
        credential = planning.installed(found, identity.name)
        if credential is None:  # impossible: a missing one is a reason
            raise TlsError(f"{identity.id}: there is no certificate.", code="certificate_missing")
        return planning.fitted(credential, identity, self.target, self.now)

    def _stage(self, credentials: dict[str, Credential], left: str) -> str:
        """Write the new generation and rehearse with it; nothing live is touched. Raises TlsError, OSError."""
        store = self.home.store
        staged = store.stage(planning.contents(credentials, self.target), left)
        try:
            for identity in self.certified:
                login.rehearse_of(identity, store.path(staged), self.target)
        except Exception:
            store.discard(staged)
            raise
        return staged

    def _switch(self, found: HomeFiles, plan: Plan) -> None:
        early = [path for path in plan.links if found.links[path] is None and found.generation is None]
        for path in early:  # they lead nowhere, like files that do not exist, until the switch fills all of them
            self.journal.put_link(path, plan.links[path])
        self.journal.switch()
        for path, to in plan.links.items():
            if path not in early:
                self.journal.put_link(path, to, places.free_name(path) if found.links[path] == "" else None)
        give_back(plan.former, self.journal)
        if plan.service is not None:
            self.journal.put_file(self.home.service_file, plan.service, places.SERVICE_MODE, self.user.owner)
        if self.default is not None and self.default.has_certificate:
            login.rehearse(self.home.directory, self.target, self.default.authority)
        elif self.certified:
            login.rehearse_of(self.certified[0], self.home.current(), self.target)

    def _rolled_back(self, error: Exception, staged: str | None) -> TlsError:
        """Restore the state before; return the reason of the failure, with the result of the roll-back."""
        code = error.code if isinstance(error, TlsError) else "system_error"
        try:
            if self.journal.is_open():
                self.journal.roll_back()
            elif staged is not None:
                self.home.store.discard(staged)
        except (TlsError, OSError) as second:
            return TlsError(
                f"{error} The previous files could NOT be restored completely: {second} The next run tries again; "
                f"{self.journal.path} lists what to restore.",
                code=code,
                rolled_back=False,
            )
        return TlsError(f"{error} The files are as they were before.", code=code, rolled_back=True)
