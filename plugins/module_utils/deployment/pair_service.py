# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of a program that is server and client at once: see ``service.py``."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Collection, Generic, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_outcome import Outcome, T
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, F, P, Service
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
    from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
else:
    exchange = lazy_import("credential.exchange")


class PairService(Service[P, F, "Outcome[P, F, T]"], Generic[P, F, T]):
    """One such program and its target; the lock is held, and this acts as the OS user of the process.

    A kind's plan says why certificates are needed (``reasons``, by credential) and has the new ``text`` of the
    program's configuration file (None: it stays). What it finds has the generation as ``kept``.
    """

    stays: P  # the plan if nothing is to be done
    keeps_key: Collection[str]  # the credentials whose key stays where it may, see ``pairs.request``

    def __init__(self, target: T, account: Account, now: int, file: ServiceFile) -> None:
        super().__init__(GenerationStore(target.pair.directory, account.owner), now, [file])
        self.target = target
        self.account = account
        self.file = file  # the program's configuration

    # What a kind has to say, beside what ``Service`` asks for

    @abc.abstractmethod
    def _text(self) -> str:
        """Return the text of the configuration file. Raises TlsError."""

    @abc.abstractmethod
    def _look(self, kept: pairs.Kept, text: str) -> F:
        """Return what there is, with this generation in use and this text. Raises TlsError."""

    @abc.abstractmethod
    def _loaded(self, found: F) -> F:
        """Return the same as if the program used the files that were found."""

    @abc.abstractmethod
    def _make(self, target: T, found: F) -> P:
        """Return the plan that leads to a target. Raises TlsError."""

    # What is the same for all of these programs

    def _found(self) -> F:
        text = self._text()
        if not self._is_open():
            return self._look(self._kept(self.store.current()), text)
        previous, originals = self.journal.originals()
        return self._loaded(self._look(self._kept(previous), self.file.before(originals, text)))

    def _kept(self, generation: str | None) -> pairs.Kept:
        return pairs.look(self.target.pair, self.store, generation, self.modes)

    def _leaves(self, generation: Mapping[str, bytes]) -> dict[str, Certificate]:
        return pairs.leaves(self.target.pair.credentials, generation)

    def _specs(self) -> dict[str, Spec]:
        return {one.name: one.spec for one in self.target.pair.credentials}

    def _later(self) -> Collection[str]:
        return frozenset(self.target.pair.later)

    def _renew(self, names: Collection[str]) -> None:
        asked = {name for name, spec in self._specs().items() if spec.forced}
        self.target = self.target._replace(pair=self.target.pair.renewing({*asked, *names}))

    def _plan(self, found: F) -> P:
        return self._make(self.target, found)

    def _waiting(self, plan: P) -> list[str]:
        return [name for name, why in plan.reasons.items() if why and name not in self.target.pair.certificates]

    def _request(self, name: str, plan: P, found: F) -> str:
        [one] = [one for one in self.target.pair.credentials if one.name == name]
        keeps_key = name in self.keeps_key
        return pairs.request(one, self._keys(name), plan.reasons[name], found.generation, keeps_key=keeps_key)

    def _keys(self, name: str) -> exchange.Keys:
        return exchange.Keys(self.store, name, self.account)

    def _contents(self, plan: P, found: F) -> dict[str, File]:
        contents = dict(plan.contents)
        for one in self.target.pair.credentials:
            if plan.reasons[one.name]:
                given, keys = self.target.pair.certificates, self._keys(one.name)
                contents.update(pairs.received(one, given, keys, found.generation, self.now))
        return {name: File(contents[name], mode) for name, mode in self.modes.items()}

    def _rehearse(self, generation: str) -> None:
        pairs.rehearse(self.target.pair, self.store.path(generation))

    def _keys_in_use(self) -> dict[str, bytes | None]:
        return {one.name: self._read(self.store.current(), one.key) for one in self.target.pair.credentials}

    def _outcome(self, plan: P, found: F, done: Done) -> Outcome[P, F, T]:
        return Outcome(plan, found, done, self.target, self.notes)
