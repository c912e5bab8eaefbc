# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of a Patroni's two certificates, and the certificates that come for them."""

from __future__ import annotations

from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.credential import due, exchange
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, Credential, Target, installed
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem


def request(target: Target, keys: exchange.Keys, why: Sequence[str], generation: Mapping[str, bytes]) -> str:
    """Return a request (PEM) for a credential, with the key that waits, the one in use, or a new one.

    The key stays where it may: Patroni opens certificate and key one after the other, and with one key the two fit even
    if the switch comes between, as when somebody restarts Patroni just then.
    """
    one = target.api if keys.name == API else target.ctl
    found = exchange.with_waiting_key(keys, one.spec.key_type, generation.get(one.key))
    chain = installed(target, generation, one.name)
    if found is None and chain and due.may_keep_key(why):
        path = f"{keys.store.current_link}/{one.key}"
        found = exchange.with_key_at(path, keys.user, chain[0].public_key)
    return found or exchange.with_new_key(keys, one.spec.key_type)


def received(
    target: Target, one: Credential, keys: exchange.Keys, generation: Mapping[str, bytes], now: int
) -> tuple[bytes, bytes]:
    """Return the chain and the key of a certificate that came, as files. Raises TlsError unless it is as requested."""
    option = f"certificates: {one.name}"
    chain = read_pem(target.certificates[one.name], option)
    exchange.refuse_another(chain, one.spec, option, now, may_be_due=True)
    fitted = chains.fitting(chain, one.offer.issuing, one.offer.roots, now)
    in_use = installed(target, generation, one.name)
    return chains.pem(fitted), exchange.key_for(keys, chain[0], in_use, generation.get(one.key), option)
