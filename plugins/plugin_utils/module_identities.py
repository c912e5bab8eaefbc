# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identities of one client host as module client takes them: with what it has to know of their servers."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import is_managed, logs_in
from ansible_collections.pgops.tls.plugins.plugin_utils import client_authorities, endpoints, managed, services
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import POOLERS, SERVERS, Graph, Groups

_LOOPBACK = ",localhost,127.0.0.1,::1"  # names by which a client host that is a server or pooler, too, knows itself


class Own(NamedTuple):
    """The identities of a client host, and what module client has to know beside them.

    ``authority`` is the name of the authority of those that have none in ``authority``. ``known_servers`` are names of
    servers, as one text with commas. ``trust``: the roots (PEM) of identities for servers outside the inventory.
    """

    authority: str
    identities: list[dict[str, Any]]
    known_servers: str
    trust: dict[str, str]


def of_host(declared: Sequence[Mapping[str, Any]], servers: Mapping[str, Any], groups: Groups, host: str) -> Own:
    """Return the identities that a client host declares; ``servers`` is the result of action known_servers.

    Each names its authority, if it differs, says if one of its servers does not follow in this run, and has its
    endpoints. Raises TlsError for an identity whose servers trust different authorities.
    """
    trust, graph = Trust(servers["authority"], servers["authorities"], groups), Graph(groups)
    unready, reach = frozenset(servers["unready"]), endpoints.of(servers, host)
    for number, one in enumerate(declared):
        services.refuse_mixed(one, f"postgres_client_identities[{number}]")
        managed.refuse_mixed(one, f"postgres_client_identities[{number}]")
    authorities = [trust.of(one) for one in declared]
    # A server's certificate needs no client authority, but that of its clients has to be known
    clients = [services.authority(one) or authority for one, authority in zip(declared, authorities)]
    usual, found = client_authorities.usual([one for one in clients if one != profiles.SERVER] or trust.names[:1]), []
    for one, authority in zip(declared, authorities):
        if is_managed(one):
            found.append(managed.as_module(one))
            continue
        if not logs_in(one):
            found.append(services.as_module(one, usual))
            continue
        its_servers = graph.servers_of(one)
        more: dict[str, Any] = {"endpoints": list(_endpoints(its_servers, reach))}
        if one.get("strict_services"):
            more["endpoints"] = [_described(each, servers["versions"], graph) for each in more["endpoints"]]
        if authority != usual:
            more["authority"] = authority
        if its_servers & unready:
            more["servers_ready"] = False
        found.append({**one, **more})
    is_one = any(host in groups.get(group, ()) for group in (SERVERS, POOLERS))
    known = servers["names"] + (_LOOPBACK if is_one else "")
    return Own(usual, found, known, managed.of_host(servers, host))


def _endpoints(servers: frozenset[str], reach: endpoints.Reach) -> Iterator[dict[str, str | int]]:
    for server, place in reach.items():
        if place and server in servers:
            yield {"server": server, "host": place[0], "port": place[1]}


def _described(endpoint: Mapping[str, Any], versions: str, graph: Graph) -> dict[str, Any]:
    """Return an endpoint with what strict services have to know."""
    server = endpoint["server"]
    version = endpoints.versions(versions).get(server, 0)
    return {**endpoint, "version": version, **({"is_pooler": True} if server in graph.poolers else {})}
