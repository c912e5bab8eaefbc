# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a pooler in the light of the servers behind it."""

from __future__ import annotations

from typing import Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.source import declared
from ansible_collections.pgops.tls.plugins.plugin_utils import own_addresses, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import VARIABLE, Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    SERVERS,
    Graph,
    Groups,
    Hostvars,
    Variables,
)

_SOURCES, _IDENTITIES = "postgres_ca_sources", "postgres_client_identities"


def problems(host: str, hostvars: Hostvars, groups: Groups, graph: Graph, trust: Trust) -> Iterator[str]:
    """Return a sentence for each problem of a pooler. Raises TlsError for one that hides others."""
    yield from _shared_ids(host, hostvars[host]) if host in groups.get(CLIENTS, ()) else ()
    own = poolers.client_authority(hostvars[host])
    behind = poolers.Behind(hostvars, graph).of(host)
    source = (hostvars[host].get(_SOURCES) or {}).get(own)
    if isinstance(source, Mapping) and source.get(declared.DEDICATED) is False:
        yield (
            f"{_SOURCES}.{own}.{declared.DEDICATED}: PgBouncer compares the common name of a certificate and nothing "
            f"else, so it must not trust a CA that signs for others. Set {poolers.AUTHORITY}, and {VARIABLE} of the "
            "servers behind the pooler, to another client authority."
        )
    other = next((server for server in sorted(behind) if trust.of_server(server) != own), "")
    if other:
        name = trust.of_server(other)
        yield (
            f"{poolers.SERVERS_BEHIND}: {other} trusts client authority {name}, but the pooler logs in there with a "
            f"certificate of {own}. Set {poolers.AUTHORITY}: {name}. For servers of several authorities, use one "
            "pooler for each."
        )
    servers = groups.get(SERVERS, ()) if not behind else ()
    if servers and all(trust.of_server(server) != own for server in servers):
        yield (
            f"{poolers.AUTHORITY}: no server trusts client authority {own}. Write the one of the servers behind the "
            f"pooler ({VARIABLE}), such as {trust.of_server(min(servers))}."
        )
    for server in sorted(behind):
        own_addresses.of_pooler(host, hostvars[host], hostvars[server])


def _shared_ids(host: str, variables: Variables) -> Iterator[str]:
    """Return a sentence for each identity of a pooler's host whose certificate would be taken for the pooler's."""
    own = {id_: name for name, id_ in poolers.ids(host).items()}
    for number, id_ in enumerate(identities.ids(variables.get(_IDENTITIES) or ())):
        name = own.get(f"{host}/{id_}")
        if name:
            yield (
                f"{_IDENTITIES}[{number}]: the certificates of identity {id_} and of the pooler's {name} would have "
                f"the same id in ledger.jsonl, {host}/{id_}. Give the identity another name in name."
            )
