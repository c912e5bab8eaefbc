# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as the inventory describes it: servers and their names, identities, and who can reach whom."""

from __future__ import annotations

import functools
from typing import Any, Collection, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names as x509_names
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address
from ansible_collections.pgops.tls.plugins.plugin_utils import results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

_RULES = ("postgres_server_hba", "postgres_server_hba_template")
_WITHOUT_PASSWORD = ("cert", "trust", "reject", "peer", "ident", "gss", "sspi")
_LOOPBACK_V6, _MAPPED = bytes(15) + b"\1", bytes(10) + b"\xff\xff"
_LOOPBACK = ("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")
# Words of pg_hba.conf that stand for databases, instead of naming one
REPLICATION = "replication"
_DATABASE_WORDS = ("all", "sameuser", "samerole", "samegroup", REPLICATION)


class Identity(NamedTuple):
    """A role that an OS user of the client host has a certificate for, and the database to connect to.

    ``replicates``: it makes physical replication connections, too. ``servers``: the servers that it is for, by their
    names in the inventory.
    """

    role: str
    os_user: str
    database: str
    home: str = ""
    replicates: bool = False
    servers: frozenset[str] = frozenset()


class Server(NamedTuple):
    """A server of the inventory: its name there, the names and port clients use, whether it refuses plaintext.

    ``has_default_rules``: what they decide of a role they decide for all addresses. ``asks_for_password``: a rule may,
    beside the certificate. ``machine``: where it runs. ``certificate``: what module connection_info gets about it.
    """

    name: str
    names: tuple[str, ...]
    port: int
    rejects_plaintext: bool
    has_default_rules: bool
    asks_for_password: bool = False
    machine: tuple[str, str] = ("", "")
    certificate: Mapping[str, Any] = {}


class Fleet(NamedTuple):
    """The servers that are tried, who owns each name and port, and the machine of the client host that tries them.

    ``positions``: where in ``servers`` each of them is, by its name.
    """

    servers: tuple[Server, ...]
    owners: Mapping[tuple[str, int], tuple[Server, ...]]
    machine: tuple[str, str]
    positions: Mapping[str, int] = {}

    def tried_by(self, identity: Identity) -> Iterator[Server]:
        """Return the servers that an identity connects to, in their order."""
        for position in sorted(self.positions[name] for name in identity.servers if name in self.positions):
            yield self.servers[position]

    def of(self, server: Server, name: str) -> tuple[Server, ...]:
        """Return the servers that may answer by a name of this one, itself included; those that are tried first."""
        return (server,) if is_loopback(name) else self.owners[_key(name), server.port]

    def can_try(self, server: Server, name: str) -> bool:
        """Return whether this client host can connect by a name of a server."""
        return not is_wildcard(name) and (not is_loopback(name) or server.machine == self.machine)


def fleet_of(servers: Sequence[Server], hosts: Collection[str], machine: tuple[str, str]) -> Fleet:
    """Return the fleet as a client host on ``machine`` sees it, in a run for ``hosts`` (none: for all).

    Servers outside the run are not tried, unless it is for no server at all: then nothing else could show that the
    client's certificate works.
    """
    inside = tuple(one for one in servers if one.name in hosts)
    outside = [one for one in servers if one.name not in hosts]
    found: dict[tuple[str, int], list[Server]] = {}
    for server in [*inside, *outside]:
        for key in {_key(name) for name in server.names}:
            found.setdefault((key, server.port), []).append(server)
    tried = inside or tuple(outside)
    positions = {server.name: position for position, server in enumerate(tried)}
    return Fleet(tried, {key: tuple(owners) for key, owners in found.items()}, machine, positions)


def identities_of(
    declared: Iterable[Mapping[str, Any]], default_database: str = "", graph: Graph | None = None
) -> list[Identity]:
    """Return the identities in a host's postgres_client_identities. Raises TlsError for one that is incomplete.

    Without a ``graph``, they have no servers.
    """
    found = []
    for number, one in enumerate(declared or ()):
        if not isinstance(one, Mapping) or not one.get("role") or not one.get("os_user"):
            raise TlsError(
                f"postgres_client_identities[{number}]: expected a dictionary with role and os_user, found "
                f"{shown(one)}.",
                code="identity_not_dictionary",
            )
        home = str(one.get("home") or "")
        database = _database(one, default_database)
        replicates = REPLICATION in (one.get("databases") or ())
        servers = graph.servers_of(one, f"postgres_client_identities[{number}]") if graph else frozenset()
        found.append(Identity(str(one["role"]), str(one["os_user"]), database, home, replicates, servers))
    return found


def server_of(variables: Mapping[str, Any]) -> Server:
    """Return the server that a host's variables describe.

    The defaults are those of role postgres_server, which another host cannot see (a test keeps the two alike).
    """
    name = str(variables["inventory_hostname"])
    given = [*variables.get("postgres_server_names", [name]), *variables.get("postgres_server_extra_names", [])]
    names = tuple(dict.fromkeys(map(str, given)))
    return Server(
        name=name,
        names=names,
        port=int(variables.get("postgres_server_port", 5432)),
        rejects_plaintext=variables.get("postgres_server_plaintext", "reject") == "reject",
        has_default_rules=not any(one in variables for one in _RULES),
        asks_for_password=_asks_for_password(variables),
        machine=machine_of(variables),
        certificate=_certificate(name, names, known_certificate(variables)),
    )


def origins(variables: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the variable that each name of each server (both of them: the key) comes from."""
    found = {}
    for host in variables:
        server = str(host["inventory_hostname"])
        default = "the default of postgres_server_names, which is the inventory's name,"
        own = "postgres_server_names" if "postgres_server_names" in host else default
        for name in host.get("postgres_server_extra_names", ()):
            found[server, str(name)] = "postgres_server_extra_names"
        for name in host.get("postgres_server_names", [server]):
            found[server, str(name)] = own
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


def known_certificate(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what module server has said of a server's certificate in this run; nothing where it has not."""
    asked = results.converged(variables, "server")
    installed = results.installed(variables, "server") if asked.get("reasons") else {}
    return installed.get("certificate") or asked.get("certificate") or {}


def has_identities(variables: Mapping[str, Any]) -> bool:
    """Return whether a host is a client."""
    return bool(variables.get("postgres_client_identities"))


def usual_name(server: Server, fleet: Fleet) -> str | None:
    """Return the name for checks that need one, if the client host can try any.

    It is a DNS name rather than an address, which libpq before 15 cannot verify, and one that leads to this server
    alone.
    """
    usable = [name for name in server.names if fleet.can_try(server, name)]

    def drawbacks(name: str) -> tuple[bool, bool, bool]:
        return packed_address(name) is not None, is_loopback(name), len(fleet.of(server, name)) > 1

    return min(usable, key=drawbacks, default=None)


def _database(identity: Mapping[str, Any], default: str) -> str:
    """Return the first database that an identity names, where pg_hba.conf's words name none but replication."""
    for name in identity.get("databases") or ():
        if name == "sameuser":
            return str(identity["role"])
        if name not in _DATABASE_WORDS and not str(name).startswith(("/", "+", "@")):
            return str(name)
    return REPLICATION if list(identity.get("databases") or ()) == [REPLICATION] else default


def _certificate(name: str, names: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server that may answer and what is known of its certificate, as module connection_info takes it."""
    facts = {key: known[key] for key in ("serial", "not_before") if key in known}
    return {"server": name, "names": sorted(set(map(_key, names))), **facts}


@functools.lru_cache(maxsize=None)
def _key(name: str) -> str:
    """Return a name as a certificate holds it; what is none is refused elsewhere."""
    try:
        return x509_names.parse(name, "name").value
    except TlsError:
        return name


def is_wildcard(name: str) -> bool:
    """Return whether a name is for certificates alone: nobody connects to a wildcard."""
    return name.startswith("*")


@functools.lru_cache(maxsize=None)
def is_loopback(name: str) -> bool:
    """Return whether a name or address leads to the very machine that asks for it."""
    packed = packed_address(name)
    if packed is not None:
        is_v4 = len(packed) == 4 or packed.startswith(_MAPPED)
        return packed[-4] == 127 if is_v4 else packed == _LOOPBACK_V6
    labels = _key(name).split(".")
    is_usual = labels[0] in _LOOPBACK and labels[1:] in ([], ["localdomain"])
    return is_usual or labels[-1] == "localhost"  # RFC 6761
