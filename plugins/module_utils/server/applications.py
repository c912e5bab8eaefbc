# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which applications are connected to a server over the network, and what TLS of theirs the server can prove.

A server sees whether a session is encrypted, and which client certificate it has verified. It cannot see whether the
client has verified the server. Only a session without TLS is certain: nothing was verified in it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Sequence

KEY = ("application", "role", "database", "address")  # what tells applications apart
ALL, SOME, NONE = "all", "some", "none"  # of the sessions


def of(sessions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each application in sessions as module session_info returns them, without those of the socket.

    PostgreSQL does not say which driver a client uses. ``application_name`` often does.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for one in sessions:
        if one["address"] is not None:
            groups.setdefault(tuple(one[name] or "" for name in KEY), []).append(one)
    return [{**dict(zip(KEY, key)), **_facts(groups[key])} for key in sorted(groups)]


def _facts(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def values(name: str) -> list[str]:
        return sorted({one[name] for one in sessions if one[name]})

    return {
        "sessions": len(sessions),
        "tls": _share(sessions, lambda one: one["encryption"] == "tls"),
        "protocols": values("protocol"),
        "ciphers": values("cipher"),
        "client_certificate": _share(sessions, lambda one: bool(one["serial"])),
        "serials": values("serial"),
        "issuers": values("issuer"),
    }


def _share(sessions: Sequence[Mapping[str, Any]], has: Callable[[Mapping[str, Any]], bool]) -> str:
    count = sum(map(has, sessions))
    return ALL if count == len(sessions) else SOME if count else NONE
