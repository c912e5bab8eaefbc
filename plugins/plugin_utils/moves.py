# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that trust a client authority from before, until all of their clients have moved to the declared one.

A run that gives a server another authority adds trust first, and issues new certificates to its clients. The former
trust ends behind the verification of a run that has proven every identity of the server with a new connection.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.verification import report, verdicts
from ansible_collections.pgops.tls.plugins.plugin_utils import failures, kits, poolers, results
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import of_server
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS, Graph, Groups, Hostvars


class Move(NamedTuple):
    """A server, the authority that it has now, the former ones, and why the trust in these must stay ('': it ends)."""

    server: str
    authority: str
    former: Sequence[str]
    objection: str

    @property
    def line(self) -> str:
        """Return what a summary says where the trust stays."""
        return (
            f"{self.server}: it still trusts client authority {', '.join(self.former)} beside {self.authority}, "
            f"because {self.objection}. Fix that, then rerun without --limit and tags."
        )


def moves(hostvars: Hostvars, groups: Groups) -> list[Move]:
    """Return the servers that trust former authorities, as this run has learned and proven it."""
    trusting = {
        server: results.last(hostvars[server], "server").get("still_trusted") or ()
        for server in groups.get(SERVERS, ())
    }
    moving = {server: former for server, former in trusting.items() if former}
    if not moving:
        return []
    clients, behind = _clients(hostvars, groups, moving), poolers.Behind(hostvars, Graph(groups))
    before = {server: [one for one in groups.get(POOLERS, ()) if server in behind.of(one)] for server in moving}
    return [
        Move(
            server,
            of_server(hostvars[server]),
            former,
            next(_objections((hostvars, groups), server, before[server], clients[server]), ""),
        )
        for server, former in moving.items()
    ]


def _clients(hostvars: Hostvars, groups: Groups, servers: Mapping[str, object]) -> dict[str, dict[str, set[str]]]:
    """Return for each of these servers its client hosts, with the ids (OS_USER/NAME) of their identities for it."""
    graph = Graph(groups)
    found: dict[str, dict[str, set[str]]] = {server: {} for server in servers}
    for host in groups.get(CLIENTS, ()):
        declared = hostvars[host].get("postgres_client_identities") or ()
        for id_, one in zip(identities.ids(declared), declared):
            for server in graph.servers_of(one).intersection(servers):
                found[server].setdefault(host, set()).add(id_)
    return found


def _objections(
    fleet: tuple[Hostvars, Groups], server: str, before: Sequence[str], clients: Mapping[str, set[str]]
) -> Iterator[str]:
    """Say what this run has not proven of a server, the poolers ``before`` it, and its clients."""
    hostvars, groups = fleet
    for one in failures.failures(hostvars, [server, *before, *clients]):
        yield f"{one.host} failed in this run"
    for pooler in before:
        if not results.last(hostvars[pooler], "pooler"):
            yield f"this run learned nothing about pooler {pooler}"
    for name in kits.unconfirmed(hostvars, groups, server):
        yield f"the holder of kit {name} has not confirmed the newest one"
    yield from _of_clients(hostvars, server, clients)


def _of_clients(hostvars: Hostvars, server: str, clients: Mapping[str, set[str]]) -> Iterator[str]:
    """Say what this run has not proven of the clients of a server."""
    for host, own in clients.items():
        if not results.last(hostvars[host], "client"):
            yield f"this run learned nothing about client host {host}"
        known = results.last(hostvars[host], "client").get("identities") or ()
        for one in known:
            if one["is_held"] and one["id"] in own:
                yield f"{host}/{one['id']} still uses its certificate from before"
        checks = [one for one in results.verified(hostvars[host]).get("checks", ()) if server in one["servers"]]
        if any(report.is_fault(one) for one in checks):
            yield f"connections from {host} were not as expected"
        works = {
            f"{one['os_user']}/{one['identity']}"
            for one in checks
            if one["expect"] == "accepted" and one["status"] in (verdicts.OK, verdicts.PROMPT)
        }
        for identity in sorted(own - works):
            yield f"{host}/{identity} has not connected to it in this run"
