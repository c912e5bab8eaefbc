# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who connects where, as the inventory declares it: holders with the same servers in one row."""

from __future__ import annotations

from typing import Any, Iterator

from ansible_collections.pgops.tls.plugins.module_utils.report.connections import CLIENT, KIT, POOLER
from ansible_collections.pgops.tls.plugins.plugin_utils import kits, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import identities_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, Graph, Groups, Hostvars

_IDENTITIES = "postgres_client_identities"


def of_fleet(hostvars: Hostvars, groups: Groups) -> list[dict[str, Any]]:
    """Return a row for each set of servers and poolers, with its holders. Raises TlsError for what nobody is."""
    rows: dict[frozenset[str], list[dict[str, str]]] = {}
    for servers, holder in _holders(hostvars, groups):
        rows.setdefault(servers, []).append(holder)
    return [{"holders": holders, "servers": sorted(servers)} for servers, holders in rows.items()]


def _holders(hostvars: Hostvars, groups: Groups) -> Iterator[tuple[frozenset[str], dict[str, str]]]:
    graph = Graph(groups)
    for host in groups.get(CLIENTS, ()):
        for one in identities_of(hostvars[host].get(_IDENTITIES) or (), graph=graph):
            yield one.servers, {"kind": CLIENT, "host": host, "id": one.id, "role": one.role}
    behind = poolers.Behind(hostvars, graph)
    for host in groups.get(POOLERS, ()):
        yield behind.of(host), {"kind": POOLER, "host": host, "id": "", "role": poolers.role(hostvars[host])}
    for kit in kits.declared(hostvars, groups):
        servers = graph.servers_of(kits.as_identity(kit), kits.VARIABLE)
        yield servers, {"kind": KIT, "host": str(kit["name"]), "id": "", "role": str(kit["role"])}
