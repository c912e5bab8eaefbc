# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of pg_hba.conf the clients of an inventory need."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_rules
from ansible_collections.pgops.tls.plugins.plugin_utils import option_names
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    SERVERS,
    Graph,
    Groups,
    Variables,
    with_servers,
)


def of_clients(hosts: Iterable[Variables], server: str = "", groups: Groups | None = None) -> list[dict[str, Any]]:
    """Return one rule of method cert for each role in the hosts' postgres_client_identities. Raises TlsError.

    Only the identities for ``server`` count, if there is one; ``groups`` are those of the inventory.
    """
    if server:
        return _of_identities(Graph(with_servers(groups or {}, [server])).identities_of(server, hosts))
    return _of_identities([one for host in hosts for one in host.get("postgres_client_identities") or ()])


def access(
    hostvars: Mapping[str, Variables], groups: Groups, clients: Iterable[str] = ()
) -> dict[str, dict[str, list[Any]]]:
    """Return for each server the identities of ``clients`` (none: all client hosts), and the rules that they need."""
    graph = Graph(groups)
    found: dict[str, list[Any]] = {server: [] for server in groups.get(SERVERS, ())}
    chosen = frozenset(clients)
    for host in groups.get(CLIENTS, ()):
        if not chosen or host in chosen:
            for identity in hostvars[host].get("postgres_client_identities") or ():
                for server in graph.servers_of(identity):
                    found[server].append(identity)
    return {server: {"clients": own, "rules": _of_identities(own)} for server, own in found.items()}


def _of_identities(identities: Sequence[Any]) -> list[dict[str, Any]]:
    with option_names.named("postgres_server"):
        return client_rules.rules(identities)
