# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as the inventory describes it: servers and their names, identities, and who can reach whom."""

from __future__ import annotations

from typing import Any, Collection, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import BACK, FRONT
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address
from ansible_collections.pgops.tls.plugins.plugin_utils import client_authorities, later, poolers, results, server_names
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import Name

_RULES = ("postgres_server_hba", "postgres_server_hba_template")
_WITHOUT_PASSWORD = ("cert", "trust", "reject", "peer", "ident", "gss", "sspi")


class Server(NamedTuple):
    """A server of the inventory: its name there, the names that clients use, whether it refuses plaintext.

    ``has_default_rules``: they demand the same of a role from each address. ``asks_for_password``: a rule may,
    beside the certificate. ``machine``: where it runs. ``certificate``: what module connection_info gets about it.
    ``authority`` is the client authority that it trusts, beside those that are ``still_trusted`` during a move, if
    ``is_ready``: this run has brought it to what is declared. ``missing_databases``: those that identities name, and
    that it does not have. ``pooler``: what it demands of its clients if it is a pooler, its client_tls_sslmode.
    It ``waits`` if it has no certificate yet: its first one comes in a later run.
    """

    name: str
    names: tuple[Name, ...]
    rejects_plaintext: bool
    has_default_rules: bool
    asks_for_password: bool = False
    machine: tuple[str, str] = ("", "")
    certificate: Mapping[str, Any] = {}
    authority: str = profiles.CLIENT
    still_trusted: tuple[str, ...] = ()
    is_ready: bool = False
    missing_databases: frozenset[str] = frozenset()
    pooler: str = ""
    waits: bool = False

    def databases_of(self, identity: Identity) -> tuple[str, ...]:
        """Return the databases of an identity to try here: its usual one, if the server is unknown or has none."""
        found = [one for one in identity.databases if one not in self.missing_databases] if self.is_ready else []
        return tuple(found) or (identity.database,)


class Host(NamedTuple):
    """A client host: its name in the inventory, and the machine that it is on."""

    name: str = ""
    machine: tuple[str, str] = ("", "")


class Fleet(NamedTuple):
    """The servers that are tried, who has each name and port, and the client host that tries them.

    ``positions``: where in ``servers`` each of them is, by its name.
    """

    servers: tuple[Server, ...]
    owners: Mapping[tuple[str, int], Sequence[tuple[Server, Name]]]
    positions: Mapping[str, int]
    host: Host = Host()

    def tried_by(self, identity: Identity) -> Iterator[Server]:
        """Return the servers that an identity connects to, in their order."""
        for position in sorted(self.positions[name] for name in identity.servers if name in self.positions):
            yield self.servers[position]

    def of(self, server: Server, name: Name) -> tuple[Server, ...]:
        """Return the servers that may answer by a name of this one, itself included; those that are tried first."""
        owners = self.owners[name.key]
        if len(owners) == 1 or (name.sources is None and name.is_for_self):
            return (server,)
        return tuple(one for one, its in owners if one is server or can_try(self.host, one, its))


def can_try(host: Host, server: Server, name: Name) -> bool:
    """Return whether a client host can connect by a name of a server."""
    if server_names.is_wildcard(name.text):
        return False
    if name.is_for_self and host.machine == server.machine:
        return True
    return not name.is_for_self if name.sources is None else host.name in name.sources


def fleet_of(servers: Sequence[Server], hosts: Collection[str]) -> Fleet:
    """Return the fleet in a run for ``hosts`` (none: for all).

    Servers outside the run are not tried, unless it is for no server at all: then nothing else could show that the
    client's certificate works.
    """
    inside = tuple(one for one in servers if one.name in hosts)
    outside = [one for one in servers if one.name not in hosts]
    found: dict[tuple[str, int], list[tuple[Server, Name]]] = {}
    for server in [*inside, *outside]:
        for name in server.names:
            found.setdefault(name.key, []).append((server, name))
    tried = inside or tuple(outside)
    return Fleet(tried, found, {server.name: position for position, server in enumerate(tried)})


def server_of(variables: Mapping[str, Any], graph: Graph | None = None) -> Server:
    """Return the server that a host's variables describe. Raises TlsError for a name that is not declared well.

    The defaults are those of role postgres_server, which another host cannot see (a test keeps the two alike).
    """
    name = str(variables["inventory_hostname"])
    names = server_names.of(variables, graph)
    return Server(
        name=name,
        names=names,
        rejects_plaintext=variables.get("postgres_server_plaintext", "reject") == "reject",
        has_default_rules=not any(one in variables for one in _RULES),
        asks_for_password=_asks_for_password(variables),
        machine=machine_of(variables),
        certificate=_certificate(name, names, known_certificate(variables)),
        authority=client_authorities.of_server(variables),
        still_trusted=tuple(results.last(variables, "server").get("still_trusted") or ()),
        is_ready=results.is_ready(variables),
        missing_databases=frozenset(results.last(variables, "server").get("missing_databases") or ()),
        waits=later.has_none(variables, "server", known_certificate(variables)),
    )


def pooler_of(variables: Mapping[str, Any], graph: Graph | None = None) -> Server:
    """Return the pooler that a host's variables describe, as the server that its clients see. Raises TlsError.

    How it lets clients in is up to its own configuration: it may ask for a password.
    """
    name, mode = str(variables["inventory_hostname"]), poolers.sslmode(variables)
    names = server_names.of(variables, graph, is_pooler=True)
    known = results.last(variables, "pooler").get("certificates") or {}
    back = {"back_serial": known[BACK]["serial"]} if BACK in known else {}
    return Server(
        name=name,
        names=names,
        rejects_plaintext=mode not in ("allow", "prefer"),
        has_default_rules=False,
        asks_for_password=True,
        machine=machine_of(variables),
        certificate={**_certificate(name, names, known.get(FRONT) or {}), **back},
        authority=poolers.client_authority(variables),
        is_ready=results.is_ready(variables, "pooler"),
        pooler=mode,
        waits=later.has_none(variables, "pooler", known.get(FRONT) or {}),
    )


def endpoint_of(variables: Mapping[str, Any], graph: Graph) -> Server:
    """Return the server or pooler that a host's variables describe. Raises TlsError."""
    is_pooler = variables["inventory_hostname"] in graph.poolers
    return pooler_of(variables, graph) if is_pooler else server_of(variables, graph)


def known_names(servers: Iterable[Server], variables: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return everything that leads to ``servers`` of the inventory: their names, and where Ansible connects to."""
    found: dict[str, None] = {}
    for server, host in zip(servers, variables):
        also = (server.name, host.get("ansible_host") or "")
        found.update(dict.fromkeys([*(name.text for name in server.names), *map(str, also)]))
    return [name for name in found if name]


def origins(variables: Iterable[Mapping[str, Any]], graph: Graph) -> dict[tuple[str, str], str]:
    """Return the variable that each name of each server or pooler (both of them: the key) comes from."""
    found = {}
    for host in variables:
        own = str(host["inventory_hostname"])
        names = server_names.origins(host, is_pooler=own in graph.poolers)
        found.update({(own, name): variable for name, variable in names.items()})
    return found


def _asks_for_password(variables: Mapping[str, Any]) -> bool:
    """Return whether a rule of the inventory's own may ask for a password; of a template nothing is known."""
    if "postgres_server_hba_template" in variables:
        return True
    rules = variables.get("postgres_server_hba") or ()
    return any(isinstance(one, Mapping) and one.get("method") not in _WITHOUT_PASSWORD for one in rules)


def machine_of(variables: Mapping[str, Any]) -> tuple[str, str]:
    """Return what identifies the machine of a host: where Ansible connects to. One may have several names."""
    if variables.get("ansible_connection") == "local":
        return ("local", "")
    name = variables.get("ansible_host") or variables.get("inventory_hostname") or ""
    return (str(name), str(variables.get("ansible_port") or ""))


def host_of(variables: Mapping[str, Any]) -> Host:
    """Return the client host that a host's variables describe."""
    return Host(str(variables.get("inventory_hostname") or ""), machine_of(variables))


def known_certificate(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what module server has said of a server's certificate in this run; nothing where it has not."""
    asked = results.converged(variables, "server")
    installed = results.installed(variables, "server") if asked.get("reasons") else {}
    return installed.get("certificate") or asked.get("certificate") or {}


def usual_name(server: Server, fleet: Fleet) -> Name | None:
    """Return the name for checks that need one, if the client host can try any: the first without drawbacks.

    It is a DNS name rather than an address, which libpq before 15 cannot verify, and one that leads to this server
    alone.
    """
    usable = [name for name in server.names if can_try(fleet.host, server, name)]

    def drawbacks(name: Name) -> tuple[bool, bool, bool]:
        is_address = packed_address(name.text) is not None
        return is_address, server_names.is_loopback(name.text), len(fleet.of(server, name)) > 1

    return min(usable, key=drawbacks, default=None)


def _certificate(name: str, names: Iterable[Name], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server that may answer and what is known of its certificate, as module connection_info takes it."""
    facts = {key: known[key] for key in ("serial", "not_before") if key in known}
    return {"server": name, "names": sorted({server_names.canonical(one.text) for one in names}), **facts}
