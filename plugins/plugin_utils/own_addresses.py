# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``self`` stands for in ``address`` of an identity: the address that the inventory has of the client host.

For a server on the same machine it is that machine, too: connections by a loopback name come from a loopback address,
and others from any address that the machine has.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_addresses
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import machine_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph, Groups, Hostvars, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import is_loopback

_KEY = "postgres_client_identities"
_UNKNOWN = "client_address_unknown"
_SOURCES = ("ansible_host", "inventory_hostname")  # the first that is an address counts


def declared(variables: Variables, host: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the identities of a client host, each with where it is declared; ``host`` is named there, too."""
    for number, one in enumerate(variables.get(_KEY) or ()):
        yield f"{host}: {_KEY}[{number}]" if host else f"{_KEY}[{number}]", one


def resolved(identity: Any, client: Variables, server: Variables, source: str) -> Any:
    """Return an identity as a server needs it: ``address`` is a list of networks, if it has one. Raises TlsError.

    ``client`` and ``server`` are the variables of the two hosts, empty for a server that is not known; ``source`` is
    where the identity is declared.
    """
    if not isinstance(identity, Mapping) or identity.get("address") is None:
        return identity
    found: list[str] = []
    for one in client_addresses.written(identity, source):
        found += _of_self(client, server, source) if one == client_addresses.SELF else [one]
    return {**identity, "address": found}


def problems(host: str, hostvars: Hostvars, groups: Groups) -> Iterator[str]:
    """Return a sentence for each identity of a client host whose ``self`` is no address. Other checks tell the rest."""
    graph = Graph(groups)
    for source, one in declared(hostvars[host]):
        try:
            for server in graph.servers_of(one) if one.get("address") is not None else ():
                resolved(one, hostvars[host], hostvars[server], source)
        except TlsError as error:
            if error.code == _UNKNOWN:
                yield error.message


def _of_self(client: Variables, server: Variables, source: str) -> list[str]:
    names = [str(client.get(name) or "") for name in _SOURCES]
    own = [name for name in names if packed_address(name) is not None and not is_loopback(name)]
    found = [client_addresses.network(own[0], f"{source}.address: self")] if own else []
    if server and machine_of(client) == machine_of(server):
        found.append(client_addresses.SAME_HOST)
    if not found:
        raise TlsError(
            f"{source}.address: self is the address of the client host, but the inventory has {_known(names)} for it.",
            remedy="Write the address that the servers see, such as 192.0.2.10.",
            code=_UNKNOWN,
        )
    return found


def _known(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    address = next((name for name in known if packed_address(name) is not None), "")
    return f"the loopback address {address}" if address else f"only the name {shown(known[0] if known else '')}"
