# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates that come with a source, and when they can be used.

PostgreSQL and libpq that check one list want one of every CA in a chain, and a list that has ended refuses everybody.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import NEXT_RUN, RevocationList

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding


_SHORT = 4 * 86_400  # of a list's life that is left: time to do something


class Lists(NamedTuple):
    """The lists to deploy (PEM; '' for none), the serial numbers that they revoke, and what to warn of."""

    crls: str
    revoked: Sequence[str]
    warnings: Sequence[str]


def read(texts: Iterable[str], owners: Sequence[Certificate], place: str, now: int, *, are_used: bool) -> Lists:
    """Return the lists among ``texts`` (PEM) that are signed by one of the ``owners``. ``now`` is in Unix seconds.

    None is deployed as long as nothing is revoked, like those of the own authorities, unless lists ``are_used``. One
    that ends before the next run is not deployed either: from then on it would refuse everybody.
    """
    found: dict[bytes, Any] = {}
    for text in texts:
        with contextlib.suppress(ValueError):
            one = x509.load_pem_x509_crl(text.encode("ascii", "replace"))
            owner = next((ca for ca in owners if _is_of(one, ca)), None)
            if owner is not None:
                found[owner.der] = one
    revoked = sorted({f"{entry.serial_number:x}" for one in found.values() for entry in one})
    if not revoked and not are_used:
        return Lists("", [], [])
    missing = [ca.common_name for ca in owners if ca.der not in found]
    ended = [clock.instant(_end(one)) for one in found.values() if _end(one) <= now + NEXT_RUN]
    if missing or ended:
        why = f"there is no list of {', '.join(map(repr, missing))}" if missing else f"one ends on {ended[0]}"
        return Lists("", revoked, [_not_deployed(place, why, len(revoked))] if revoked else [])
    pem = "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in found.values())
    return Lists(pem, revoked, [_ending(place, one) for one in found.values() if _end(one) <= now + _SHORT])


def of_holders(
    found: Sequence[RevocationList],
    owners: Sequence[Certificate],
    held: Mapping[str, str],
    place: str,
    now: int,
    *,
    are_used: bool,
) -> Lists:
    """Return a company's lists if they revoke a certificate that is ``held``: serial numbers, and who issued each.

    Also if lists ``are_used``. A company's list is long, and has little to do with this fleet. Issuers are key
    identifiers; a list of each is needed, whether or not its CA is among the ``owners``.
    """
    texts = [one.pem for one in sorted(found, key=lambda one: one.this_update)]
    done = read(texts, owners, place, now, are_used=are_used)
    revoked = sorted(set(done.revoked).intersection(held))
    unknown = sorted(set(filter(None, held.values())).difference(one.subject_key_id for one in owners))
    if (revoked or are_used) and unknown and done.crls:
        why = f"the CA with the key identifier {unknown[0]} is not known, which has issued certificates in use"
        return Lists("", revoked, [_not_deployed(place, why, len(revoked))] if revoked else [])
    return done._replace(revoked=revoked) if revoked or are_used else Lists("", [], [])


def _is_of(found: Any, owner: Certificate) -> bool:
    loaded = x509.load_der_x509_certificate(owner.der)
    return bool(found.issuer == loaded.subject and found.is_signature_valid(loaded.public_key()))


def _end(found: Any) -> int:
    """Return when a list ends, in Unix seconds; one without an end never does."""
    end = found.next_update_utc if hasattr(found, "next_update_utc") else found.next_update  # since cryptography 42
    return 1 << 62 if end is None else int(clock.seconds(end.strftime("%Y-%m-%dT%H:%M:%SZ")))


def _ending(place: str, found: Any) -> str:
    return (
        f"{place}: a list of revoked certificates ends on {clock.instant(_end(found))}. Shortly before that, runs take "
        "all lists away, because an ended one refuses everybody: then revoked certificates are accepted again. Have "
        "the CA make a new list in time, with a longer life."
    )


def _not_deployed(place: str, why: str, count: int) -> str:
    return (
        f"{place}: {count} certificates are revoked there, but servers and clients cannot check that: {why}, and they "
        "want a list of every CA in a chain that outlives the next nightly run. Holders in this inventory get new "
        "certificates. To shut a role out, take its right to log in (ALTER ROLE ... NOLOGIN)."
    )
