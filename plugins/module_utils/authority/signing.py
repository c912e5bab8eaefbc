# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign the requests of a whole fleet in one go."""

from __future__ import annotations

import ssl
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    issuing,
    keys,
    ledger,
    lifetimes,
    lineage,
    location,
    profiles,
    renewing,
    requests,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate

# Of the wanted lifetime. When an issuing CA has less left, its certificates would only be renewed more and more often.
LEAST_SHARE = 1 / 3


class Order(NamedTuple):
    """What to sign. ``requests`` are as the inventory has them; ``lifetime`` is a duration such as ``90d``."""

    directory: str
    passphrase: str | None
    authority: str
    requests: Sequence[Mapping[str, Any]]
    lifetime: str


class SigningResult(NamedTuple):
    """The chains (PEM, leaf and CAs above it) by the ids of their requests, and what there is to say about them.

    ``refused`` says, by their ids, what is wrong with the requests that were left out.
    """

    certificates: dict[str, str]
    refused: dict[str, str]
    not_after: str
    changes: list[str]
    warnings: list[str]


def sign(order: Order, now: int, *, is_dry: bool) -> SigningResult:
    """Issue a certificate for every request that is right, and record them. ``now`` is in Unix seconds.

    A dry run checks everything that can be checked, and issues nothing. Raises TlsError, before anything is issued, for
    what is wrong with the authority or the order as a whole; one bad request does not keep others from theirs.
    """
    location.check_path(order.directory)
    keys.check_passphrase(order.passphrase)
    lifetime = durations.seconds(order.lifetime, "lifetime")
    wanted, refused = requests.parse_all(order.authority, order.requests, is_dry=is_dry)
    if not wanted:
        return SigningResult({}, refused, "", [], [])
    changes = [f"issue a {order.authority} certificate for {request.in_words()}" for request in wanted]
    with location.opened(order.directory):
        found = lineage.read(order.directory, order.authority, order.passphrase)
        if found is None and is_dry:
            return SigningResult({}, refused, "", changes, [])  # an earlier task of the same run would have made it
        if found is None:
            raise TlsError(
                f"{order.directory}: there is no {order.authority} CA in this directory, expected one.",
                remedy="Make it with the module pgops.tls.certificate_authority, or correct the option directory.",
                code="authority_missing",
            )
        authority = found.authority
        ledger.check_writable(order.directory)
        lifetimes.check_time(found, now)
        validity, warnings = _validity(found, lifetime, order.lifetime, now)
        not_after = clock.instant(validity.not_after)
        if is_dry:
            return SigningResult({}, refused, not_after, changes, warnings)
        leaves = _leaves(authority, wanted, validity)
        ledger.append(order.directory, [_line(order.authority, *pair, now) for pair in zip(wanted, leaves)])
    above = lineage.pem(found.chain)
    chains = {request.id: ssl.DER_cert_to_PEM_cert(leaf) + above for request, leaf in zip(wanted, leaves)}
    return SigningResult(chains, refused, not_after, changes, warnings)


def _validity(found: Lineage, lifetime: int, written: str, now: int) -> tuple[issuing.Validity, list[str]]:
    """Return the life of new leaves and what to warn of. Raises TlsError when their issuer cannot give them one."""
    lifetimes.check_lifetime(found.authority, written, "lifetime")
    issuer = found.authority.issuing
    left = issuer.not_after - now
    name, end = f"issuing CA {issuer.common_name!r}", clock.instant(issuer.not_after)
    if left < lifetime * LEAST_SHARE:
        raise TlsError(
            f"lifetime: {written} was asked for, but the {name} ends in {durations.in_words(left)}, on {end}, which is "
            "less than a third of that.",
            remedy=f"{renewing.remedy(found)} Nothing was issued.",
            code="issuing_ca_expiring",
        )
    start = max(now - profiles.BACKDATED, issuer.not_before)
    if now + lifetime <= issuer.not_after:
        return issuing.Validity(start, now + lifetime), []
    warning = (
        f"New certificates end on {end}, in {durations.in_words(left)}, and not after {written}: the {name} ends then. "
        f"{renewing.remedy(found)}"
    )
    return issuing.Validity(start, issuer.not_after), [warning]


def _leaves(
    authority: issuing.Authority, wanted: Sequence[requests.Request], validity: issuing.Validity
) -> list[bytes]:
    issuer = issuing.Issuer.of(authority.issuing, authority.issuing_key)
    purpose = profiles.PURPOSES[authority.name]
    return [
        issuing.new_leaf(issuer, purpose, request.holder, request.public_key, validity)
        for request in wanted
        if request.public_key is not None
    ]


def _line(authority: str, request: requests.Request, der: bytes, now: int) -> dict[str, Any]:
    return ledger.entry(authority, request.id, certificate.read_der(der, request.id), request.reasons, now)
