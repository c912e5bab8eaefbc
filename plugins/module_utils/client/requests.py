# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of one OS user's identities: requested with a key, and received."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.client.home import KEY, Home, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.client.user_files import Credential
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
else:
    exchange = lazy_import("credential.exchange")


class Request(NamedTuple):
    """A certificate that must be issued. ``csr`` is None in check mode."""

    identity: Identity
    csr: str | None
    reasons: list[str]


def ask(home: Home, target: Target, plan: Plan, found: HomeFiles) -> tuple[list[Request], list[str]]:
    """Return a request for every identity that waits, and which keys were made for them, in words."""
    requests, made = [], []
    for identity in plan.waiting:
        keys, why, spec = _keys(home, identity), plan.reasons[identity.name], target.spec(identity, forced=False)
        csr = exchange.with_waiting_key(keys, spec, found.contents.get(f"{identity.name}/{KEY}"))
        csr = csr or _with_key_in_use(home, target, identity, found, why)
        if csr is None:
            csr = exchange.with_new_key(keys, spec)
            made.append(f"{identity.id}: new key, which waits for its certificate")
        requests.append(Request(identity, csr, why))
    return requests, made


def received(identity: Identity, installed: Credential | None, home: Home, target: Target, now: int) -> Credential:
    """Return an identity's new certificate with its key: it is pending, or a concurrent run has installed it.

    ``now`` is in Unix seconds. Raises TlsError for any other certificate.
    """
    chain, option = target.certificates[identity.id], f"certificates: {identity.id}"
    exchange.refuse_another(chain, target.spec(identity, forced=False), option, now, may_be_due=True)
    pem = "".join(one.pem for one in chain).encode("ascii")
    in_use, key = ([installed.leaf], installed.key) if installed is not None else ([], None)
    return Credential(pem, exchange.key_for(_keys(home, identity), chain[0], in_use, key, option), chain[0])


def _keys(home: Home, identity: Identity) -> exchange.Keys:
    return exchange.Keys(home.store, identity.name, home.user)


def _with_key_in_use(
    home: Home, target: Target, identity: Identity, found: HomeFiles, why: Sequence[str]
) -> str | None:
    """Return a request for the key in use; None when the next certificate needs a new one.

    A program that opens its certificate before the switch opens the key after it. With one key they still fit.
    """
    public_key = planning.key_in_use(identity, found, target, why)
    if public_key is None:
        return None
    path, spec = home.current(identity.name, KEY), target.spec(identity, forced=False)
    return exchange.with_key_at(path, home.user, spec, public_key)
