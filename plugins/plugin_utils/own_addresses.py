# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``self`` stands for in the address of an identity or pooler: the one that the inventory has of its host.

For a server on the same machine it is that machine, too: connections by a loopback name come from a loopback address,
and others from any address that the machine has.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_addresses, logins
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import machine_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph, Groups, Hostvars, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import is_loopback

_KEY, _OF_POOLER = "postgres_client_identities", "postgres_pooler_address"
_UNKNOWN = "client_address_unknown"
_SOURCES = ("ansible_host", "inventory_hostname")  # the first that is an address counts


def declared(variables: Variables, host: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the identities of a client host that log in, each with where it is declared; ``host`` is named, too."""
    for number, one in enumerate(variables.get(_KEY) or ()):
        if isinstance(one, Mapping) and not logins.logs_in(one):
            continue
        yield f"{host}: {_KEY}[{number}]" if host else f"{_KEY}[{number}]", one


def resolved(identity: Any, client: Variables, server: Variables, source: str) -> Any:
    """Return an identity as a server needs it: ``address`` is a list of networks, if it has one. Raises TlsError.

    ``client`` and ``server`` are the variables of the two hosts, empty for a server that is not known; ``source`` is
    where the identity is declared.
    """
    if not isinstance(identity, Mapping) or identity.get("address") is None:
        return identity
    written, option = client_addresses.written(identity, source), f"{source}.address"
    return {**identity, "address": networks(written, client, server, option)}


def of_pooler(host: str, pooler: Variables, server: Variables) -> list[str]:
    """Return the networks from which a pooler connects to a server. Raises TlsError."""
    option = f"{host}: {_OF_POOLER}"
    otherwise = "Leave it out if the pooler connects from the address that the inventory has of its host."
    written = client_addresses.listed(pooler.get(_OF_POOLER, client_addresses.SELF), option, otherwise)
    return networks(written, pooler, server, option)


def networks(written: Sequence[str], client: Variables, server: Variables, option: str) -> list[str]:
    """Return the networks that are ``written`` in an option, as a server needs them; see ``resolved``."""
    found: list[str] = []
    for one in written:
        found += _of_self(client, server, option) if one == client_addresses.SELF else [one]
    return found


def problems(host: str, hostvars: Hostvars, groups: Groups) -> Iterator[str]:
    """Return a sentence for each identity of a client host whose ``self`` is no address. Other checks tell the rest."""
    graph = Graph(groups)
    for source, one in declared(hostvars[host]):
        try:
            own = graph.servers_of(one) - graph.poolers if one.get("address") is not None else ()
            for server in own:
                resolved(one, hostvars[host], hostvars[server], source)
        except TlsError as error:
            if error.code == _UNKNOWN:
                yield error.message


def _of_self(client: Variables, server: Variables, option: str) -> list[str]:
    names = [str(client.get(name) or "") for name in _SOURCES]
    own = [name for name in names if packed_address(name) is not None and not is_loopback(name)]
    found = [client_addresses.network(own[0], f"{option}: self")] if own else []
    if server and machine_of(client) == machine_of(server):
        found.append(client_addresses.SAME_HOST)
    if not found:
        whose = "pooler" if option.endswith(_OF_POOLER) else "client host"
        raise TlsError(
            f"{option}: self is the address of the {whose}, but the inventory has {_known(names)} for it.",
            remedy="Write the address that the servers see, such as 192.0.2.10.",
            code=_UNKNOWN,
        )
    return found


def _known(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    address = next((name for name in known if packed_address(name) is not None), "")
    return f"the loopback address {address}" if address else f"only the name {shown(known[0] if known else '')}"
