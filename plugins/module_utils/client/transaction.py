# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction that brings the files of one OS user to their target, or leaves them as they were.

See ``deployment/engine.py``. Its steps: switch, links, service file, rehearse. Everything is done with the effective
ids of that user.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import (
    first_certificates,
    holding,
    layout,
    login,
    requests,
    revoked,
    user_files,
    warnings,
)
from ansible_collections.pgops.tls.plugins.module_utils.client import home as places
from ansible_collections.pgops.tls.plugins.module_utils.client import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.client.default_files import (
    give_back,
    refuse_servers_outside,
    unused,
)
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, Home, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity, default_holders
from ansible_collections.pgops.tls.plugins.module_utils.client.outcome import UserOutcome
from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Layout, Plan
from ansible_collections.pgops.tls.plugins.module_utils.client.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.client.user_files import Credential
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.deployment import engine
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import after_change, keystore, managed
    from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
else:
    after_change = lazy_import("client.after_change")
    keystore = lazy_import("client.keystore")
    managed = lazy_import("client.managed")


class Transaction(engine.Transaction[UserOutcome]):
    """The identities of one OS user and their target."""

    restored = "The files are as they were before."

    def __init__(self, user: Account, identities: Sequence[Identity], target: Target, now: int) -> None:
        self.user, self.target = user, target
        self.is_waiting = False  # for the first certificate of each identity
        self.beside_waiting: Sequence[Identity] = ()  # all identities, if some of them wait for their first certificate
        self._set_identities(identities, [])
        self.home, self.subject = Home(user), user.name
        self.rights = f" (everything below the home of OS user {user.name!r} is done with that user's rights)"
        self.consistent = f"The files of OS user {user.name!r} are complete nevertheless, and a rehearsed login works."
        super().__init__(self.home.store, now)

    def _set_identities(self, identities: Sequence[Identity], held: Sequence[Identity]) -> None:
        """Converge these identities. Those that are ``held`` wait for their servers, as they are."""
        as_held = {one.name: one for one in held}
        self.held = frozenset(as_held)
        self.identities = [as_held.get(one.name, one) for one in identities]
        self.certified = [one for one in self.identities if one.has_certificate]
        self.logins = [one for one in self.identities if one.logs_in]
        self.default = default_holders(self.logins).get(self.user.name)

    def refuse_unfit(self) -> None:
        """Raise TlsError for foreseeable failures, before anything is changed."""
        self.home.refuse_unfit(unused(self.default, self.target))
        self._hold()
        refuse_servers_outside(self.home, self.logins, self.target.known_servers)
        self._layout(files.read(self.home.service_file))
        self._refuse_other_authorities()

    def _hold(self) -> None:
        """Leave identities as they are whose servers do not follow in this run."""
        with contextlib.suppress(TlsError, OSError):  # the run for this OS user reports it
            found = self.home.found([one.name for one in self.identities])
            held = holding.held(self.identities, found, self.target, self.now)
            self.notes += map(holding.in_words, held)
            self._set_identities(self.identities, held)
            self._leave_out(found)

    def _leave_out(self, found: HomeFiles) -> None:
        """Leave identities out whose first certificate comes in a later run. The others do not wait for it."""
        ready = first_certificates.not_waiting(self.identities, found, self.target.later)
        if ready and len(ready) < len(self.identities):
            default, self.beside_waiting = self.default, self.identities
            self._set_identities(ready, [one for one in ready if one.name in self.held])
            self.default = default  # nobody else's files get the default names meanwhile
        self.is_waiting = not ready

    def _refuse_other_authorities(self) -> None:
        """Raise TlsError when an identity has a certificate of authorities that are replaced, or of older ones."""
        try:
            found = self.home.found([one.name for one in self.identities])
            self._recall_wishes(found)
        except (TlsError, OSError):
            return  # the run for this OS user reports it, and does not stop the others
        revoked.refuse_to_forget(self.certified, found, self.target, self.now)
        for one in self.certified:
            planning.refuse_another_root(one, found, self.target, self.home.current(one.name, CERTIFICATE), self.now)

    def _run(self, *, check_mode: bool) -> UserOutcome:
        if not check_mode:
            self.home.make_directories()
        with files.locked(self.store.directory) if self.home.is_set_up() else contextlib.nullcontext():
            return self._converge(check_mode=check_mode)

    def _converge(self, *, check_mode: bool) -> UserOutcome:
        changes = self._recover(check_mode=check_mode)
        found, plan = self._plan()
        self.home.refuse_obstacles(plan)
        endpoints = managed.look(self.identities, self.target, found, self.now) if self.target.looks_outside else []
        foreseen = after_change.foreseen(plan.hooks) if plan.hooks else []
        before = after = user_files.leaves(found)
        if not check_mode:
            self._remember_wishes(before)
        asked: list[Request] = []
        if plan.waiting and not check_mode:
            asked, made = requests.ask(self.home, self.target, plan, found)
            changes += made
        else:
            changes += plan.changes
        if check_mode:
            asked = [Request(one, None, plan.reasons[one.name]) for one in plan.waiting]
            changes += foreseen
        elif not asked:
            after = self._apply(found, plan) if plan.changes else before
            self._tidy()
        hooks = () if asked or check_mode else plan.hooks
        outcome = UserOutcome(plan, bool(changes), changes, asked, before, after, found, endpoints=endpoints)
        return outcome._replace(hooks=hooks, generation=self.store.current() if hooks else None)

    def warnings(self, outcome: UserOutcome) -> list[str]:
        """Return unexpected effects on connections of this user, in words."""
        # The call that asked has told of them, and elsewhere libpq does not look by default
        is_silent = self.target.is_answer or self.default is None or bool(self.default.home)
        news = [] if is_silent else warnings.of_news(self.home, outcome.found, self.target)
        return [*news, *self.notes, *(warnings.of_lists(self.home, self.target) if self.logins else ())]

    def _plan(self) -> tuple[HomeFiles, Plan]:
        found = self._with_keystores(self.home.found([one.name for one in self.identities]))
        self._recall_wishes(found)
        found = first_certificates.kept_for(self.identities, found) if self.beside_waiting else found
        needed = {one.name: self._reasons(one, found) for one in self.certified}
        waiting = planning.unanswered(self.certified, needed, found, self.target)
        if self.target.is_answer:  # the others keep their certificates until the next run
            needed = {one.name: needed[one.name] for one in self.certified if planning.came(one, found, self.target)}
        shortened = planning.shortened(self.certified, needed, found, self.target, self.now)
        needs = planning.Needs(needed, waiting, shortened)
        plan = planning.make(self.identities, needs, found, self.target, self._layout(found.service))
        plan = plan._replace(hooks=self._hooks(found, plan))
        if plan.generation:
            revoked.refuse_gaps(self.certified, found, self.target, self.now)
        return found, plan

    def _hooks(self, found: HomeFiles, plan: Plan, coming: Mapping[str, bytes] | None = None) -> list[Identity]:
        """Return the identities whose hook has to run: their files change, or it has not succeeded since they did.

        ``coming`` are the files that will be, if they are not those that are declared.
        """
        hooked = [one for one in self.identities if one.after_change]
        if not hooked:
            return []
        mark = self.store.readable(found.generation, after_change.MARK)
        due = after_change.marked(mark, [one.name for one in hooked])
        coming = self._kept(found, plan.reasons) if coming is None else coming
        due += planning.changed(hooked, plan.reasons, found, coming)
        return [one for one in hooked if one.name in due]

    def _kept(self, found: HomeFiles, needed: Mapping[str, list[str]]) -> dict[str, bytes]:
        """Return the files that will be, without those of identities whose certificates are ``needed``."""
        known = {one: user_files.installed(found, one.name) for one in self.certified if not needed.get(one.name)}
        kept = {one: planning.fitted(each, one, self.target, self.now) for one, each in known.items() if each}
        coming = user_files.contents(kept, self.target, found, self.identities)
        return {path: file.content for path, file in coming.items()}

    def _with_keystores(self, found: HomeFiles) -> HomeFiles:
        """Return what was found with what is in the keystores of identities that have one."""
        owners = [one for one in self.certified if one.has_keystore]
        return keystore.look(found, owners, self.home) if owners else found

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
        declared = self.beside_waiting
        return layout.of(self.home, self.default, self.identities, self.target, service, declared=declared)

    def _apply(self, found: HomeFiles, plan: Plan) -> dict[str, Certificate]:
        """Do what the plan says; return the leaves by identity. Raises TlsError, OSError after putting all back."""
        credentials = {one: self._credential(one, found, plan) for one in self.certified}
        for path in plan.directories:
            os.chmod(path, places.DIRECTORY_MODE)
        contents = user_files.contents(credentials, self.target, found, self.identities)
        if plan.generation and any(one.has_keystore for one in credentials):
            keystore.make_missing(contents, credentials, found, self.home)
        if plan.hooks:  # from the switch on
            contents[after_change.MARK] = File(after_change.mark_of([one.name for one in plan.hooks]), 0o644)
        self._transact(self._stage(contents, plan.left) if plan.generation else None, lambda: self._switch(found, plan))
        return {**user_files.kept(found), **{one.name: credential.leaf for one, credential in credentials.items()}}

    def _rehearse(self, generation: str) -> None:
        for identity in login.usable(self.certified, self.store.path(generation), self.target, self.now):
            login.rehearse_of(identity, self.store.path(generation), self.target)
            login.rehearse_formats(identity, self.store.path(generation), self.home)
        if any(one.has_truststore for one in self.identities):
            keystore.refuse_other_truststores(self.identities, self.store.path(generation), self.target, self.home)

    def _keys_in_use(self) -> dict[str, bytes | None]:
        """Return the keys in use; one that waits for an identity without a certificate is not needed either."""
        paths = {
            one.name: self.home.current(one.name, KEY) if one.has_certificate else self.store.pending_key(one.name)
            for one in self.identities
        }
        return {name: files.read(path) for name, path in paths.items()}

    def _leaves_in_use(self) -> dict[str, Certificate]:
        return user_files.leaves(self.home.found([]))

    def _specs(self) -> dict[str, Spec]:
        return {one.name: self.target.spec(one, forced=self.target.is_asked(one)) for one in self.certified}

    def _later(self) -> list[str]:
        return [one.name for one in self.certified if one.id in self.target.later]

    def _recall_wishes(self, found: HomeFiles) -> None:
        """Have the plan renew what an earlier run was asked to renew, too."""
        self.target = self.target._replace(wished=self._ids_of_wished(found))

    def _ids_of_wished(self, found: HomeFiles) -> frozenset[str]:
        names = self._wished(user_files.leaves(found))
        return frozenset(one.id for one in self.certified if one.name in names)

    def _credential(self, identity: Identity, found: HomeFiles, plan: Plan) -> Credential:
        credential = user_files.installed(found, identity.name)
        if identity.name in plan.reasons:
            credential = requests.received(identity, credential, self.home, self.target, self.now)
        if credential is None:  # impossible: a missing one is a reason
            raise TlsError(f"{identity.id}: there is no certificate.", code="certificate_missing")
        return planning.fitted(credential, identity, self.target, self.now)

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
        login.rehearse_first(self.certified, self.default, self.home, self.target, now=self.now)

    def half(self) -> list[str]:
        """Return why files are not complete, in words."""
        found = self.home.found([])
        nowhere = [f"{path} leads nowhere" for path, to in found.links.items() if to and not os.path.exists(path)]
        return nowhere + login.faults([self.home.current(name) for name in found.names()], self.target)

    def explained(self, error: OSError) -> TlsError:
        """Return an error of the operating system for a user."""
        place = error.filename or self.user.home
        return TlsError(f"{place}: {error.strerror or error}{self.rights}.", code="system_error")
