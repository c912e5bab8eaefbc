# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several certificates with their keys in one generation, as a program has that is server and client at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Collection, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, upkeep
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Offer, Spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal, rollback_checks
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
else:
    exchange = lazy_import("credential.exchange")

Generation = Mapping[str, bytes]  # files by their names
TRUSTED, ROOTS = "trusted-clients.crt", "root.crt"  # the files of a generation that say whom the program trusts


class Credential(NamedTuple):
    """A certificate: its name, its files in a generation, what it must be, and who may issue it."""

    name: str
    certificate: str
    key: str
    spec: Spec
    offer: Offer

    def chain(self, generation: Generation) -> list[Certificate]:
        """Return the chain in a generation, leaf first; an empty one when it is missing or damaged."""
        return read_chain(generation.get(self.certificate), self.certificate)


class Declared(NamedTuple):
    """What is declared of such a program: its certificate as a server, that as a client, and whom it trusts (PEM).

    ``certificates`` came for a request, by credential. Those of the credentials in ``later`` come in a later run.
    """

    directory: str  # of its generations
    server: Credential
    client: Credential
    roots: str  # below which servers are
    trusted_clients: str
    certificates: Mapping[str, str]
    later: frozenset[str]

    @property
    def credentials(self) -> tuple[Credential, Credential]:
        """Return both."""
        return self.server, self.client

    def client_files(self, directory: str) -> rehearsal.ClientFiles:
        """Return the paths of what the client uses of the generation in a directory."""
        names = self.client.certificate, self.client.key, ROOTS
        return rehearsal.ClientFiles(*(os.path.join(directory, name) for name in names))

    def renewing(self, names: Collection[str]) -> Declared:
        """Return the same with an order to renew these credentials, and no other."""
        server, client = (one._replace(spec=one.spec._replace(forced=one.name in names)) for one in self.credentials)
        return self._replace(server=server, client=client)


class Kept(NamedTuple):
    """The generation in use: its name (None: there is none) and its files.

    ``repairs`` says which files have a wrong owner or mode, ``unfit`` why a pair cannot be used (by credential).
    """

    current: str | None
    generation: Generation
    repairs: Sequence[str]
    unfit: Mapping[str, str]


class Coming(NamedTuple):
    """Why certificates are needed, by credential; the next generation without these, and what changes in it, in words.

    A kind adds reasons of its own.
    """

    reasons: dict[str, list[str]]
    contents: dict[str, bytes]
    changes: Sequence[str]

    def is_staged(self) -> bool:
        """Return whether a new generation is needed."""
        return bool(self.changes or any(self.reasons.values()))

    def in_words(self) -> list[str]:
        """Return everything that changes."""
        whys = [f"{name} certificate: {why}" for name, found in self.reasons.items() for why in found]
        return [*whys, *self.changes]


def look(target: Declared, store: GenerationStore, current: str | None, modes: Mapping[str, int]) -> Kept:
    """Return what there is if generation ``current`` is in use; ``modes`` are those of its files. Raises OSError."""
    contents = {name: store.readable(current, name) for name in modes}
    generation = {name: content for name, content in contents.items() if content is not None}
    repairs = upkeep.repairs(store, current, generation, modes)
    return Kept(current, generation, repairs, _unfit(target, generation, store.path(current or "")))


def _unfit(target: Declared, generation: Generation, directory: str) -> dict[str, str]:
    """Return by credential why its files in a generation, which is at ``directory``, do not work together, '' if so."""
    server, client = target.credentials
    checks = (server, upkeep.unfit, target.roots), (client, upkeep.unfit_client, target.trusted_clients)
    return {
        one.name: check(_pair(one, directory), roots)
        for one, check, roots in checks
        if {one.certificate, one.key} <= generation.keys()
    }


def rehearse(target: Declared, directory: str) -> None:
    """Make handshakes with the files in ``directory``, for every name, and the client's login. Raises TlsError."""
    server, client = (_pair(one, directory) for one in target.credentials)
    accepting, asking = rehearsal.server_context(server, target.trusted_clients), rehearsal.client_context(target.roots)
    for name in target.credentials[0].spec.names:
        rehearsal.handshake(accepting, asking, name.value.replace("*", "any", 1))
    rehearsal.log_in(client, target.trusted_clients, rehearsal.client_context(target.roots, client, check_name=False))


def _pair(one: Credential, directory: str) -> rehearsal.Pair:
    return rehearsal.Pair(os.path.join(directory, one.certificate), os.path.join(directory, one.key))


def leaves(credentials: Iterable[Credential], generation: Generation) -> dict[str, Certificate]:
    """Return the leaves in a generation, by credential."""
    found = {one.name: one.chain(generation) for one in credentials}
    return {name: chain[0] for name, chain in found.items() if chain}


def coming(target: Declared, found: Kept, own: Generation, now: int) -> Coming:
    """Return what is to come: the certificates, the files of trust, and those that are a kind's ``own``.

    ``own`` may have a file of trust with more in it. ``now`` is in Unix seconds. Raises TlsError.
    """
    declared = {TRUSTED: target.trusted_clients.encode(), ROOTS: target.roots.encode(), **own}
    why = {one.name: _reasons(target, one, found, now) for one in target.credentials}
    lost, fitted = _shortened([one for one in target.credentials if not why[one.name]], found.generation, now)
    differing = [name for name in declared if found.generation.get(name) != declared[name]]
    changed = [f"{name}: {'changed' if name in found.generation else 'new'}" for name in differing]
    return Coming(why, {**found.generation, **declared, **fitted}, [*found.repairs, *lost, *changed])


def _reasons(target: Declared, one: Credential, found: Kept, now: int) -> list[str]:
    """Return why a credential needs a new certificate. Raises TlsError for one below another root."""
    files = one.certificate in found.generation, one.key in found.generation
    present = due.Present(one.chain(found.generation), *files, found.unfit.get(one.name, ""))
    path, comes_later = f"{target.directory}/current/{one.certificate}", one.name in target.later
    return due.of_installed(present, one.spec, one.offer, path, now, comes_later=comes_later)


def _shortened(staying: Iterable[Credential], generation: Generation, now: int) -> tuple[list[str], dict[str, bytes]]:
    """Return what chains that stay lose, in words, and their files then."""
    changes, files = [], {}
    for one in staying:
        chain = one.chain(generation)
        fitted = one.offer.fitting(chain, now) if chain else []
        if fitted != chain:
            changes.append(f"{one.certificate}: {chains.difference(chain, fitted)}")
            files[one.certificate] = chains.pem(fitted)
    return changes, files


def request(
    one: Credential, keys: exchange.Keys, why: Sequence[str], generation: Generation, *, keeps_key: bool
) -> str:
    """Return a request (PEM) for a credential, with the key that waits, the one in use, or a new one.

    ``keeps_key``: the key stays where it may, for a program that opens certificate and key one after the other. With
    one key the two fit even if the switch comes between.
    """
    found = exchange.with_waiting_key(keys, one.spec, generation.get(one.key))
    chain = one.chain(generation)
    if found is None and keeps_key and chain and due.may_keep_key(why):
        path = f"{keys.store.current_link}/{one.key}"
        found = exchange.with_key_at(path, keys.user, one.spec, chain[0].public_key)
    return found or exchange.with_new_key(keys, one.spec)


def received(
    one: Credential, given: Mapping[str, str], keys: exchange.Keys, generation: Generation, now: int
) -> dict[str, bytes]:
    """Return chain and key of a certificate that came, as files. Raises TlsError unless it is as requested."""
    option = f"certificates: {one.name}"
    chain = read_pem(given[one.name], option)
    exchange.refuse_another(chain, one.spec, option, now, may_be_due=True)
    fitted = one.offer.fitting(chain, now)
    key = exchange.key_for(keys, chain[0], one.chain(generation), generation.get(one.key), option)
    return {one.certificate: chains.pem(fitted), one.key: key}


def refuse_lost(target: Declared, generation: Generation, now: int) -> None:
    """Raise TlsError for a generation whose certificates would be refused, or whose files lost trust in an authority.

    The file of clients' authorities has those of the client's certificate, too.
    """
    known = leaves(target.credentials, generation)
    for one in target.credentials:
        if one.name not in known:
            raise TlsError(f"{one.certificate}: it is damaged.", code="certificate_damaged")
        rollback_checks.refuse_dates(known[one.name], one.certificate, now)
        rollback_checks.refuse_revoked(known[one.name], one.certificate, one.spec.revoked)
    for file, one in ((TRUSTED, target.client), (ROOTS, target.server)):
        trusted = generation[file].decode("ascii", "replace")
        rollback_checks.refuse_lost_trust(trusted, one.offer.roots, file, now)
