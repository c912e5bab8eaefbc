# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a chain on disk must be so that the strictest client gets in with it: a pure decision.

pgjdbc shows its certificate only if the server names the issuer of the last certificate in the file. So each one in a
chain, and the last one above all, has to be on a way to a root that is trusted now.
"""

from __future__ import annotations

from typing import Iterable, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def fitting(
    chain: Sequence[Certificate], between: Iterable[Certificate], roots: Sequence[Certificate], now: int
) -> list[Certificate]:
    """Return a chain (leaf first) without what leads to no trusted root, from issued to issuer.

    ``between`` is what the authority gives out with certificates at present, ``roots`` are those that are trusted;
    ``now`` is in Unix seconds. A chain that leads to none of them stays as it is: its leaf must be issued again. With a
    root ``between``, any CA may be between a leaf and that root.
    """
    given_out = {one.der for one in between}
    is_any = any(one.is_self_signed for one in between)
    usable = {
        one.der: one
        for one in chain[1:]
        if (one.der in given_out or is_any) and one.not_before <= now < one.not_after and not one.is_self_signed
    }
    above = _above(chain[0], list(usable.values()), roots)
    return list(chain) if above is None else [chain[0], *above]


def difference(before: Sequence[Certificate], after: Sequence[Certificate]) -> str:
    """Return in words how a chain changes whose leaf stays."""
    gone, new = _named(before, after), _named(after, before)
    parts = [f"{word} {', '.join(found)}" for word, found in (("without", gone), ("with", new)) if found]
    return " and ".join(parts) or "in the order of its issuers"


def _named(found: Sequence[Certificate], others: Sequence[Certificate]) -> list[str]:
    return [f"{one.common_name!r} signed by {one.issuer_common_name!r}" for one in found if one not in others]


def pem(chain: Iterable[Certificate]) -> bytes:
    """Return the bytes of a file with these certificates."""
    return "".join(one.pem for one in chain).encode("ascii")


def is_issued_by(one: Certificate, issuer: Certificate) -> bool:
    """Return whether name and key identifier of an issuer are those that a certificate names; no signature is read.

    Some CAs of companies have no identifier, or leave it out of their certificates.
    """
    named, own = one.authority_key_id, issuer.subject_key_id
    return one.issuer == issuer.subject and (named == own or not named or not own)


def leads_to(chain: Sequence[Certificate], roots: Sequence[Certificate]) -> bool:
    """Return whether a way leads from a leaf, by the CAs behind it, to one of the roots; no signature is read."""
    return _above(chain[0], [one for one in chain[1:] if one.is_ca and not one.is_self_signed], roots) is not None


def _above(one: Certificate, usable: Sequence[Certificate], roots: Sequence[Certificate]) -> list[Certificate] | None:
    """Return what is on the ways from a certificate to a root, None when no way leads there."""
    found: dict[bytes, Certificate] = {}
    leads_there = any(is_issued_by(one, root) for root in roots)
    for issuer in usable:
        if is_issued_by(one, issuer):
            further = _above(issuer, [other for other in usable if other is not issuer], roots)
            if further is not None:
                leads_there = True
                found.update({other.der: other for other in (issuer, *further)})
    return list(found.values()) if leads_there else None
