# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions as lines for a person. Roles and application names are what clients chose: they are shown, never obeyed."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

HEADINGS = ("SERVER", "ROLE", "DATABASE", "ADDRESS", "APPLICATION", "SINCE", "FINDINGS")
OLD = ("revoked_certificate", "old_certificate", "other_issuer", "old_server_certificate")
_LONGEST = 63  # characters of a cell: as long as PostgreSQL's names are in bytes


def printable(value: object) -> str:
    """Return a value on one line, with letters that steer a terminal or the direction of writing as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in str(value))


def session_lines(results: Mapping[str, Mapping[str, Any]], findings: Sequence[str] = OLD) -> list[str]:
    """Return an aligned line for each session with one of the ``findings``, and a last one that counts.

    ``results`` are those of module session_info by server; one without sessions has a line, too.
    """
    rows = [row for server, result in results.items() for row in _rows(server, result, findings)]
    asked = [server for server, result in results.items() if "sessions" in result]
    silent = [
        f"{printable(server)}: not asked: {printable(_cut(result.get('msg') or 'it gave no result'))}"
        for server, result in results.items()
        if "sessions" not in result
    ]
    return [*(aligned([HEADINGS, *rows]) if rows else []), *silent, f"{len(rows)} sessions on {len(asked)} servers"]


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
