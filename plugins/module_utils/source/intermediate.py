# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a company signed can be our issuing CA: each difference in words, as ``openssl x509 -text`` has them."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.source import checking, open_requests
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509


class Wanted(NamedTuple):
    """What an issuing CA must allow: certificates for ``purpose`` (an OID) that live for ``lifetime`` seconds."""

    purpose: str
    lifetime: int


class Chain(NamedTuple):
    """An issuing CA, the CAs above it, and the root."""

    issuing: Certificate
    above: Sequence[Certificate]
    root: Certificate


def chain(
    found: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate], wanted: Wanted, now: int
) -> Chain:
    """Return a certificate with the CAs up to a root. ``others`` may be any certificates, ``now`` is in Unix seconds.

    Raises TlsError with all differences from what an issuing CA has to be.
    """
    others = [one for one in checking.usable(others, now) if one.der != found.der]
    above = checking.way_up(found, others, roots)
    root = None if above is None else checking.root_of([found, *above][-1], roots)
    differences = [*_of_extensions(found), *_of_dates(found, wanted.lifetime, now)]
    if above is None or root is None:
        raise checking.not_as_requested([*differences, checking.no_way(found, roots)])
    differences += _of_chain([found, *above, root], wanted)
    if differences:
        raise checking.not_as_requested(differences)
    return Chain(found, above, root)


def _of_extensions(found: Certificate) -> Iterator[str]:
    if not found.is_ca:
        yield "basicConstraints: CA:FALSE instead of CA:TRUE"
    usage = _extension(found, "KeyUsage")
    if usage is not None:
        lacking = {"keyCertSign": usage.key_cert_sign, "cRLSign": usage.crl_sign}
        yield from (f"keyUsage: {name} is missing" for name, is_there in lacking.items() if not is_there)
    if not found.subject_key_id:
        yield "subjectKeyIdentifier: it is missing"


def _of_dates(found: Certificate, lifetime: int, now: int) -> Iterator[str]:
    if now < found.not_before:
        yield f"dates: it is valid only from {clock.instant(found.not_before)} on"
    left = found.not_after - now
    if left <= 0:
        yield f"dates: it ended on {clock.instant(found.not_after)}"
    elif left <= lifetime:
        yield (
            f"dates: it ends on {clock.instant(found.not_after)}, in {durations.in_words(left)}, and certificates are "
            f"to live {durations.in_words(lifetime)}"
        )


def _of_chain(links: Sequence[Certificate], wanted: Wanted) -> Iterator[str]:
    """Name what the CAs of a chain (ours first, the root last) do not allow."""
    for below, one in enumerate(links):
        allowed = _extension(one, "BasicConstraints")
        if below and allowed is not None and allowed.path_length is not None and allowed.path_length < below:
            yield f"pathlen: {one.common_name!r} has {allowed.path_length}, and {below} CAs are below it"
        # OpenSSL wants the purpose of each CA that names any, and does not count anyExtendedKeyUsage
        if one.extended_key_usage and wanted.purpose not in one.extended_key_usage:
            yield f"extendedKeyUsage: that of {one.common_name!r} does not allow {open_requests.USAGES[wanted.purpose]}"


def _extension(found: Certificate, name: str) -> Any:
    try:
        loaded = x509.load_der_x509_certificate(found.der).extensions
        return loaded.get_extension_for_class(getattr(x509, name)).value
    except x509.ExtensionNotFound:
        return None
