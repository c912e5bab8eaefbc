# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the TLS of any PostgreSQL endpoint without logging in, and compare it with what is wanted."""

from __future__ import annotations

import ssl
import time
from typing import Any, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names, rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_option

_DAY = 86400
_LONGEST_WAIT = 3600  # seconds


class Wanted(NamedTuple):
    """What an endpoint must show: names in the leaf, a chain to one of ``roots`` (PEM), days before its end."""

    names: Sequence[str] = ()
    roots: str = ""
    min_days: int | None = None


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
    shown = wire.observe(endpoint, direct=direct)
    facts: dict[str, Any] = {
        "chain": [describe(certificate, now) for certificate in shown.chain],
        "protocol": shown.protocol,
        "cipher": shown.cipher,
    }
    faults = [*_missing(expected, shown.leaf), *_too_old(shown.leaf, wanted.min_days, now)]
    if context is not None:
        faults += _unverified(endpoint, context, direct=direct)
    if faults:
        raise TlsError(f"{endpoint}: {' '.join(faults)}", code="endpoint_not_as_wanted", **facts)
    return facts


def describe(certificate: Certificate, now: int) -> dict[str, Any]:
    """Return the facts of a certificate for a report; times are ISO 8601 in UTC, ``days_left`` whole days."""
    return {
        "subject": certificate.common_name,
        "issuer": certificate.issuer_common_name,
        "names": [name.value for name in certificate.names],
        "not_before": _iso(certificate.not_before),
        "not_after": _iso(certificate.not_after),
        "days_left": (certificate.not_after - now) // _DAY,
        "key_type": certificate.key_type,
        "serial": f"{certificate.serial:x}",
        "sha256": certificate.sha256,
    }


def covers(found: Sequence[names.Name], wanted: names.Name) -> bool:
    """Return whether a certificate's names cover a name; a wildcard stands for exactly one label."""
    _label, _dot, parent = wanted.value.partition(".")
    return wanted in found or (wanted.kind == "dns" and names.Name("dns", f"*.{parent}") in found)


def _missing(expected: Sequence[names.Name], leaf: Certificate) -> list[str]:
    missing = [name.value for name in expected if not covers(leaf.names, name)]
    named = ", ".join(name.value for name in leaf.names) or "none"
    return [f"The certificate lacks the names {', '.join(missing)}; it holds {named}."] if missing else []


def _too_old(leaf: Certificate, min_days: int | None, now: int) -> list[str]:
    days_left = (leaf.not_after - now) // _DAY
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
