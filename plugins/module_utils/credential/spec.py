# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate must be, and which authorities may issue it."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.clock import instant
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_option, read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name, common_name
from ansible_collections.pgops.tls.plugins.module_utils.x509.openssl import KEY_TYPES, Wanted

# How the modules that look after leaves take it; doc fragment credential describes these options
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "key_type": {"type": "str", "choices": list(KEY_TYPES), "default": "P-256", "no_log": False},
    "renew_before": {"type": "str"},
}


class Spec(NamedTuple):
    """What a leaf must be.

    ``common_name`` None: any (a server's names are in its SAN). ``renew_before`` is in seconds before its end; None
    means at two thirds of its life or somewhat earlier, see ``due_at``. The first of ``issuing`` issues now; what the
    others have issued may stay. ``revoked`` are serial numbers in lower-case hexadecimal.

    With a root among ``issuing``, as of a company's CA, a leaf has to be at least this: any CA below that root may have
    issued it, and it may have more names and usages.
    """

    common_name: str | None
    names: Sequence[Name]
    key_type: str
    extended_key_usage: str
    issuing: Sequence[Certificate]
    renew_before: int | None = None
    forced: bool = False
    revoked: Sequence[str] = ()

    @property
    def roots(self) -> list[Certificate]:
        """Return the roots below which any CA may issue the leaf; none if only those of ``issuing`` may."""
        return roots_among(self.issuing)

    @property
    def wanted(self) -> Wanted:
        """Return what a request for the leaf asks for."""
        name = common_name(self.names) if self.common_name is None else self.common_name
        return Wanted(name, self.names, self.extended_key_usage)

    def names_to_come(self, came: Certificate | None) -> Sequence[Name] | None:
        """Return the names of the next leaf. None: its issuer may add some, and it has not come yet (``came``)."""
        return came.names if came else None if self.roots else self.names


class Offer(NamedTuple):
    """The authority that would issue now, then those whose certificates may stay, and all roots that are trusted."""

    issuing: Sequence[Certificate]
    roots: Sequence[Certificate]

    def fitting(self, chain: Sequence[Certificate], now: int) -> list[Certificate]:
        """Return a chain (leaf first) in the form that whoever trusts the roots can verify: see ``x509/chain.py``."""
        return chains.fitting(chain, self.issuing, self.roots, now)


def roots_among(issuing: Sequence[Certificate]) -> list[Certificate]:
    """Return the roots among issuing CAs: then any CA below them may issue."""
    return [one for one in issuing if one.is_self_signed]


def serials(found: object, option: str) -> list[str]:
    """Return serial numbers as this collection writes them, whatever their case. Raises TlsError, naming ``option``."""
    listed = found if isinstance(found, (list, tuple)) else [None]
    for one in listed:
        if not isinstance(one, (str, int)) or not re.fullmatch("[0-9A-Fa-f]{1,40}", str(one)):
            wrong = one if listed is found else found
            raise TlsError(
                f"{option}: found {shown(wrong)}, expected a list of serial numbers in hexadecimal, such as "
                "2c5ac6f1d90e73b2a4.",
                remedy="Write each in quotes, without blanks and colons.",
                code="serial_invalid",
            )
    return [f"{int(str(one), 16):x}" for one in listed]


def authorities(pem: str, option: str) -> list[Certificate]:
    """Return the certificates of authorities in an option. Raises TlsError when there is another kind among them."""
    found = read_option(pem, option)
    for one in found:
        if not one.is_ca:
            raise TlsError(
                f"{option}: expected certificates of authorities, found one of {one.common_name!r}, a leaf.",
                remedy="Remove it.",
                code="certificate_not_ca",
            )
    return found


def anchors(pem: str, option: str) -> list[Certificate]:
    """Return the certificates in an option that somebody trusts. Raises TlsError for a leaf of somebody else's.

    OpenSSL trusts a self-signed leaf, too, for itself alone, as Debian's ssl-cert-snakeoil is one.
    """
    found = read_option(pem, option)
    for one in found:
        if not (one.is_ca or one.is_self_signed):
            raise TlsError(
                f"{option}: expected certificates of authorities, or self-signed ones, found one of "
                f"{one.common_name!r}, a leaf.",
                remedy="Remove it.",
                code="certificate_not_ca",
            )
    return found


def plain_pem(found: Sequence[Certificate]) -> str:
    """Return certificates as one PEM text with nothing else in it."""
    return "".join(one.pem for one in found)


def anchor_warnings(found: Sequence[Certificate], option: str, now: int) -> list[str]:
    """Return what is trusted to no effect at the time ``now`` (Unix seconds), in words."""
    warnings = [
        f"{option}: {_named(one)} is valid only from {instant(one.not_before)} to {instant(one.not_after)}. OpenSSL "
        "refuses it now, and every certificate below it. This run keeps it. Remove or replace it."
        for one in found
        if not one.not_before <= now < one.not_after
    ]
    first: dict[bytes, Certificate] = {}
    for one in found:
        is_vague = not (one.is_ca or one.authority_key_id) and one.not_before <= now < one.not_after
        if is_vague and first.setdefault(one.subject, one).der != one.der:
            warnings.append(
                f"{option}: {_named(one)} has the same name as a self-signed certificate before it. OpenSSL uses only "
                "the first one. Put the one in use first, or reissue one of them under another name."
            )
    return warnings


def _named(one: Certificate) -> str:
    return repr(one.common_name) if one.common_name else f"the certificate with serial number {one.serial:x}"


def refuse_without_root(found: Sequence[Certificate], option: str, now: int) -> None:
    """Raise TlsError, naming ``option``, when no root among ``found`` is valid ``now`` (Unix seconds).

    libpq and OpenSSL trust nothing else.
    """
    if not any(one.is_self_signed and one.not_before <= now < one.not_after for one in found):
        raise TlsError(
            f"{option}: expected at least one self-signed root that is valid now, found "
            f"{', '.join(repr(one.common_name) for one in found)}. Trust needs the root itself.",
            code="root_missing",
        )


def refuse_without_roots(pems: Mapping[str, str], now: int) -> None:
    """Do so for the authorities (PEM) of each option: clients, or the host, would accept nobody."""
    for option, pem in pems.items():
        refuse_without_root(read_pem(pem, option), option, now)
