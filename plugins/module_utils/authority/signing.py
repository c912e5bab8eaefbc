# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign the requests of a whole fleet in one go."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

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
    rollover,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import declared
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import company_request
    from ansible_collections.pgops.tls.plugins.module_utils.source import own_files, registry
else:
    company_request = lazy_import("authority.company_request")
    own_files = lazy_import("source.own_files")
    registry = lazy_import("source.registry")


class Order(NamedTuple):
    """What to sign. ``requests`` are as the inventory has them; ``lifetime`` is a duration such as ``90d``.

    ``authority`` signs the requests that name no other. ``sources`` say which authorities are not in the directory.
    """

    directory: str
    passphrase: str | None
    authority: str
    requests: Sequence[Mapping[str, Any]]
    lifetime: str
    sources: Mapping[str, Mapping[str, Any]] = {}


class SigningResult(NamedTuple):
    """The chains (PEM, leaf and CAs above it) by the ids of their requests, and what there is to say about them.

    ``refused`` says, by their ids, what is wrong with the requests that were left out, ``waiting`` what has to happen
    until a later run gets the certificate.
    """

    certificates: dict[str, str]
    refused: dict[str, str]
    not_after: str
    changes: list[str]
    warnings: list[str]
    waiting: Mapping[str, str] = {}


def sign(order: Order, now: int, *, is_dry: bool) -> SigningResult:
    """Issue a certificate for every request that is right, and record them. ``now`` is in Unix seconds.

    A dry run checks everything that can be checked, and issues nothing. Raises TlsError, before anything is issued, for
    what is wrong with the order as a whole. One bad request does not keep others from theirs, nor does an authority
    that has ended, or ends too soon, keep others from issuing.
    """
    location.check_path(order.directory)
    keys.check_passphrase(order.passphrase)
    lifetime = durations.seconds(order.lifetime, "lifetime")
    profiles.check_authority(order.authority, "authority")
    sources = declared.parse(order.sources, option("sources"))
    wanted, refused = requests.parse_all(order.authority, order.requests, is_dry=is_dry)
    awaited = _awaited(order)
    own = [request for request in wanted if request.authority not in {*sources, *awaited}]
    done = SigningResult({}, {}, "", [], [])
    if own:
        done = _sign_own(order, own, lifetime, now, is_all=len(own) == len(order.requests), is_dry=is_dry)
    for name, signer in awaited.items():
        ids = [request.id for request in wanted if request.authority == name]
        if ids:
            done = _together(done, _sign_later(order, signer, ids, now))
    for name, one in sources.items():
        theirs = [request for request in wanted if request.authority == name]
        if theirs:
            done = _together(done, _sign_elsewhere(order, one, theirs, now, is_dry=is_dry))
    return done._replace(refused={**refused, **done.refused})


def _awaited(order: Order) -> dict[str, declared.Declared]:
    """Return the own authorities whose first issuing CA a company has not signed yet. Raises TlsError, OSError."""
    companies = declared.below_company(order.sources, option("sources"))
    return {name: one for name, one in companies.items() if not store.folders(order.directory, name).numbered}


def _sign_later(order: Order, one: declared.Declared, ids: Sequence[str], now: int) -> SigningResult:
    """Have requests wait for an issuing CA, or refuse them if what a company has signed is wrong."""
    place = rollover.AuthorityOptions(
        order.directory, order.passphrase, "", durations.seconds(order.lifetime, "lifetime")
    )
    try:
        with location.opened(order.directory):
            text = company_request.not_yet(company_request.look(one, place, now))
    except TlsError as error:
        return SigningResult({}, dict.fromkeys(ids, error.message), "", [], [])
    return SigningResult({}, {}, "", [], [], dict.fromkeys(ids, text))


def _sign_own(
    order: Order, asked: Sequence[requests.Request], lifetime: int, now: int, *, is_all: bool, is_dry: bool
) -> SigningResult:
    """Issue the certificates of authorities that are in the directory. ``is_all``: there are no other requests.

    An authority that has ended, or has too little of its life left, refuses only its own requests. Raises TlsError if
    all are for such a one.
    """
    with location.opened(order.directory):
        found = _authorities(order, asked)
        if is_dry and len(found) < len({request.authority for request in asked}):
            return SigningResult({}, {}, "", _changes(asked), [])  # an earlier task of the same run would have made it
        _refuse_missing(order, asked, found)
        ledger.check_writable(order.directory)
        unable = _unable(order, found, now)
        if is_all and len(found) == len(unable) == 1:
            raise next(iter(unable.values()))
        able = {name: one for name, one in found.items() if name not in unable}
        done = _issue(order, [one for one in asked if one.authority in able], able, lifetime, now, is_dry=is_dry)
    return done._replace(refused={one.id: unable[one.authority].message for one in asked if one.authority in unable})


def _issue(
    order: Order,
    wanted: Sequence[requests.Request],
    able: Mapping[str, Lineage],
    lifetime: int,
    now: int,
    *,
    is_dry: bool,
) -> SigningResult:
    """Issue the certificates of authorities that can issue now, and record them. Raises TlsError, OSError."""
    lives = {name: _life(one, lifetime, order.lifetime, now) for name, one in able.items()}
    warnings = [warning for life in lives.values() for warning in life.warnings]
    not_after = clock.instant(min(life.validity.not_after for life in lives.values())) if lives else ""
    if is_dry or not wanted:
        return SigningResult({}, {}, not_after, _changes(wanted), warnings)
    leaves = _leaves(wanted, able, lives)
    ledger.append(order.directory, [_line(*pair, now) for pair in zip(wanted, leaves)])
    above = {name: lineage.pem(one.chain) for name, one in able.items()}
    chains = {
        request.id: ssl.DER_cert_to_PEM_cert(leaf) + above[request.authority] for request, leaf in zip(wanted, leaves)
    }
    return SigningResult(chains, {}, not_after, _changes(wanted), warnings)


def _changes(wanted: Sequence[requests.Request]) -> list[str]:
    return [f"issue a {request.authority} certificate for {request.in_words()}" for request in wanted]


def _sign_elsewhere(
    order: Order, one: declared.Declared, wanted: Sequence[requests.Request], now: int, *, is_dry: bool
) -> SigningResult:
    """Have a source sign requests, and record what came. What is wrong with the source stops only its own requests."""
    by_id = {request.id: request for request in wanted}
    lifetime = durations.seconds(order.lifetime, "lifetime")
    place, directory = f"{option('sources')}.{one.authority}", str(one.options.get("directory") or order.directory)
    with location.opened(order.directory):
        try:
            if not is_dry:
                ledger.check_writable(order.directory)
            with own_files.explained(place, directory):
                signed = registry.source(one, order.directory).sign(wanted, lifetime, now, is_dry=is_dry)
                leaves = {id_: chain[0] for id_, chain in signed.chains.items()}
                lines = [
                    ledger.entry(one.authority, id_, leaf, by_id[id_].reasons, now, source=one.type)
                    for id_, leaf in leaves.items()
                    if not ledger.has(order.directory, leaf)
                ]
                if lines and not is_dry:
                    ledger.append(order.directory, lines)
        except TlsError as error:
            return SigningResult({}, dict.fromkeys(by_id, error.message), "", [], [])
    open_ones = [request for request in wanted if request.id not in {*signed.refused, *signed.waiting}]
    got = f"get a {one.authority} certificate from the source of type {one.type} for"
    changes = [*signed.changes, *(f"{got} {request.in_words()}" for request in open_ones)]
    return SigningResult(
        {} if is_dry else {id_: lineage.pem(chain) for id_, chain in signed.chains.items()},
        dict(signed.refused),
        clock.instant(min(leaf.not_after for leaf in leaves.values())) if leaves else "",
        changes,
        list(signed.warnings),
        signed.waiting,
    )


def _together(first: SigningResult, second: SigningResult) -> SigningResult:
    """Return two results as one."""
    return SigningResult(
        {**first.certificates, **second.certificates},
        {**first.refused, **second.refused},
        min(filter(None, (first.not_after, second.not_after)), default=""),
        [*first.changes, *second.changes],
        [*first.warnings, *second.warnings],
        {**first.waiting, **second.waiting},
    )


class _Life(NamedTuple):
    """The life of new leaves of an authority, and what to warn of."""

    validity: issuing.Validity
    warnings: list[str]


def _authorities(order: Order, wanted: Sequence[requests.Request]) -> dict[str, Lineage]:
    """Return the authorities of requests that exist, by name. Raises TlsError, OSError."""
    names = dict.fromkeys(request.authority for request in wanted)
    found = {name: lineage.read(order.directory, name, order.passphrase) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def _refuse_missing(order: Order, wanted: Sequence[requests.Request], found: Mapping[str, Lineage]) -> None:
    missing = next((request.authority for request in wanted if request.authority not in found), None)
    if missing is not None:
        raise TlsError(
            f"{order.directory}: there is no {missing} CA in this directory, expected one.",
            remedy="Make it with the module pgops.tls.certificate_authority, or correct the option directory.",
            code="authority_missing",
        )


def _unable(order: Order, found: Mapping[str, Lineage], now: int) -> dict[str, TlsError]:
    """Return why authorities cannot issue now. Raises TlsError for what is wrong with the clock or the order."""
    unable = {}
    for name, one in found.items():
        lifetimes.check_clock(one, now)
        error = lifetimes.ended(one, now)
        if error is None:
            lifetimes.check_lifetime(one.authority, order.lifetime, "lifetime")
            error = lifetimes.expiring(one, order.lifetime, "lifetime", now)
        if error is not None:
            unable[name] = error
    return unable


def _life(found: Lineage, lifetime: int, written: str, now: int) -> _Life:
    """Return the life of new leaves of an authority that can issue, and what to warn of."""
    issuer = found.authority.issuing
    start = max(now - profiles.BACKDATED, issuer.not_before)
    if found.current.company is not None:  # which may have signed a minute ago: dates tell which certificate is newer
        start = now - profiles.BACKDATED
    if now + lifetime <= issuer.not_after:
        return _Life(issuing.Validity(start, now + lifetime), [])
    end = clock.instant(issuer.not_after)
    warning = (
        f"New certificates end on {end}, in {durations.in_words(issuer.not_after - now)}, and not after {written}: the "
        f"issuing CA {issuer.common_name!r} ends then. {renewing.remedy(found)}"
    )
    return _Life(issuing.Validity(start, issuer.not_after), [warning])


def _leaves(
    wanted: Sequence[requests.Request], found: Mapping[str, Lineage], lives: Mapping[str, _Life]
) -> list[bytes]:
    """Return the leaves of all requests, in their order. What an issuer's signatures have in common is made once."""
    issuers = {name: issuing.Issuer.of(one.authority.issuing, one.authority.issuing_key) for name, one in found.items()}
    return [
        issuing.new_leaf(
            issuers[request.authority],
            profiles.purpose(request.authority),
            request.holder,
            request.public_key,
            lives[request.authority].validity,
        )
        for request in wanted
        if request.public_key is not None
    ]


def _line(request: requests.Request, der: bytes, now: int) -> dict[str, Any]:
    return ledger.entry(request.authority, request.id, certificate.read_der(der, request.id), request.reasons, now)
