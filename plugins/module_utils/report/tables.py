# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions as lines for a person. Roles and application names are what clients chose: they are shown, never obeyed."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

HEADINGS = ("SERVER", "ROLE", "DATABASE", "ADDRESS", "APPLICATION", "SINCE", "FINDINGS")
OLD = ("revoked_certificate", "old_certificate", "other_issuer", "old_server_certificate")
NAMES = ("application", "role", "database", "address")  # of an application
SECURITY = ("TLS", "cipher", "client certificate", "issued by", "verifies server")  # what is known of it
SHARES = ("all", "some", "none")  # of its sessions
# What is certain: a server does not see whether its clients verify it
_VERIFIES = {"all": "not visible", "some": "not visible, or not by TLS", "none": "not by TLS"}
_LONGEST = 63  # characters of a cell: as long as PostgreSQL's names are in bytes


def printable(value: object) -> str:
    """Return a value on one line, with letters that steer a terminal or the direction of writing as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in str(value))


def session_lines(results: Mapping[str, Mapping[str, Any]], findings: Sequence[str] = OLD) -> list[str]:
    """Return an aligned line for each session with one of the ``findings``, and a last one that counts.

    ``results`` are those of module session_info by server; one without sessions has a line, too.
    """
    rows = [row for server, result in results.items() for row in _rows(server, result, findings)]
    asked = f"{len(rows)} sessions on {_asked(results, 'sessions')} servers"
    return [*(aligned([HEADINGS, *rows]) if rows else []), *_silent(results, "sessions"), asked]


def application_lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return an aligned line for each application of each server, and last ones that count.

    ``results`` are those of module session_info by server.
    """
    headings = [name.upper() for name in ("server", *NAMES, "sessions", *SECURITY)]
    rows = [
        (server, *(one[name] or "-" for name in NAMES), str(one["sessions"]), *security(one))
        for server, result in results.items()
        for one in result.get("applications", ())
    ]
    asked = f"{len(rows)} applications on {_asked(results, 'applications')} servers"
    return [*(aligned([headings, *rows]) if rows else []), *_silent(results, "applications"), asked]


def security(application: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is known of the TLS of an application in words, in the order of ``SECURITY``."""
    return (
        _shared(application["tls"], application["protocols"]),
        ", ".join(application["ciphers"]) or "-",
        _shared(application["client_certificate"], application["serials"]),
        ", ".join(application["issuers"]) or "-",
        _VERIFIES[application["tls"]],
    )


def _shared(share: str, values: Sequence[str]) -> str:
    """Return values that all or some sessions have."""
    return "none" if share == "none" else ", ".join(values) + (" (not all sessions)" if share == "some" else "")


def _asked(results: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(key in result for result in results.values())


def _silent(results: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    """Return a line for each server that could not be asked."""
    return [
        f"{printable(server)}: not asked: {printable(_cut(result.get('msg') or 'it gave no result'))}"
        for server, result in results.items()
        if key not in result
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns of one width; double quotes would come out escaped in Ansible's output."""
    plain = [[_cut(printable(cell)).replace('"', "'") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in plain) for column in range(len(plain[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in plain]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _rows(server: str, result: Mapping[str, Any], findings: Sequence[str]) -> Iterator[Sequence[str]]:
    for one in result.get("sessions", ()):
        named = [finding for finding in one["findings"] if finding in findings]
        if named:
            texts = (one["role"], one["database"] or "replication", one["address"], one["application"] or "-")
            yield (server, *map(str, texts), one["since"], ", ".join(named))
