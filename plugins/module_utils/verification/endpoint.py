# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the TLS of any PostgreSQL endpoint without logging in, and compare it with what is wanted."""

from __future__ import annotations

import ssl
import time
from typing import Any, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange, wire
from ansible_collections.pgops.tls.plugins.module_utils.verification import trust
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names, openssl, rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_option, read_pem

_LONGEST_WAIT = 3600  # seconds


class Wanted(NamedTuple):
    """What an endpoint must show: names in the leaf, a chain to one of ``roots`` (PEM), days before its end.

    ``trust_files`` are paths of files with roots that are compared with what it shows. They are no requirement.
    """

    names: Sequence[str] = ()
    roots: str = ""
    min_days: int | None = None
    trust_files: Sequence[str] = ()


def probe(endpoint: wire.Endpoint, wanted: Wanted, now: int, *, direct: bool = False) -> dict[str, Any]:
    """Return what the endpoint shows. ``now`` is in Unix seconds.

    Raises TlsError when nobody answers with TLS, and, with the same facts in its details, when something is not as
    wanted.
    """
    names.refuse_port(endpoint.port, "port")
    if not 0 < endpoint.timeout <= _LONGEST_WAIT:
        raise TlsError(
            f"timeout: found {endpoint.timeout:g} s, expected 1 to {_LONGEST_WAIT} s.", code="timeout_out_of_range"
        )
    expected = [names.parse(name, "names") for name in wanted.names]
    context = _verifying_context(wanted.roots) if wanted.roots else None
    trusted = {path: _roots_in(path) for path in wanted.trust_files}
    shown = wire.observe(endpoint, direct=direct)
    tried = expected or [names.parse(endpoint.name or endpoint.host, "host")] if trusted else []
    rows = {path: against(endpoint, shown, roots, tried, now, direct=direct) for path, roots in trusted.items()}
    facts: dict[str, Any] = {
        "chain": [describe(certificate, now) for certificate in shown.chain],
        "root": trust.root_of(shown.chain, [one for roots in trusted.values() for one in roots]).subject,
        "protocol": shown.protocol,
        "cipher": shown.cipher,
        "group": group(endpoint, direct=direct),
        "trust": [{"file": path, **row} for path, row in rows.items()],
    }
    faults = [*_missing(expected, shown.leaf), *_too_old(shown.leaf, wanted.min_days, now)]
    if context is not None:
        faults += _unverified(endpoint, context, direct=direct)
    if faults:
        raise TlsError(f"{endpoint}: {' '.join(faults)}", code="endpoint_not_as_wanted", **facts)
    return facts


def against(
    endpoint: wire.Endpoint,
    shown: wire.Handshake,
    roots: Sequence[Certificate],
    wanted: Sequence[names.Name],
    now: int,
    *,
    direct: bool = False,
) -> dict[str, Any]:
    """Return what clients that trust ``roots`` do at an endpoint, as trust.py has it. ``shown`` is what it shows.

    A handshake tries the chain, as sslmode=verify-ca does. Raises TlsError when nobody answers it.
    """
    context = rehearsal.client_context("".join(one.pem for one in roots), check_name=False)
    refused = ""
    try:
        shown = wire.observe(endpoint, context, direct=direct)
    except TlsError as error:
        if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise
        refused = rehearsal.reason(error.__cause__)
    return trust.row(roots, shown.chain, wanted, refused, now)


def group(endpoint: wire.Endpoint, *, direct: bool) -> str:
    """Return the group of the key exchange that clients of this host's OpenSSL get, '' if it cannot be seen.

    Python's own handshake does not show it before 3.15.
    """
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    try:
        printed = openssl.handshake(f"{host}:{endpoint.port}", endpoint.name, endpoint.timeout, direct=direct)
    except TlsError:
        return ""
    return key_exchange.negotiated(printed)


def _roots_in(path: str) -> list[Certificate]:
    """Return the certificates in a file of roots on this host. Raises TlsError."""
    try:
        content = files.read(path)
    except OSError as error:
        raise TlsError(f"trust_files: {path}: {error.strerror}.", code="trust_file_unreadable") from error
    if content is None:
        raise TlsError(f"trust_files: {path} does not exist on this host.", code="trust_file_unreadable")
    return read_pem(content.decode("ascii", "replace"), f"trust_files: {path}")


def describe(certificate: Certificate, now: int) -> dict[str, Any]:
    """Return the facts of a certificate for a report; times are ISO 8601 in UTC, ``days_left`` whole days."""
    return {
        "subject": certificate.common_name,
        "issuer": certificate.issuer_common_name,
        "names": [name.value for name in certificate.names],
        "not_before": _iso(certificate.not_before),
        "not_after": _iso(certificate.not_after),
        "days_left": (certificate.not_after - now) // trust.DAY,
        "key_type": certificate.key_type,
        "serial": f"{certificate.serial:x}",
        "sha256": certificate.sha256,
    }


def _missing(expected: Sequence[names.Name], leaf: Certificate) -> list[str]:
    missing = [name.value for name in expected if not names.covers(leaf.names, name)]
    named = ", ".join(name.value for name in leaf.names) or "none"
    return [f"The certificate lacks the names {', '.join(missing)}; it holds {named}."] if missing else []


def _too_old(leaf: Certificate, min_days: int | None, now: int) -> list[str]:
    days_left = (leaf.not_after - now) // trust.DAY
    if min_days is None or days_left >= min_days:
        return []
    return [f"The certificate ends on {_iso(leaf.not_after)}, in {days_left} days; expected at least {min_days}."]


def _unverified(endpoint: wire.Endpoint, context: ssl.SSLContext, *, direct: bool) -> list[str]:
    try:
        wire.observe(endpoint, context, direct=direct)
    except TlsError as error:
        return [f"Against the given roots, {error.message}"]
    return []


def _verifying_context(roots: str) -> ssl.SSLContext:
    """Return a client that verifies chain and name, as sslmode=verify-full does. Raises TlsError for bad PEM."""
    read_option(roots, "roots")
    return rehearsal.client_context(roots)


def _iso(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
