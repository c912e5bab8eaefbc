# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a generation must be for a roll-back to it: nobody who gets in now may be shut out by it."""

from __future__ import annotations

import contextlib
from typing import Iterator, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.durations import in_words
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem


@contextlib.contextmanager
def explained(name: str, place: str) -> Iterator[None]:
    """Say of every TlsError inside that it keeps generation ``name``, in directory ``place``, from coming back."""
    try:
        yield
    except TlsError as error:
        raise TlsError(
            f"{place}: generation {name}, the previous one, cannot be restored; nothing was changed. {error.message}",
            remedy="Go forward instead: correct what is declared, then run site.yml.",
            code=error.code,
            **error.details,
        ) from error


def refuse_dates(leaf: Certificate, file: str, now: int) -> None:
    """Raise TlsError unless a certificate is valid ``now`` (Unix seconds)."""
    if now >= leaf.not_after:
        raise TlsError(
            f"{file}: its certificate expired {in_words(now - leaf.not_after)} ago.", code="certificate_expired"
        )
    if now < leaf.not_before:
        raise TlsError(
            f"{file}: its certificate is not valid for another {in_words(leaf.not_before - now)}.",
            code="certificate_not_yet_valid",
        )


def refuse_revoked(leaf: Certificate, file: str, revoked: Sequence[str]) -> None:
    """Raise TlsError for a certificate whose serial number (hexadecimal) is among those that are revoked."""
    if f"{leaf.serial:x}" in revoked:
        raise TlsError(f"{file}: its certificate, serial {leaf.serial:x}, is revoked.", code="certificate_revoked")


def refuse_lost_trust(pem: str, declared: Sequence[Certificate], file: str, now: int) -> None:
    """Raise TlsError when a file of trusted authorities lacks a root that is declared and valid ``now``.

    Whoever already has a certificate from that one would be shut out.
    """
    known = {one.der for one in read_pem(pem, file)}
    lost = [
        one.common_name
        for one in declared
        if one.is_self_issued and one.not_before <= now < one.not_after and one.der not in known
    ]
    if lost:
        raise TlsError(
            f"{file}: it does not trust {', '.join(map(repr, lost))}, which is trusted now; clients with a certificate "
            f"from there would be shut out. Is {option('certificate_authority.directory')} the right one?",
            code="trusted_authority_lost",
        )
