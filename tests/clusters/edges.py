# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph of an inventory, and the connections that follow from it, read from the inventory's text alone.

Nothing here is from the collection: what is counted here has to be what a run says that it has tried. It follows the
documentation of module expected_connections, for inventories like the one of this folder: servers with the default
rules, names that are dictionaries only where they are shared, no ``from``, no address but that of the loopback, one
database for an identity at most, and nothing about default files. Poolers let nobody in without a certificate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LOOPBACK = ("localhost", "127.0.0.1")
LIBPQ_REFUSES = ("wrong host name", "foreign root at the client")
PLAINTEXT, NO_CERTIFICATE = "plaintext", "no client certificate"
ANOTHER_AUTHORITY = "certificate of another client authority"


class Edge(NamedTuple):
    """An identity of a client host, and one of its servers."""

    client: str
    role: str
    server: str


class Connection(NamedTuple):
    """A line of the table, as far as it follows from the inventory; ``role`` is that of the certificate."""

    client: str
    role: str
    target: str
    wanted: str


@dataclass(frozen=True)
class Server:
    """A server or pooler of the inventory: its name there, where it runs, whom it trusts, its names (shared or not)."""

    host: str
    machine: str
    authority: str
    port: int
    names: Mapping[str, bool]
    is_pooler: bool = False

    def reached_from(self, machine: str) -> list[str]:
        """Return the names that lead a client to it: those of the loopback only on its own machine."""
        return [name for name in self.names if name not in LOOPBACK or machine == self.machine]

    @property
    def own_name(self) -> str:
        """Return the name that leads to it alone, from everywhere."""
        return f"{next(name for name, is_shared in self.names.items() if not is_shared)}:{self.port}"


@dataclass(frozen=True)
class Identity:
    """An identity of a client host, with its servers."""

    client: str
    machine: str
    role: str
    os_user: str
    login: str
    databases: tuple[str, ...]
    servers: tuple[Server, ...]

    @property
    def database(self) -> str:
        """Return what it connects to."""
        return self.databases[0] if self.databases else "postgres"

    def has_service_for(self, server: Server) -> bool:
        """Return whether its connection to a server is by a service for that server: the first one is by files."""
        return bool(self.databases) and self.database != "replication" and server is not self.servers[0]

    @property
    def authority(self) -> str:
        """Return the client authority that its certificate is from, '' where it has none."""
        return self.servers[0].authority if self.login != "password" else ""

    def connection(self, target: str, wanted: str) -> Connection:
        """Return one of its connections."""
        return Connection(self.client, self.role, target, wanted)


@dataclass
class Graph:
    """An inventory: its servers, its identities in the order of the hosts, and what follows from them."""

    servers: dict[str, Server]
    identities: list[Identity]
    accepted: Counter[Connection] = field(default_factory=Counter)
    skipped: Counter[Connection] = field(default_factory=Counter)
    refused: Counter[Connection] = field(default_factory=Counter)

    @property
    def edges(self) -> set[Edge]:
        """Return who connects to which server."""
        return {Edge(one.client, one.role, server.host) for one in self.identities for server in one.servers}

    @property
    def edge_count(self) -> int:
        """Return the number of edges, counted in another way: two identities with one edge would be a mistake."""
        return sum(len(one.servers) for one in self.identities)


def graph(inventory: Mapping[str, Any]) -> Graph:
    """Read an inventory, and list the connections that it promises and those that it rules out."""
    variables, members = hosts(inventory), groups(inventory)
    servers = {host: _server(host, variables[host]) for host in members["postgres_servers"]}
    poolers = {host: _pooler(host, variables[host]) for host in sorted(members.get("postgres_poolers", ()))}
    found = Graph(servers, [])
    for client in members["postgres_clients"]:
        for one in variables[client]["postgres_client_identities"]:
            named = [host for name in one["servers"] for host in members.get(name, [name])]
            own = tuple(server for host, server in (servers | poolers).items() if host in named)
            login, databases = one.get("login", "certificate"), tuple(one.get("databases", ()))
            machine = _machine(client, variables[client])
            found.identities.append(Identity(client, machine, one["role"], one["os_user"], login, databases, own))
    _promise(found)
    _rule_out(found)
    return found


def hosts(inventory: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of each host."""
    return dict(_hosts(inventory["all"], {}))


def groups(inventory: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the hosts of each group."""
    return {name: [host for host, _own in _hosts(group, {})] for name, group in _groups(inventory["all"])}


def _groups(group: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, one in group.get("children", {}).items():
        yield name, one
        yield from _groups(one)


def _hosts(group: Mapping[str, Any], above: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each host of a group with its variables; a host of several groups has those of all of them."""
    collected: dict[str, dict[str, Any]] = {}
    own = {**above, **group.get("vars", {})}
    for host, variables in (group.get("hosts") or {}).items():
        collected[host] = {**own, **(variables or {})}
    for child in group.get("children", {}).values():
        for host, variables in _hosts(child, own):
            collected[host] = {**collected.get(host, {}), **variables}
    yield from collected.items()


def _machine(host: str, variables: Mapping[str, Any]) -> str:
    named = str(variables.get("ansible_host", host)).replace("{{ inventory_hostname }}", host)
    return named.rpartition("}}-")[2] or named  # behind the prefix of a fleet's containers


def _server(host: str, variables: Mapping[str, Any]) -> Server:
    declared = [*variables["postgres_server_names"], *variables["postgres_server_extra_names"]]
    names = {(one if isinstance(one, str) else one["name"]): not isinstance(one, str) for one in declared}
    authority = variables.get("postgres_server_client_authority", "client")
    return Server(host, _machine(host, variables), authority, variables.get("postgres_server_port", 5432), names)


def _pooler(host: str, variables: Mapping[str, Any]) -> Server:
    names = dict.fromkeys(variables["postgres_pooler_names"], False)
    authority = variables.get("postgres_pooler_client_authority", "client")
    return Server(host, _machine(host, variables), authority, variables.get("postgres_pooler_port", 6432), names, True)


def drawn(found: Graph) -> list[str]:
    """Return a line for each role of a client host, with its servers."""
    servers: dict[str, list[str]] = {}
    for edge in sorted(found.edges):
        servers.setdefault(f"{edge.client}/{edge.role}", []).append(edge.server)
    return [f"{who:20} -> {', '.join(where)}" for who, where in servers.items()]


def _promise(found: Graph) -> None:
    """Each identity reaches each of its servers by each name, the first by its own files, others by their services."""
    with_files: set[tuple[str, str]] = set()
    for one in found.identities:
        kind = "accepted, replication" if one.database == "replication" else "accepted"
        shared: set[str] = set()
        for server in one.servers:
            for name in server.reached_from(one.machine):
                target = f"{name}:{server.port}"
                if target in shared:
                    continue  # tried once, whichever server answers
                owners = [other for other in found.servers.values() if other.names.get(name) and server.names[name]]
                shared |= {target} if owners else set()
                is_for_all = all(owner in one.servers for owner in owners)
                is_by_service = target == server.own_name and one.has_service_for(server)
                wanted = f"{kind}, service" if is_by_service else kind
                (found.accepted if is_for_all else found.skipped)[one.connection(target, wanted)] += 1
        first = one.servers[0].own_name
        found.accepted[one.connection(first, f"{kind}, service")] += 1
        if (one.client, one.os_user) not in with_files:
            found.accepted[one.connection(first, f"{kind}, default files")] += 1
        with_files.add((one.client, one.os_user))


def _rule_out(found: Graph) -> None:
    """List what has to be refused, each as often as what it depends on differs."""
    ruled: set[tuple[str, str, str]] = set()  # by hosts before: server, role, database
    foreign: set[str] = set()
    for client in dict.fromkeys(one.client for one in found.identities):
        own = [one for one in found.identities if one.client == client]
        for kind in LIBPQ_REFUSES:
            found.refused[own[0].connection(own[0].servers[0].own_name, f"refused: {kind}")] += 1
        for one in own:
            for server in one.servers:
                is_new = (server.host, one.role, one.database) not in ruled
                kinds = _refused_by_rules(one, is_new=is_new, is_pooler=server.is_pooler)
                if one.authority and server.host not in foreign:
                    kinds.append("certificate of a foreign CA")
                    foreign.add(server.host)
                found.refused.update(one.connection(server.own_name, f"refused: {kind}") for kind in kinds)
        ruled |= {(server.host, one.role, one.database) for one in own for server in one.servers}
    found.refused.update(_crossings(found))


def _refused_by_rules(one: Identity, *, is_new: bool, is_pooler: bool) -> list[str]:
    if is_pooler:
        return [PLAINTEXT, NO_CERTIFICATE]  # which roles it lets in is for its own configuration to say
    if one.login == "password":
        return [PLAINTEXT] if is_new else []
    if is_new:
        return [PLAINTEXT, NO_CERTIFICATE, f"another role's certificate ({one.role})"]
    return [NO_CERTIFICATE] if one.login == "both" else []  # a prompt alone would not show that it is needed


def _crossings(found: Graph) -> Iterator[Connection]:
    """Give for each two authorities the first certificate of one that a host can try at a server of the other."""
    tried: set[tuple[str, str]] = set()
    for client in dict.fromkeys(one.client for one in found.identities):
        certified = [one for one in found.identities if one.client == client and one.authority]
        own = {one.authority: one for one in reversed(certified) if not one.servers[0].is_pooler}
        for mine, theirs in _pairs(own):
            if (mine, theirs) not in tried:
                tried.add((mine, theirs))
                yield own[mine].connection(own[theirs].servers[0].own_name, f"refused: {ANOTHER_AUTHORITY}")


def _pairs(names: Collection[str]) -> list[tuple[str, str]]:
    return [(one, other) for one in names for other in names if one != other]
