# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates: who made one, until when it is valid, and what it revokes. No signature is verified.

A program that checks the certificates of a chain with lists needs a current list from every authority in that chain: a
missing or stale list keeps everybody out.
"""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.clock import instant
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_CRL = re.compile(rb"-----BEGIN X509 CRL-----\s+([A-Za-z0-9+/=\s]+?)-----END X509 CRL-----")
_BLOCK = re.compile(r"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")
_NUMBER = "2.5.29.20"
_TIMES = (0x17, 0x18)
_NAMED = 10  # serial numbers that a message names
_OURS = re.compile(r"PostgreSQL .+ (?:root|issuing) CA [0-9a-f]{8}")  # as authority/issuing.py names CAs
# Seconds until the next nightly run at the latest: what ends before that cannot be replaced in time
NEXT_RUN = 36 * 3600
_NEVER = 253402300799  # what RFC 5280 has for it: 9999-12-31T23:59:59Z
_RENEWED = {
    True: "Run site.yml, which makes a new list.",
    False: "Have that CA make a new list, put it in place of this one, and run site.yml.",
}


class RevocationList(NamedTuple):
    """One list. Times are Unix seconds, the key identifier lower-case hexadecimal; ``revoked`` is read by ``serials``.

    ``next_update`` is when it ends; ``number`` rises from one list of an authority to the next, 0 when there is none.
    """

    encoded: bytes
    issuer: bytes
    issuer_common_name: str
    authority_key_id: str
    number: int
    this_update: int
    next_update: int
    revoked: bytes

    @property
    def is_ours(self) -> bool:
        """Return whether a CA of this collection made it. All others forget certificates that have ended."""
        return _OURS.fullmatch(self.issuer_common_name) is not None

    @property
    def pem(self) -> str:
        """Return the list as one PEM block."""
        text = base64.b64encode(self.encoded).decode("ascii")
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        return f"-----BEGIN X509 CRL-----\n{lines}\n-----END X509 CRL-----\n"

    def serials(self) -> frozenset[int]:
        """Return the serial numbers of the certificates that it revokes."""
        entries = der.read_all(self.revoked)
        return frozenset(int.from_bytes(next(der.read_all(entry.body)).body, "big", signed=True) for entry in entries)

    def is_of(self, authority: Certificate) -> bool:
        """Return whether this authority made the list, by its name and the identifier of its key."""
        return self.issuer == authority.subject and self.authority_key_id in ("", authority.subject_key_id)


def read_pem(text: str, source: str) -> list[RevocationList]:
    """Return the lists of a PEM text in its order, none for ''. ``source`` (a path or option) names it in errors.

    Raises TlsError for one that cannot be read, and for a text that is not empty and has none.
    """
    content = text.encode("utf-8", "surrogateescape")
    blocks = _CRL.findall(content)
    if len(blocks) != content.count(b"-----BEGIN X509 CRL-----") or (content.strip() and not blocks):
        raise TlsError(
            f"{source}: expected lists of revoked certificates (CRLs) in PEM, found {_glimpse(text)}.",
            remedy="Give each whole, from its BEGIN to its END line, and no key.",
            code="crl_not_pem",
        )
    try:
        return [_read(base64.b64decode(b"".join(block.split()), validate=True)) for block in blocks]
    except (IndexError, ValueError, StopIteration, KeyError, UnicodeDecodeError) as error:
        raise TlsError(
            f"{source}: the list of revoked certificates in it is damaged ({error}).",
            remedy="Copy it again.",
            code="crl_damaged",
        ) from error


def _glimpse(text: str) -> str:
    """Say what a text is without printing it: it might hold a key."""
    if "PRIVATE KEY" in text:
        return "a private key"
    return "certificates" if "BEGIN CERTIFICATE-" in text else f"{len(text)} characters that are no whole list"


def blocks(text: str) -> str:
    """Return the lists in a PEM text that holds other things, too; '' when there are none. They are not read."""
    return "".join(f"{found}\n" for found in _BLOCK.findall(text))


def about(pem: bytes, authorities: Iterable[Certificate]) -> list[Certificate]:
    """Return those authorities that a list of a PEM text is from. A damaged list is about nobody: none can load it."""
    lists = list(_readable(pem))
    return [one for one in authorities if any(found.is_of(one) for found in lists)]


def serials_of(pem: bytes, authorities: Sequence[Certificate]) -> set[int]:
    """Return the serial numbers that the lists of a PEM text revoke of what these authorities have issued."""
    lists = [found for found in _readable(pem) if any(found.is_of(one) for one in authorities)]
    return {serial for found in lists for serial in found.serials()}


def refuse_gaps(pem: str, authorities: Sequence[Certificate], source: str, now: int) -> None:
    """Raise TlsError unless each authority has a list in ``pem``, and each list is good ``now`` (Unix seconds)."""
    lists = read_pem(pem, source)
    for one in lists:
        if not one.this_update <= now < one.next_update:
            raise TlsError(
                f"{source}: the list of revoked certificates of {one.issuer_common_name!r} is valid from "
                f"{instant(one.this_update)} to {instant(one.next_update)}, and now it is {instant(now)}. With this "
                "list every certificate would be refused.",
                remedy=f"{_RENEWED[one.is_ours]} If the clock is wrong, correct it.",
                code="crl_not_current",
            )
    for authority in authorities:
        if not any(one.is_of(authority) for one in lists):
            raise TlsError(
                f"{source}: there is no list of revoked certificates of {authority.common_name!r}, which is trusted. "
                "Every certificate that it issued would be refused.",
                remedy="Give a list of every trusted authority.",
                code="crl_missing",
            )


def ending(pem: str, source: str, now: int) -> list[str]:
    """Return a warning for each list that may end before another run replaces it. ``now`` is in Unix seconds."""
    return [
        f"{source}: the list of revoked certificates of {one.issuer_common_name!r} "
        f"{'has ended' if one.next_update <= now else 'ends'} on {instant(one.next_update)}. From then on every "
        f"certificate of that CA is refused. {_RENEWED[one.is_ours]}"
        for one in _readable(pem.encode("ascii", "replace"))
        if one.next_update <= now + NEXT_RUN
    ]


def refuse_to_forget(
    deployed: bytes | None, coming: str, trusted: Sequence[Certificate], source: str, authority: str, *, now: int
) -> None:
    """Raise TlsError when lists that are in use revoke more than those of the same CAs that are to take their place.

    No list of ours ever revokes less than the one before, so ``coming`` is older. Another CA forgets certificates that
    have ended, so a later list of it may revoke less. Without any list coming, those in use count as long as an
    authority of theirs stays trusted; but lists of others may all go when one of them ends before the next run.
    ``authority`` is whose lists they are: server or client. ``now`` is in Unix seconds.
    """
    before, after = (list(_readable(pem)) for pem in (deployed or b"", coming.encode("ascii", "replace")))
    lost = _lost(before, after, trusted, now)
    if lost:
        serials = sorted(f"{serial:x}" for serial in lost)
        more = f" and {len(serials) - _NAMED} more" if len(serials) > _NAMED else ""
        entries = ", ".join(f'{{serial: "{serial}", authority: {authority}}}' for serial in serials[:_NAMED])
        raise TlsError(
            f"{source}: the lists of revoked certificates in use revoke {', '.join(serials[:_NAMED])}{more}, but the "
            "new lists do not: anyone with the keys could log in again. The directory of the authorities is older "
            "than these lists, or another CA issues now and gives no lists.",
            remedy="Restore the directory's newest backup, or revoke them again: "
            f"{option('certificate_authority.revoked')}: [{entries}]. If another CA issues now, have its source give "
            "lists. Then rerun. Nothing was changed on this host.",
            code="revocations_lost",
        )


def _lost(
    before: Sequence[RevocationList], after: Sequence[RevocationList], trusted: Sequence[Certificate], now: int
) -> set[int]:
    """Return the serial numbers that lists revoke, and those that take their place do not, although they should."""
    is_known = any(one.is_of(each) for one in before for each in trusted)
    is_ending = any(not one.is_ours and one.next_update <= now + NEXT_RUN for one in before)
    lost: set[int] = set()
    for one in before:
        same = [each for each in after if (each.issuer, each.authority_key_id) == (one.issuer, one.authority_key_id)]
        is_replaced = any(each.this_update > one.this_update for each in same)
        may_forget = not one.is_ours and (is_replaced if same else is_ending)
        if not may_forget and (same or (not after and is_known)):
            lost |= one.serials().difference(*(each.serials() for each in same))
    return lost


def _readable(pem: bytes) -> Iterable[RevocationList]:
    for block in _CRL.findall(pem):
        with contextlib.suppress(IndexError, ValueError, StopIteration, KeyError):
            yield _read(base64.b64decode(block))


def _read(encoded: bytes) -> RevocationList:
    outer, end = der.read(encoded)
    if outer.tag != 0x30 or end != len(encoded):
        raise ValueError("not one DER sequence")
    fields = list(der.read_all(next(der.read_all(outer.body)).body))
    if fields[0].tag == 0x02:
        fields = fields[1:]  # the version
    _signature, issuer, this_update = fields[:3]
    times = [field for field in fields[3:4] if field.tag in _TIMES]
    rest = fields[3 + len(times) :]
    extensions = der.extensions(rest, 0xA0)
    number = extensions.get(_NUMBER)
    return RevocationList(
        encoded=encoded,
        issuer=issuer.whole,
        issuer_common_name=der.common_name(issuer.whole),
        authority_key_id=der.authority_key_id(extensions.get(der.AUTHORITY_KEY_ID)),
        number=int.from_bytes(der.read(number)[0].body, "big") if number else 0,
        this_update=der.moment(this_update),
        next_update=der.moment(times[0]) if times else _NEVER,
        revoked=rest[0].body if rest and rest[0].tag == 0x30 else b"",
    )
