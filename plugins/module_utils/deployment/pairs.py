# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several certificates with their keys in one generation, as a program has that is server and client at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterable, Mapping, NamedTuple, Protocol, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, upkeep
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Offer, Spec
from ansible_collections.pgops.tls.plugins.module_utils.deployment import outcome
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal, rollback_checks
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain, read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
else:
    exchange = lazy_import("credential.exchange")

Generation = Mapping[str, bytes]  # files by their names


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


class Declared(Protocol):
    """What is declared of such a program; the first credential is the server's, the second the client's."""

    @property
    def directory(self) -> str:
        """Return where its generations are."""

    @property
    def later(self) -> frozenset[str]:
        """Return the names of the credentials whose certificates come in a later run."""

    @property
    def credentials(self) -> tuple[Credential, Credential]:
        """Return both."""

    @property
    def roots(self) -> str:
        """Return the roots (PEM) below which servers are."""

    @property
    def trusted_clients(self) -> str:
        """Return the authorities (PEM) of its clients."""


def unfit(target: Declared, generation: Generation, directory: str) -> dict[str, str]:
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


def reasons(
    one: Credential, generation: Generation, directory: str, unfit: str, now: int, *, comes_later: bool = False
) -> list[str]:
    """Return why a credential needs a new certificate. Raises TlsError for one below another root.

    ``unfit`` says why certificate and key cannot be used together. ``comes_later``: the new one comes in a later run,
    so the one in use may stay until then.
    """
    chain = one.chain(generation)
    if chain and not one.spec.forced:
        due.refuse_another_root(chain, f"{directory}/current/{one.certificate}", one.offer, now)
    present = due.Present(chain, one.certificate in generation, one.key in generation, unfit)
    why = due.needed(present, one.spec, now)
    return [] if comes_later and due.may_wait(present, why, now) else why


def all_reasons(target: Declared, generation: Generation, unfit: Mapping[str, str], now: int) -> dict[str, list[str]]:
    """Return by credential why it needs a new certificate, as ``reasons`` does; ``unfit`` is by credential, too."""
    return {
        one.name: reasons(
            one, generation, target.directory, unfit.get(one.name, ""), now, comes_later=one.name in target.later
        )
        for one in target.credentials
    }


def shortened(
    credentials: Iterable[Credential], generation: Generation, why: Mapping[str, Sequence[str]], now: int
) -> tuple[list[str], dict[str, bytes]]:
    """Return what chains that stay lose, in words, and their files then."""
    changes, files = [], {}
    for one in credentials:
        chain = one.chain(generation)
        fitted = chains.fitting(chain, one.offer.issuing, one.offer.roots, now) if chain else []
        if chain and not why[one.name] and fitted != chain:
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
    fitted = chains.fitting(chain, one.offer.issuing, one.offer.roots, now)
    key = exchange.key_for(keys, chain[0], one.chain(generation), generation.get(one.key), option)
    return {one.certificate: chains.pem(fitted), one.key: key}


def refuse_lost(
    credentials: Iterable[Credential], generation: Generation, trusts: Iterable[tuple[str, Credential]], now: int
) -> None:
    """Raise TlsError for a generation whose certificates would be refused, or whose files lost trust in an authority.

    ``trusts`` are the files of roots, each with a credential that is issued below these.
    """
    known = leaves(credentials, generation)
    for one in credentials:
        if one.name not in known:
            raise TlsError(f"{one.certificate}: it is damaged.", code="certificate_damaged")
        rollback_checks.refuse_dates(known[one.name], one.certificate, now)
        rollback_checks.refuse_revoked(known[one.name], one.certificate, one.spec.revoked)
    for file, one in trusts:
        trusted = generation[file].decode("ascii", "replace")
        rollback_checks.refuse_lost_trust(trusted, one.offer.roots, file, now)


def result(
    credentials: Iterable[Credential],
    why: Mapping[str, Sequence[str]],
    requests: Mapping[str, str],
    after: Mapping[str, Certificate],
) -> dict[str, Any]:
    """Return what a module's result says of credentials: reasons, requests, and the certificates in use."""
    return {
        "reasons": [f"{name}: {one}" for name, ones in why.items() for one in ones],
        "requests": [{"id": name, "csr": csr, "reasons": list(why[name])} for name, csr in requests.items()],
        "certificates": {
            one.name: {
                **outcome.fact(leaf),
                "common_name": leaf.common_name,
                "renewal": clock.instant(due.due_at(leaf, one.spec)),
            }
            for one in credentials
            for leaf in [after.get(one.name)]
            if leaf is not None
        },
    }


def described(
    credentials: Iterable[Credential],
    why: Mapping[str, Sequence[str]],
    requests: Mapping[str, str],
    before: Mapping[str, Certificate],
    after: Mapping[str, Certificate],
) -> list[tuple[str, str, str]]:
    """Return for ``--diff`` each certificate's file, and what it was and is, in a few lines."""
    found = []
    for one in credentials:
        coming = outcome.described(after.get(one.name))
        if one.name in requests:
            coming = f"to be issued, because: {', '.join(why[one.name])}\n"
        found.append((one.certificate, outcome.described(before.get(one.name)), coming))
    return found
