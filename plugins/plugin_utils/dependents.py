# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would lose connections if some hosts of a fleet were removed from it."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import logs_in
from ansible_collections.pgops.tls.plugins.plugin_utils import poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS, Graph

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

    ``hostvars`` are the variables of all hosts; only those of client hosts and poolers are looked at.
    """
    graph = Graph(groups)
    known = [*groups.get(SERVERS, ()), *sorted(graph.poolers)]
    servers, clients = (_divided(hosts, set(leaving)) for hosts in (known, groups.get(CLIENTS, ())))
    lines = [
        f"Not in --limit: {whose} verify {_listed(their)}, whose certificates would go."
        for whose, their in _dependent(hostvars, clients.staying, servers.leaving, graph)
    ]
    lines += [
        f"In --limit: {whose} would lose their certificates for {_listed(their)}, which stay."
        for whose, their in _dependent(hostvars, clients.leaving, servers.staying, graph)
    ]
    behind = poolers.Behind(hostvars, graph)
    for pooler in _divided(groups.get(POOLERS, ()), set(leaving)).staying:
        their = sorted(behind.of(pooler).intersection(servers.leaving))
        lines += [f"Not in --limit: pooler {pooler} verifies {_listed(their)}, whose certificates would go."] * bool(
            their
        )
    return "\n".join([_FIRST, *lines, _REMEDY]) if lines else ""


class _Divided(NamedTuple):
    """The hosts of a group: those that are taken out, and the others."""

    leaving: list[str]
    staying: list[str]


def _divided(hosts: Sequence[str], leaving: set[str]) -> _Divided:
    return _Divided([one for one in hosts if one in leaving], [one for one in hosts if one not in leaving])


def _dependent(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str], servers: Sequence[str], graph: Graph
) -> list[tuple[str, Sequence[str]]]:
    """Return hosts with their identities (OS user/role), and those of ``servers`` that these connect to.

    Hosts with the same identities for the same servers are one text.
    """
    having: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for host in hosts:
        own: dict[frozenset[str], list[str]] = {}
        for one in filter(logs_in, hostvars[host].get("postgres_client_identities") or ()):
            own.setdefault(graph.servers_of(one).intersection(servers), []).append(f"{one['os_user']}/{one['role']}")
        for their, names in own.items():
            if their:
                key = (", ".join(names), tuple(server for server in servers if server in their))
                having.setdefault(key, []).append(host)
    return [(f"{_listed(alike)} ({names})", their) for (names, their), alike in having.items()]


def _listed(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:_SHOWN])
    return shown if len(hosts) <= _SHOWN else f"{shown} and {len(hosts) - _SHOWN} more"
