# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections a fleet's inventory promises and which it rules out, as a list of expectations.

Each is tried as often as what it depends on differs, since every connection costs a handshake on both ends:

- what has to be accepted, by every identity, to each of its servers by every name;
- plaintext, no certificate and another role's by every identity to each of its servers: the rules and the role decide.
  Where a server has the default rules, which name no address, once from any client host;
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

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import (
    REPLICATION,
    Fleet,
    Identity,
    Server,
    fleet_of,
    has_identities,
    identities_of,
    is_loopback,
    is_wildcard,
    machine_of,
    server_of,
    usual_name,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Graph, Groups

SUPERUSER = "postgres"  # exists on every server: a certificate of the only role must not let in as this one
_NOBODY = "pgops_nobody"  # for a fleet whose only identity is the superuser; certificates are judged before roles
_OF_LIBPQ = ("wrong_name", "foreign_root")  # kinds that one identity has to try with one server
_OF_RULES = ("plaintext", "no_certificate", "another_role")


class Tried(NamedTuple):
    """What other client hosts try in the same run: on which servers as which roles in which databases.

    ``names``: they list the names that nobody can try. ``here``: the machines of all client hosts that try anything.
    """

    roles: frozenset[tuple[str, str, str]] = frozenset()
    names: bool = False
    here: frozenset[tuple[str, str]] = frozenset()

    @property
    def servers(self) -> set[str]:
        """Return the servers that some other client host tries."""
        return {server for server, _role, _database in self.roles}


_NOTHING = Tried()


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
    groups: Groups | None = None,
) -> list[dict[str, Any]]:
    """Return the expectations of a client host with these ``identities``, as ``expectations`` makes them.

    ``servers`` and ``clients`` are the variables of all server and all client hosts, ``before`` of those client hosts
    that verify in the same run and come before this one, ``here`` of this one. ``hosts`` are those of the run, none
    for all; ``groups`` those of the inventory, which identities may name as their servers. Raises TlsError for
    variables that are useless, and when there are identities but no servers.
    """
    clients = list(clients)
    found = [server_of(host) for host in servers]
    graph = Graph(groups if groups is not None else {SERVERS: [one.name for one in found]})
    own = identities_of(identities, database, graph)
    everybody = [
        one for host in clients for one in identities_of(host.get("postgres_client_identities", ()), database, graph)
    ]
    if own and not found:
        raise TlsError(
            "postgres_servers: expected the group of the PostgreSQL servers in the inventory, found no host in it. "
            "There is nothing to verify connections to.",
            code="servers_group_empty",
        )
    run = frozenset(hosts)
    elsewhere = [one for one in clients if not run or one.get("inventory_hostname") in run]
    tried = _tried(before, database, graph)._replace(here=frozenset(map(machine_of, filter(has_identities, elsewhere))))
    fleet = fleet_of(found, run, machine_of(here or {}))
    return expectations(own, fleet, [*own, *everybody], refused, other_role, tried=tried)


def expectations(
    identities: Sequence[Identity],
    fleet: Fleet,
    everybody: Sequence[Identity],
    refused: Sequence[str] = tuple(REFUSALS),
    other_role: str = "",
    *,
    tried: Tried = _NOTHING,
) -> list[dict[str, Any]]:
    """Return what one client host must try: what must work, and the refusals.

    ``everybody`` are the identities of all client hosts, ``refused`` the kinds of refusal to try, ``other_role`` the
    role to ask for with another role's certificate (default: some other role of the fleet, else the superuser). The
    result is what module connection_info takes, without what is ``tried`` elsewhere. Raises TlsError for an unknown
    kind.
    """
    unknown = [kind for kind in refused if kind not in REFUSALS]
    if unknown:
        raise TlsError(
            f"postgres_verify_refusals: {unknown[0]!r} is none of {', '.join(REFUSALS)}.", code="refusal_unknown"
        )
    firsts = {identity.os_user: identity for identity in reversed(identities)}
    usual = [(server, usual_name(server, fleet)) for server in fleet.servers]
    refusals = _Refusals(everybody, refused, other_role, tried)
    found = []
    for identity in identities:
        own_files = ["service", *(["default"] if firsts[identity.os_user] == identity else [])]
        for server, name in usual:
            if server.name not in identity.servers:
                continue
            found += _by_every_name(identity, server, fleet)
            owners = fleet.of(server, name) if name else ()
            if name is None or owners[0] is not server or not _is_for(identity, owners):
                continue  # all of its names are shared, and another server has it, too
            found += _by_usual_name(identity, owners, name, own_files)
            found += refusals.at(identity, owners, name)
            own_files = []
    return found + (_untried(identities[0], fleet, tried) if identities and not tried.names else [])


class _Refusals:
    """What one client host tries to be refused, each thing once."""

    def __init__(self, everybody: Sequence[Identity], refused: Sequence[str], other_role: str, tried: Tried) -> None:
        self._everybody, self._refused, self._other_role, self._tried = everybody, refused, other_role, tried
        self._of_libpq = set(_OF_LIBPQ)
        self._covered = tried.servers

    def at(self, identity: Identity, owners: Sequence[Server], name: str) -> list[dict[str, Any]]:
        """Return the refusals that an identity has to try by a name of servers, and that nobody has tried before."""
        other = _other(identity, owners, self._everybody, self._other_role)
        names = {one.name for one in owners}
        kinds = self._of_libpq | (set() if self._is_spared(identity, owners, other) else set(_OF_RULES))
        kinds |= set() if self._covered.issuperset(names) else {"foreign_certificate"}
        self._of_libpq = set()
        self._covered |= names
        return _ruled_out(identity, owners, name, other, [kind for kind in self._refused if kind in kinds])

    def _is_spared(self, identity: Identity, owners: Sequence[Server], other: Identity) -> bool:
        """Return whether another client host has tried what rules decide of a role.

        The default rules decide of the fleet's roles alone; of another one, what stood in the file before.
        """
        role = (identity.role, identity.database)
        is_tried = all(one.has_default_rules and (one.name, *role) in self._tried.roles for one in owners)
        return is_tried and any(one.role == other.role and _is_for(one, owners) for one in self._everybody)


def _is_for(identity: Identity, owners: Iterable[Server]) -> bool:
    return identity.servers.issuperset(one.name for one in owners)


def _by_usual_name(
    identity: Identity, owners: Sequence[Server], name: str, own_files: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what must work by one name of a server: replication, and each of the client's own files."""
    common = _common(identity, owners, name)
    found = [{**common, "expect": "accepted", "files": one} for one in own_files]
    if identity.replicates and identity.database != REPLICATION:
        found.insert(0, {**common, **_target(REPLICATION), "expect": "accepted"})
    return found


def _tried(hosts: Iterable[Mapping[str, Any]], database: str, graph: Graph) -> Tried:
    """Return what these client hosts try; one that does not try every kind of refusal counts for nothing."""
    found = frozenset(
        (server, one.role, one.database)
        for host in hosts
        if set(host.get("postgres_verify_refusals", REFUSALS)) >= set(REFUSALS)
        for one in identities_of(host.get("postgres_client_identities", ()), database, graph)
        for server in one.servers
    )
    return Tried(found, names=any(map(has_identities, hosts)))


def _by_every_name(identity: Identity, server: Server, fleet: Fleet) -> list[dict[str, Any]]:
    """Return what has to work by each name; one that may lead to a server of others is skipped."""
    found = []
    for name in server.names:
        owners = fleet.of(server, name) if fleet.can_try(server, name) else ()
        own = [one for one in owners if one.name in identity.servers]
        if not own or own[0] is not server:
            continue
        one = {**_common(identity, owners, name), "expect": "accepted"}
        others = [other.name for other in owners if other not in own]
        found.append({**one, "skip": f"it may lead to {others[0]}, which is no server of it"} if others else one)
    return found


def _untried(identity: Identity, fleet: Fleet, tried: Tried) -> list[dict[str, Any]]:
    """Return a skipped check for each name that no client host of the run can try."""
    return [
        {**_common(identity, (server,), name), "expect": "accepted", "skip": why_untried(name)}
        for server in fleet.servers
        for name in server.names
        if is_wildcard(name) or (is_loopback(name) and server.machine not in {*tried.here, fleet.machine})
    ]


def why_untried(name: str) -> str:
    """Return why no client host connects by a name, '' if one can."""
    if is_wildcard(name):
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
    return {"database": database, **({"replication": True} if database == REPLICATION else {})}


def _other(identity: Identity, owners: Sequence[Server], everybody: Sequence[Identity], wanted: str) -> Identity:
    """Return whom to pretend to be with the certificate of ``identity``: a role that these servers have."""
    if wanted and wanted != identity.role:
        known = (one for one in everybody if one.role == wanted)
        return next(known, identity._replace(role=wanted))
    others = (one for one in everybody if one.role != identity.role and _is_for(one, owners))
    return next(others, identity._replace(role=SUPERUSER if identity.role != SUPERUSER else _NOBODY))
