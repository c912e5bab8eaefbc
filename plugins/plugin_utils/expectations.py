# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections a fleet's inventory promises and which it rules out, as a list of expectations.

Each is tried as often as what it depends on differs, since every connection costs a handshake on both ends:

- what must be accepted, by every identity, to every server by every name;
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

SUPERUSER = "postgres"  # exists on every server: a certificate of the only role must not let in as this one
_NOBODY = "pgops_nobody"  # for a fleet whose only identity is the superuser; certificates are judged before roles
_OF_LIBPQ = ("wrong_name", "foreign_root")  # kinds that one identity must try with one server
_OF_ANY_IDENTITY = ("foreign_certificate", *_OF_LIBPQ)  # kinds that one identity must try
_OF_RULES = ("plaintext", "no_certificate", "another_role")


class Tried(NamedTuple):
    """What other client hosts try in the same run: whether there is any, and as which roles in which databases.

    ``names``: they list the names that nobody can try. ``here``: the machines of all client hosts that try anything.
    """

    foreign: bool = False
    roles: frozenset[tuple[str, str]] = frozenset()
    names: bool = False
    here: frozenset[tuple[str, str]] = frozenset()


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
) -> list[dict[str, Any]]:
    """Return the expectations of a client host with these ``identities``, as ``expectations`` makes them.

    ``servers`` and ``clients`` are the variables of all server and all client hosts, ``before`` of those client hosts
    that verify in the same run and come before this one, ``here`` of this one. ``hosts`` are those of the run, none
    for all. Raises TlsError for variables that are useless, and when there are identities but no servers.
    """
    clients = list(clients)
    own = identities_of(identities, database)
    everybody = [one for host in clients for one in identities_of(host.get("postgres_client_identities", ()), database)]
    found = [server_of(host) for host in servers]
    if own and not found:
        raise TlsError(
            "postgres_servers: expected the group of the PostgreSQL servers in the inventory, found no host in it. "
            "There is nothing to verify connections to.",
            code="servers_group_empty",
        )
    run = frozenset(hosts)
    elsewhere = [one for one in clients if not run or one.get("inventory_hostname") in run]
    tried = _tried(before, database)._replace(here=frozenset(map(machine_of, filter(has_identities, elsewhere))))
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
    found = []
    for identity in identities:
        other = _other(identity, everybody, other_role)
        # The default rules decide of the fleet's roles alone; of another one, what stood in the file before
        is_tried = (identity.role, identity.database) in tried.roles and other.role in {one.role for one in everybody}
        kinds = _kinds(refused, tried, is_first=identity == identities[0])
        own_files = ["service", *(["default"] if firsts[identity.os_user] == identity else [])]
        for server, name in usual:
            found += _by_every_name(identity, server, fleet)
            owners = fleet.of(server, name) if name else ()
            if name is None or owners[0] is not server:  # all of its names are shared, and another server has it, too
                continue
            found += _by_usual_name(identity, owners, name, own_files)
            found += _ruled_out(identity, owners, name, other, _kinds_at(owners, kinds, is_tried=is_tried))
            own_files, kinds = [], [kind for kind in kinds if kind not in _OF_LIBPQ]
    return found + (_untried(identities[0], fleet, tried) if identities and not tried.names else [])


def _kinds(refused: Sequence[str], tried: Tried, *, is_first: bool) -> list[str]:
    """Return the kinds of refusal that an identity must try; ``is_first`` is that of the client host's first one."""
    own = [kind for kind in refused if is_first or kind not in _OF_ANY_IDENTITY]
    return [kind for kind in own if not (kind == "foreign_certificate" and tried.foreign)]


def _kinds_at(owners: Sequence[Server], kinds: Sequence[str], *, is_tried: bool) -> Sequence[str]:
    """Return the kinds to try at servers; ``is_tried``: by default rules, another client host has tried the role."""
    is_spared = is_tried and all(one.has_default_rules for one in owners)
    return [kind for kind in kinds if not (is_spared and kind in _OF_RULES)]


def _by_usual_name(
    identity: Identity, owners: Sequence[Server], name: str, own_files: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what must work by one name of a server: replication, and each of the client's own files."""
    common = _common(identity, owners, name)
    found = [{**common, "expect": "accepted", "files": one} for one in own_files]
    if identity.replicates and identity.database != REPLICATION:
        found.insert(0, {**common, **_target(REPLICATION), "expect": "accepted"})
    return found


def _tried(hosts: Iterable[Mapping[str, Any]], database: str) -> Tried:
    """Return what these client hosts try; one that does not try every kind of refusal counts for nothing."""
    found = [
        (one.role, one.database)
        for host in hosts
        if set(host.get("postgres_verify_refusals", REFUSALS)) >= set(REFUSALS)
        for one in identities_of(host.get("postgres_client_identities", ()), database)
    ]
    return Tried(bool(found), frozenset(found), names=any(map(has_identities, hosts)))


def _by_every_name(identity: Identity, server: Server, fleet: Fleet) -> list[dict[str, Any]]:
    names = [name for name in server.names if fleet.can_try(server, name) and fleet.of(server, name)[0] is server]
    return [{**_common(identity, fleet.of(server, name), name), "expect": "accepted"} for name in names]


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


def _other(identity: Identity, everybody: Sequence[Identity], wanted: str) -> Identity:
    """Return the role to claim with the certificate of ``identity``."""
    if wanted and wanted != identity.role:
        known = (one for one in everybody if one.role == wanted)
        return next(known, identity._replace(role=wanted))
    others = (one for one in everybody if one.role != identity.role)
    return next(others, identity._replace(role=SUPERUSER if identity.role != SUPERUSER else _NOBODY))
