# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections by which servers replicate from others: what both of their ends show, taken together."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import (
    DISCONNECTED,
    EXPIRED,
    EXPIRES,
    MISSING,
    NOT_VERIFIED,
    OLD,
    PLAINTEXT,
    STANDBY,
    UNREADABLE,
)

TLS, NONE = "tls", "none"  # as module session_info calls it
LOCAL = "local"
# What the mode of a connection says of it where its other end was not asked
_BY_MODE = {"disable": NONE, "require": TLS, "verify-ca": TLS, "verify-full": TLS}
_VERIFIED = {"verify-full": "verified", "verify-ca": "encrypted, its name is not verified"}
_IN_WORDS = {NONE: "plaintext", LOCAL: "Unix socket", "gss": "GSSAPI"}
_LONGEST = 63  # bytes of a name that PostgreSQL keeps
# What to do about a finding and, where a run does it by itself, why to start one
_URGENT = {
    DISCONNECTED: "find out why {0} is not connected (see the log of its server)",
    MISSING: "restore the files of {0}: one cannot be read, and the next connection fails",
    EXPIRED: "renew the certificate of {0}: it has ended, and the next connection fails",
    UNREADABLE: "correct the connection string of {0}",
}
_LATER = {
    EXPIRES: "renew the certificate of {0}: it ends soon",
    PLAINTEXT: "set sslmode=verify-full for {0}: it may replicate in plaintext",
    NOT_VERIFIED: "set sslmode=verify-full for {0}: any server could answer it",
    OLD: "reconnect {0}: it still uses the certificate from before the last renewal",
}
_BY_RUN = {
    PLAINTEXT: "run pgops.tls.site: {0} may replicate in plaintext",
    NOT_VERIFIED: "run pgops.tls.site: any server could answer {0}",
    OLD: "run pgops.tls.site: {0} still uses the certificate from before the last renewal",
}


def completed(one: Mapping[str, Any], known: Mapping[str, Any], senders: Mapping[str, Any]) -> dict[str, Any]:
    """Return a connection with what its other end shows of it.

    ``known`` is what the inventory says: the servers that it leads to (``upstreams``), and whether runs manage it
    (``is_managed``). ``senders`` are the sessions for replication by server, of those that answered.
    """
    upstreams = [str(host) for host in known.get("upstreams") or ()]
    alike = [other for host in upstreams for other in senders.get(host, ()) if _is_alike(one, other)]
    serial = _serial_in_use(one, [other["serial"] for other in alike])
    is_old = bool(serial and one["serial"]) and serial != one["serial"]
    return {
        **one,
        "upstreams": upstreams,
        "is_managed": bool(known.get("is_managed")),
        "encryption": _encryption(one, {str(other["encryption"]) for other in alike}),
        "serial_in_use": serial,
        "findings": [*one["findings"], *([OLD] if is_old and OLD not in one["findings"] else [])],
    }


def _is_alike(one: Mapping[str, Any], session: Mapping[str, Any]) -> bool:
    """Return whether a session could be that of a connection: several standbys may have one name."""
    is_its_role = one["role"] in ("", session["role"])
    return is_its_role and session["application"] == one["application"][:_LONGEST]


def _encryption(one: Mapping[str, Any], seen: set[str]) -> str | None:
    """Return how a connection is encrypted, None where that is not certain."""
    if one["since"] is None or UNREADABLE in one["findings"]:
        return None
    if one["is_local"]:
        return LOCAL
    return next(iter(seen)) if len(seen) == 1 else _BY_MODE.get(one["sslmode"])


def _serial_in_use(one: Mapping[str, Any], seen: Sequence[str]) -> str | None:
    """Return the certificate that the other end sees: '' for none, None where that is not certain."""
    if one["since"] is None or not seen:
        return None
    if len(set(seen)) == 1:
        return seen[0]
    is_its_own = one["serial"] in seen and OLD not in one["findings"]
    return str(one["serial"]) if is_its_own else None


def of(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield host, server and connection for each connection of a report."""
    for host, server in data["servers"].items():
        for one in server.get("replication", ()):
            yield host, server, one


def leads_to(one: Mapping[str, Any]) -> str:
    """Return where a connection leads: the servers of the inventory that it names, else what it names."""
    return ", ".join(one["upstreams"]) or one["target"] or "unknown"


def security(one: Mapping[str, Any]) -> str:
    """Return in words whether a connection is encrypted, and whether it verifies who answers."""
    if one["encryption"] is None:
        return "unknown"
    return _IN_WORDS.get(one["encryption"]) or _VERIFIED.get(one["sslmode"], "encrypted, not verified")


def urgent(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do about connections that fail, or are going to."""
    return _to_do(data, _URGENT)


def later(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do about all others that need attention."""
    return _to_do(data, _LATER)


def _to_do(data: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for host, _server, one in of(data):
        own = {**words, **_BY_RUN} if one["is_managed"] else words
        whose = f"standby {host}" if one["kind"] == STANDBY else f"subscription {one['name']} of {host}"
        yield from (own[finding].format(whose) for finding in words if finding in one["findings"])
