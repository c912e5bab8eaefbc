# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lives of authorities allow: when they can be used, and how long certificates below them may live."""

from __future__ import annotations

from typing import Collection, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import renewing
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

LIFETIME = "certificate_lifetime"  # the option, in errors
# Of the wanted lifetime. When an issuing CA has less left, its certificates would only be renewed more and more often.
LEAST_SHARE = 1 / 3


def check(found: Sequence[Lineage], lifetime: str, needed: Collection[str], now: int) -> list[str]:
    """Return warnings of authorities that have ended: they issue nothing, and hosts of others go on without them.

    Raises TlsError for a wrong clock or ``lifetime``; if all that are ``needed`` have ended; and for an own root that
    has, because people can replace it at once.
    """
    over: dict[str, TlsError] = {}
    for one in found:
        check_clock(one, now)
        error = ended(one, now)
        if error is None:
            check_lifetime(one.authority, lifetime, LIFETIME)
        elif one.current.company is None and one.current.root.not_after <= now:
            raise error
        else:
            over[one.name] = error
    if over and over.keys() >= set(needed):
        raise next(iter(over.values()))
    return [f"{each.fault} It issues nothing, and the other authorities go on. {each.remedy}" for each in over.values()]


def check_clock(found: Lineage, now: int) -> None:
    """Raise TlsError when the clock is before the life of the root or the issuing CA."""
    for certificate in (found.authority.root, found.authority.issuing):
        if now < certificate.not_before:
            raise TlsError(
                f"The clock of this host says {clock.instant(now)}, but the {found.name} CA "
                f"{certificate.common_name!r} is valid from {clock.instant(certificate.not_before)} on.",
                remedy="Correct the clock.",
                code="clock_wrong",
            )


def ended(found: Lineage, now: int) -> TlsError | None:
    """Return the error that the root or the issuing CA has ended, None if neither has."""
    for certificate in (found.authority.root, found.authority.issuing):
        if now >= certificate.not_after:
            return TlsError(
                f"The {found.name} CA {certificate.common_name!r} expired on "
                f"{clock.instant(certificate.not_after)}, and all certificates below it with it.",
                remedy=_after_the_end(found, now),
                code="authority_expired",
            )
    return None


def _after_the_end(found: Lineage, now: int) -> str:
    if found.authority.root.not_after > now:
        return renewing.remedy(found)
    if found.current.company is not None:
        how = renewing.next_root(found)
        return f"{how[0].upper()}{how[1:]}"
    return (
        f"Replace the root at once: ansible-playbook pgops.tls.drop_ca, with {option('certificate_authority.drop')}: "
        f"{found.name}."
    )


def expiring(found: Lineage, lifetime: str, source: str, now: int) -> TlsError | None:
    """Return the error, naming ``source``, that an issuing CA has too little of its life left, None if it has not."""
    issuer = found.authority.issuing
    left = issuer.not_after - now
    if left >= durations.seconds(lifetime, source) * LEAST_SHARE:
        return None
    return TlsError(
        f"{source}: {lifetime} was asked for, but the issuing CA {issuer.common_name!r} ends in "
        f"{durations.in_words(left)}, on {clock.instant(issuer.not_after)}, which is less than a third of that.",
        remedy=renewing.remedy(found),
        code="issuing_ca_expiring",
    )


def check_lifetime(authority: Authority, lifetime: str, source: str) -> None:
    """Raise TlsError, naming ``source``, for certificates that would live longer than any issuing CA of this kind."""
    issuer = authority.issuing
    name = f"the issuing CA {issuer.common_name!r} (until {clock.instant(issuer.not_after)})"
    refuse_to_outlive(name, issuer.not_after - issuer.not_before, lifetime, source)


def refuse_to_outlive(issuer: str, life: int, lifetime: str, source: str) -> None:
    """Raise TlsError, naming ``source``, for a lifetime that is longer than the ``life`` (seconds) of an issuer."""
    if lifetime and durations.seconds(lifetime, source) > life:
        raise TlsError(
            f"{source}: {lifetime} is longer than the issuer's: {issuer} lives {durations.in_words(life)}.",
            remedy="A certificate cannot outlive its issuer: choose a shorter lifetime. Nothing was issued.",
            code="lifetime_too_long",
        )
