# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers outside the inventory in a report: whether clients trust what they show, and a change of their root."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.verification.trust import FINDINGS

# What to do about a finding
_URGENT = {
    "root_missing": "add the provider's current bundle to what clients trust: {0} does not trust the root of {1}",
    "chain_refused": "find out why {0} refuses the certificate of {1}: {2}",
    "name_missing": "correct the host in endpoints of {0}: {2}",
    "certificate_ends_soon": "ask the provider of {1} for a new certificate: it ends on {3}",
}
_LATER = {
    "root_ends_soon": "add the provider's next root to what clients trust: the root of {1} ends on {4}",
}
_DATE = 10  # characters of a moment, which are its date


def of(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield client host and row for each endpoint of a report."""
    for host, client in data["clients"].items():
        for one in client.get("endpoints", ()):
            yield host, one


def place(one: Mapping[str, Any]) -> str:
    """Return where an endpoint is."""
    return f"{one['host']}:{one['port']}"


def verdict(one: Mapping[str, Any]) -> str:
    """Return in words what sslmode=verify-full does there."""
    if one["problem"]:
        return "unknown"
    return "fails" if fails(one) else "works"


def fails(one: Mapping[str, Any]) -> bool:
    """Return whether connections with sslmode=verify-full fail now."""
    return any(FINDINGS[code] for code in one["findings"])


def lines(data: Mapping[str, Any]) -> list[str]:
    """Return a line for each endpoint that needs attention."""
    return [
        f"{host}: {one['id']} at {place(one)}: {one['problem'] or ', '.join(one['findings'])}"
        for host, one in of(data)
        if one["problem"] or one["findings"]
    ]


def urgent(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do about connections that fail, or are going to."""
    yield from _to_do(data, _URGENT)
    for host, one in of(data):
        if one["problem"]:
            yield f"find out why {host} could not check {place(one)}: {one['problem']}"


def later(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do before the provider changes its root."""
    return _to_do(data, _LATER)


def _to_do(data: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for host, one in of(data):
        ends = [str(one[name] or "")[:_DATE] for name in ("not_after", "root_not_after")]
        for code in words:
            if code in one["findings"]:
                yield words[code].format(f"{one['id']} on {host}", place(one), one["refused"], *ends)
