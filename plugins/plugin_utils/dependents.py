# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would lose connections if some hosts of a fleet were taken out: today every identity goes to every server."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

_SHOWN = 10  # hosts that a line names
_FIRST = "Hosts in --limit and others depend on each other. Nothing was changed."
_REMEDY = (
    "Add the others to --limit (all is the whole fleet). If these connections are not in use, or the clients are "
    "prepared (guide 'Adopting servers that are in use', section 'Some hosts alone'), run again with "
    "-e postgres_server_remove_in_use=true."
)


def refusal(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], leaving: Sequence[str]
) -> str:
    """Return why the ``leaving`` hosts cannot be taken out as they are, and what to do; '' when nobody depends on them.

    ``hostvars`` are the variables of all hosts; only those of client hosts are looked at.
    """
    servers, clients = (
        _divided(groups.get(name, ()), set(leaving)) for name in ("postgres_servers", "postgres_clients")
    )
    lines = []
    if servers.leaving:
        what = f"verify {_listed(servers.leaving)}, whose certificates would go"
        lines += [f"Not in --limit: {whose} {what}." for whose in _identities(hostvars, clients.staying)]
    if servers.staying:
        what = f"would lose their certificates for {_listed(servers.staying)}, which stay"
        lines += [f"In --limit: {whose} {what}." for whose in _identities(hostvars, clients.leaving)]
    return "\n".join([_FIRST, *lines, _REMEDY]) if lines else ""


class _Divided(NamedTuple):
    """The hosts of a group: those that are taken out, and the others."""

    leaving: list[str]
    staying: list[str]


def _divided(hosts: Sequence[str], leaving: set[str]) -> _Divided:
    return _Divided([one for one in hosts if one in leaving], [one for one in hosts if one not in leaving])


def _identities(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> list[str]:
    """Return hosts with their identities (OS user/role): one text for all hosts that have the same ones."""
    having: dict[str, list[str]] = {}
    for host in hosts:
        declared = hostvars[host].get("postgres_client_identities") or ()
        names = ", ".join(f"{one['os_user']}/{one['role']}" for one in declared)
        if names:
            having.setdefault(names, []).append(host)
    return [f"{_listed(alike)} ({names})" for names, alike in having.items()]


def _listed(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:_SHOWN])
    return shown if len(hosts) <= _SHOWN else f"{shown} and {len(hosts) - _SHOWN} more"
