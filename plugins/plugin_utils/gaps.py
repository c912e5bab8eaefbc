# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run does not verify: nothing at all, because the inventory lacks a side, or what --limit leaves out."""

from __future__ import annotations

from typing import Any, Collection, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import logs_in
from ansible_collections.pgops.tls.plugins.module_utils.verification import verdicts
from ansible_collections.pgops.tls.plugins.plugin_utils import later, results
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, SERVERS, Graph, Groups, Hostvars

_NAMED = 5  # hosts in a list
_NO_NAME = (
    "Give each server a name that its clients can reach, in postgres_server_names or postgres_server_extra_names. If a "
    "name has from, list the client hosts there that can reach it."
)
_REMEDY = (
    "If you have set it in group_vars beside a playbook that imports pgops.tls.site: variables there do not reach the "
    "playbooks of this collection. Move them to group_vars of the inventory (beside the inventory file)."
)


def nothing_verified(hostvars: Hostvars, groups: Groups, hosts: Collection[str], *, is_tried: bool) -> list[str]:
    """Return why a run for ``hosts`` (none: for all) verifies no connection, as lines; none if it verifies some.

    ``is_tried``: the run tries connections, which it does not in check mode.
    """
    servers, clients = (list(groups.get(name, ())) for name in (SERVERS, CLIENTS))
    lacking = _lacking(hostvars, servers, clients)
    if lacking or not is_tried:
        return lacking
    verifying = [one for one in clients if (not hosts or one in hosts) and _identities(hostvars[one])]
    if not verifying:
        return ["No connection was verified: --limit leaves out every host that has postgres_client_identities."]
    verified = [results.verified(hostvars[host]) for host in verifying]
    checks = [check for one in verified for check in one.get("checks", ())]
    if hosts and not checks and all("checks" in one for one in verified):
        why = f"the identities of {listed(verifying)} connect to no server in --limit"
        return [f"WARNING: no connection was verified: {why}. Add their servers to it."]
    if not checks or any(one["status"] != verdicts.SKIPPED for one in checks):
        return []
    return [_all_skipped(list(dict.fromkeys(one["reason"] for one in checks)))]


def _all_skipped(reasons: Sequence[str]) -> str:
    """Return a line on a run whose connections were all skipped for these reasons."""
    if not later.REASONS.isdisjoint(reasons):
        which = "each one" if later.REASONS.issuperset(reasons) else "each one that can be tried"
        return f"WARNING: no connection was verified: {which} needs a certificate that comes in a later run."
    return f"WARNING: no connection was verified: all were skipped ({'; '.join(reasons)}). {_NO_NAME}"


def unreached(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return lines on the servers that some identity is for, but no client host could try, and why."""
    checks = [one for host in groups.get(CLIENTS, ()) for one in results.verified(hostvars[host]).get("checks", ())]
    tried = {server for one in checks if one["status"] != verdicts.SKIPPED for server in one["servers"]}
    if not tried:
        return []  # of nothing at all another line says why
    skipped: dict[str, set[str]] = {}
    for one in checks:
        for server in one["servers"] if one["status"] == verdicts.SKIPPED else ():
            if server not in tried:
                skipped.setdefault(server, set()).add(one["reason"])
    waiting = [server for server, reasons in skipped.items() if reasons <= later.REASONS]
    others = [server for server in skipped if server not in waiting]
    told = {
        "all connections to these servers need a certificate that comes in a later run": (waiting, ""),
        "all connections to these servers were skipped": (others, f" {_NO_NAME}"),
    }
    return [f"Not verified, because {why}: {listed(own)}.{remedy}" for why, (own, remedy) in told.items() if own]


def left_out(groups: Groups, hosts: Collection[str]) -> list[str]:
    """Return a line on what a run for ``hosts`` (none: for all) does not verify, because --limit leaves it out."""
    if not hosts:
        return []
    known = [*groups.get(SERVERS, ()), *sorted(Graph(groups).poolers)]
    servers, clients = ([one for one in all_ if one not in hosts] for all_ in (known, groups.get(CLIENTS, ())))
    if len(servers) == len(known):
        servers = []  # of a run for no server all are tried
    parts = [
        *([f"connections to {listed(servers)}"] if servers else []),
        *([f"connections from {listed(clients)}"] if clients else []),
    ]
    return [f"Not verified, because --limit leaves these hosts out: {', '.join(parts)}."] if parts else []


def without_identities(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return a line on the servers that no identity of the inventory is for, where there are identities."""
    graph = Graph(groups)
    theirs = {
        server
        for host in groups.get(CLIENTS, ())
        for one in _identities(hostvars[host])
        for server in graph.servers_of(one)
    }
    unused = [server for server in groups.get(SERVERS, ()) if server not in theirs]
    line = (
        f"Not verified, because no identity connects to these servers directly: {listed(unused)}. Name them in servers "
        "of an identity in postgres_client_identities, if one does."
    )
    return [line] if theirs and unused else []


def authorities_apart(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return a line on the client authorities whose certificates no client host can try at servers of each other."""
    return [
        f"Not verified, because no client host has identities of both: that servers of client authority {one} refuse "
        f"certificates of {other}, and the other way around."
        for one, other in Trust.of_fleet(hostvars, groups).apart(hostvars)
    ]


def listed(hosts: Sequence[str]) -> str:
    """Return the names of hosts, and how many more there are."""
    named = ", ".join(hosts[:_NAMED])
    return named if len(hosts) <= _NAMED else f"{named} and {len(hosts) - _NAMED} more"


def _lacking(hostvars: Hostvars, servers: Sequence[str], clients: Sequence[str]) -> list[str]:
    """Return which side of connections the whole inventory lacks."""
    if not servers:
        return [
            "WARNING: no connection was verified: there is no host in group postgres_servers. Put the servers into it."
        ]
    if any(_identities(hostvars[one]) for one in clients):
        return []
    why = "no host of group postgres_clients has postgres_client_identities"
    if not clients:
        why = "there is no host in group postgres_clients"
    refusing = [one for one in servers if hostvars[one].get("postgres_server_plaintext", "reject") == "reject"]
    lines = [f"WARNING: no connection was verified: {why}, so no client got a certificate."]
    if refusing:
        lines.append(f"Connections without TLS are still refused by {listed(refusing)} (postgres_server_plaintext).")
    return [*lines, _REMEDY if clients else "Put the hosts of the clients into that group."]


def _identities(variables: Mapping[str, Any]) -> Sequence[Any]:
    """Return the identities that log in."""
    return [one for one in variables.get("postgres_client_identities") or () if logs_in(one)]
