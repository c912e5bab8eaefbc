# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections a fleet's inventory promises and which it rules out, as a list of expectations.

Each is tried as often as what it depends on differs, since every connection costs a handshake on both ends:

- what has to be accepted, by every identity, to every server by every name;
- plaintext, no certificate and another role's by every identity to every server: the rules and the role decide. Where
  a server has the default rules, which name no address, once from any client host;
- a foreign certificate once to every server from any client host: it is refused before the role is known;
- a wrong name and a foreign root once: it is the client host's libpq that refuses. That the root.crt of every OS user
  is the right one shows in what is accepted;
- an identity's service and an OS user's default files once each: they say nothing of a server.

A name that several servers share, with the same port, is tried once by each identity: any of them may answer. A
loopback name or address leads to the machine that asks for it, so it is tried from the server's own machine alone.
Names that nobody can try are listed as skipped, once for each server.

An identity that names ``replication`` among its databases makes physical replication connections, as a standby does:
one to every server, and all of its connections are of that kind when it names no other database.
"""

from __future__ import annotations

import functools
from typing import Any, Collection, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusals import REFUSALS
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names as x509_names
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

SUPERUSER = "postgres"  # exists on every server: whom a certificate of the only role must not let in as
_NOBODY = "pgops_nobody"  # for a fleet whose only identity is the superuser; certificates are judged before roles
_OF_LIBPQ = ("wrong_name", "foreign_root")  # kinds that one identity has to try with one server
_OF_ANY_IDENTITY = ("foreign_certificate", *_OF_LIBPQ)  # kinds that one identity has to try
_OF_RULES = ("plaintext", "no_certificate", "another_role")
_RULES = ("postgres_server_hba", "postgres_server_hba_template")
_WITHOUT_PASSWORD = ("cert", "trust", "reject", "peer", "ident", "gss", "sspi")
_LOOPBACK_V6, _MAPPED = bytes(15) + b"\1", bytes(10) + b"\xff\xff"
_LOOPBACK = ("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")
# Words of pg_hba.conf that stand for databases, instead of naming one
_REPLICATION = "replication"
_DATABASE_WORDS = ("all", "sameuser", "samerole", "samegroup", _REPLICATION)


class Identity(NamedTuple):
    """A role that an OS user of the client host has a certificate for, and the database to connect to.

    ``replicates``: it makes physical replication connections, too.
    """

    role: str
    os_user: str
    database: str
    home: str = ""
    replicates: bool = False


class Server(NamedTuple):
    """A server of the inventory: its name there, the names and port clients use, whether it refuses plaintext.

    ``has_default_rules``: what they decide of a role they decide for all addresses. ``asks_for_password``: a rule may,
    beside the certificate. ``machine``: where it runs. ``certificate``: what module connection is told of its own.
    """

    name: str
    names: tuple[str, ...]
    port: int
    rejects_plaintext: bool
    has_default_rules: bool
    asks_for_password: bool = False
    machine: tuple[str, str] = ("", "")
    certificate: Mapping[str, Any] = {}


class Tried(NamedTuple):
    """What other client hosts try in the same run: whether there is any, and as which roles in which databases.

    ``names``: they list the names that nobody can try. ``here``: the machines of all client hosts that try anything.
    """

    foreign: bool = False
    roles: frozenset[tuple[str, str]] = frozenset()
    names: bool = False
    here: frozenset[tuple[str, str]] = frozenset()


_NOTHING = Tried()


class Fleet(NamedTuple):
    """The servers that are tried, who owns each name and port, and the machine of the client host that tries them."""

    servers: tuple[Server, ...]
    owners: Mapping[tuple[str, int], tuple[Server, ...]]
    machine: tuple[str, str]

    def of(self, server: Server, name: str) -> tuple[Server, ...]:
        """Return the servers that may answer by a name of this one, itself included; those that are tried first."""
        return (server,) if is_loopback(name) else self.owners[_key(name), server.port]

    def can_try(self, server: Server, name: str) -> bool:
        """Return whether this client host can connect by a name of a server."""
        return not _is_wildcard(name) and (not is_loopback(name) or server.machine == self.machine)


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
    return Fleet(inside or tuple(outside), {key: tuple(owners) for key, owners in found.items()}, machine)


def from_inventory(
    servers: Iterable[Mapping[str, Any]],
    identities: Iterable[Mapping[str, Any]],
    *,
    clients: Iterable[Mapping[str, Any]] = (),
    before: Iterable[Mapping[str, Any]] = (),
    database: str = "postgres",
    refused: Sequence[str] = tuple(REFUSALS),
    other_role: str = "",
    here: Mapping[str, Any] | None = None,
    hosts: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the expectations of a client host with these ``identities``, as ``expectations`` makes them.

    ``servers`` and ``clients`` are the variables of all server and all client hosts, ``before`` of those client hosts
    that verify in the same run and come before this one, ``here`` of this one. ``hosts`` are those of the run, none
    for all. Raises TlsError for variables that are of no use, and when there are identities but no servers.
    """
    clients = list(clients)
    own = identities_of(identities, database)
    everybody = [one for host in clients for one in identities_of(host.get("postgres_client_identities", ()), database)]
    found = [server_of(host) for host in servers]
    if own and not found:
        raise TlsError(
            "postgres_servers: expected the group of the PostgreSQL servers in the inventory, found no host in it. "
            "There is nothing to verify connections to."
        )
    run = frozenset(hosts)
    elsewhere = [one for one in clients if not run or one.get("inventory_hostname") in run]
    tried = _tried(before, database)._replace(here=frozenset(map(machine_of, filter(_has_identities, elsewhere))))
    fleet = fleet_of(found, run, machine_of(here or {}))
    return expectations(own, fleet, [*own, *everybody], refused, other_role, tried=tried)


def identities_of(declared: Iterable[Mapping[str, Any]], default_database: str) -> list[Identity]:
    """Return the identities in a host's postgres_client_identities. Raises TlsError for one that is incomplete."""
    found = []
    for number, one in enumerate(declared or ()):
        if not isinstance(one, Mapping) or not one.get("role") or not one.get("os_user"):
            raise TlsError(
                f"postgres_client_identities[{number}]: expected a dictionary with role and os_user, found "
                f"{shown(one)}."
            )
        home = str(one.get("home") or "")
        database = _database(one, default_database)
        replicates = _REPLICATION in (one.get("databases") or ())
        found.append(Identity(str(one["role"]), str(one["os_user"]), database, home, replicates))
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
    """Return what tells the machine of a host from others: where Ansible connects to. One may have several names."""
    if variables.get("ansible_connection") == "local":
        return ("local", "")
    name = variables.get("ansible_host") or variables.get("inventory_hostname") or ""
    return (str(name), str(variables.get("ansible_port") or ""))


def known_certificate(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what module server has said of a server's certificate in this run; nothing where it has not."""
    asked = variables.get("__postgres_server_converged") or {}
    installed = (variables.get("__postgres_server_installed") or {}) if asked.get("reasons") else {}
    return installed.get("certificate") or asked.get("certificate") or {}


def _has_identities(variables: Mapping[str, Any]) -> bool:
    return bool(variables.get("postgres_client_identities"))


def expectations(
    identities: Sequence[Identity],
    fleet: Fleet,
    everybody: Sequence[Identity],
    refused: Sequence[str] = tuple(REFUSALS),
    other_role: str = "",
    *,
    tried: Tried = _NOTHING,
) -> list[dict[str, Any]]:
    """Return what one client host has to try: what has to work, and the refusals.

    ``everybody`` are the identities of all client hosts, ``refused`` the kinds of refusal to try, ``other_role`` the
    role to ask for with another role's certificate (default: some other role of the fleet, else the superuser). The
    result is what module connection takes, without what is ``tried`` elsewhere. Raises TlsError for an unknown kind.
    """
    unknown = [kind for kind in refused if kind not in REFUSALS]
    if unknown:
        raise TlsError(f"postgres_verify_refusals: {unknown[0]!r} is none of {', '.join(REFUSALS)}.")
    firsts = {identity.os_user: identity for identity in reversed(identities)}
    usual = [(server, usual_name(server, fleet)) for server in fleet.servers]
    found = []
    for identity in identities:
        other = _other(identity, everybody, other_role)
        kinds = [kind for kind in refused if identity == identities[0] or kind not in _OF_ANY_IDENTITY]
        kinds = [kind for kind in kinds if not (kind == "foreign_certificate" and tried.foreign)]
        # The default rules decide of the fleet's roles alone; of another one, what stood in the file before
        is_tried = (identity.role, identity.database) in tried.roles and other.role in {one.role for one in everybody}
        own_files = ["service", *(["default"] if firsts[identity.os_user] == identity else [])]
        for server, name in usual:
            found += _by_every_name(identity, server, fleet)
            owners = fleet.of(server, name) if name else ()
            if name is None or owners[0] is not server:  # all of its names are shared, and another server has it, too
                continue
            common = _common(identity, owners, name)
            if identity.replicates and identity.database != _REPLICATION:
                found.append({**common, **_target(_REPLICATION), "expect": "accepted"})
            found += [{**common, "expect": "accepted", "files": one} for one in own_files]
            is_spared = is_tried and all(one.has_default_rules for one in owners)
            here = [kind for kind in kinds if not (is_spared and kind in _OF_RULES)]
            found += _ruled_out(identity, owners, name, other, here)
            own_files, kinds = [], [kind for kind in kinds if kind not in _OF_LIBPQ]
    return found + (_untried(identities[0], fleet, tried) if identities and not tried.names else [])


def usual_name(server: Server, fleet: Fleet) -> str | None:
    """Return the name for checks that need one, if the client host can try any.

    It is a DNS name rather than an address, which libpq before 15 cannot verify, and one that leads to this server
    alone.
    """
    usable = [name for name in server.names if fleet.can_try(server, name)]

    def drawbacks(name: str) -> tuple[bool, bool, bool]:
        return packed_address(name) is not None, is_loopback(name), len(fleet.of(server, name)) > 1

    return min(usable, key=drawbacks, default=None)


def _tried(hosts: Iterable[Mapping[str, Any]], database: str) -> Tried:
    """Return what these client hosts try; one that does not try every kind of refusal counts for nothing."""
    found = [
        (one.role, one.database)
        for host in hosts
        if set(host.get("postgres_verify_refusals", REFUSALS)) >= set(REFUSALS)
        for one in identities_of(host.get("postgres_client_identities", ()), database)
    ]
    return Tried(bool(found), frozenset(found), names=any(map(_has_identities, hosts)))


def _by_every_name(identity: Identity, server: Server, fleet: Fleet) -> list[dict[str, Any]]:
    names = [name for name in server.names if fleet.can_try(server, name) and fleet.of(server, name)[0] is server]
    return [{**_common(identity, fleet.of(server, name), name), "expect": "accepted"} for name in names]


def _untried(identity: Identity, fleet: Fleet, tried: Tried) -> list[dict[str, Any]]:
    """Return a skipped check for each name that no client host of the run can try."""
    return [
        {**_common(identity, (server,), name), "expect": "accepted", "skip": why_untried(name)}
        for server in fleet.servers
        for name in server.names
        if _is_wildcard(name) or (is_loopback(name) and server.machine not in {*tried.here, fleet.machine})
    ]


def why_untried(name: str) -> str:
    """Return why no client host connects by a name, '' if one can."""
    if _is_wildcard(name):
        return "nobody connects to a wildcard"
    return "only this server itself can reach it, and has no client identity" if is_loopback(name) else ""


def _ruled_out(
    identity: Identity, owners: Sequence[Server], name: str, other: Identity, kinds: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for kind in kinds:
        one = {**_common(identity, owners, name), "expect": "refused", "kind": kind}
        if kind == "another_role":
            one.pop("replication", None)
            one.update(role=other.role, certificate_role=identity.role, **_target(other.database))
        if kind == "plaintext" and not all(owner.rejects_plaintext for owner in owners):
            one["skip"] = "postgres_server_plaintext of this server allows it"
        found.append(one)
    return found


def _common(identity: Identity, owners: Sequence[Server], name: str) -> dict[str, Any]:
    return {
        "server": ", ".join(one.name for one in owners),
        "certificates": [one.certificate for one in owners],
        **({"asks_for_password": True} if any(one.asks_for_password for one in owners) else {}),
        "host": name,
        "port": owners[0].port,
        "os_user": identity.os_user,
        **({"home": identity.home} if identity.home else {}),
        "role": identity.role,
        **_target(identity.database),
    }


def _target(database: str) -> dict[str, Any]:
    """Return the options that say what to connect to: a database, or replication as pg_hba.conf calls it."""
    return {"database": database, **({"replication": True} if database == _REPLICATION else {})}


def _other(identity: Identity, everybody: Sequence[Identity], wanted: str) -> Identity:
    """Return whom to pretend to be with the certificate of ``identity``."""
    if wanted and wanted != identity.role:
        known = (one for one in everybody if one.role == wanted)
        return next(known, identity._replace(role=wanted))
    others = (one for one in everybody if one.role != identity.role)
    return next(others, identity._replace(role=SUPERUSER if identity.role != SUPERUSER else _NOBODY))


def _database(identity: Mapping[str, Any], default: str) -> str:
    """Return the first database that an identity names, where pg_hba.conf's words name none but replication."""
    for name in identity.get("databases") or ():
        if name == "sameuser":
            return str(identity["role"])
        if name not in _DATABASE_WORDS and not str(name).startswith(("/", "+", "@")):
            return str(name)
    return _REPLICATION if list(identity.get("databases") or ()) == [_REPLICATION] else default


def _certificate(name: str, names: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server that may answer and the certificate that this run knows of it, as module connection takes it."""
    told = {key: known[key] for key in ("serial", "not_before") if key in known}
    return {"server": name, "names": sorted(set(map(_key, names))), **told}


@functools.lru_cache(maxsize=None)
def _key(name: str) -> str:
    """Return a name as a certificate holds it; what is none is refused elsewhere."""
    try:
        return x509_names.parse(name, "name").value
    except TlsError:
        return name


def _is_wildcard(name: str) -> bool:
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
