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

An identity that names ``replication`` among its databases makes physical replication connections, as a standby does:
one to every server, and all of its connections are of that kind when it names no other database.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusals import REFUSALS
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

SUPERUSER = "postgres"  # exists on every server: whom a certificate of the only role must not let in as
_NOBODY = "pgops_nobody"  # for a fleet whose only identity is the superuser; certificates are judged before roles
_OF_LIBPQ = ("wrong_name", "foreign_root")  # kinds that one identity has to try with one server
_OF_ANY_IDENTITY = ("foreign_certificate", *_OF_LIBPQ)  # kinds that one identity has to try
_OF_RULES = ("plaintext", "no_certificate", "another_role")
_RULES = ("postgres_server_hba", "postgres_server_hba_template")
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

    ``has_default_rules``: what they decide of a role they decide for all addresses.
    """

    name: str
    names: tuple[str, ...]
    port: int
    rejects_plaintext: bool
    has_default_rules: bool


class Tried(NamedTuple):
    """What other client hosts try in the same run: whether there is any, and as which roles in which databases."""

    foreign: bool = False
    roles: frozenset[tuple[str, str]] = frozenset()


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
) -> list[dict[str, Any]]:
    """Return the expectations of a client host with these ``identities``, as ``expectations`` makes them.

    ``servers`` and ``clients`` are the variables of all server and all client hosts, ``before`` of those client hosts
    that verify in the same run and come before this one. Raises TlsError for variables that are of no use, and when
    there are identities but no servers.
    """
    own = identities_of(identities, database)
    everybody = [one for host in clients for one in identities_of(host.get("postgres_client_identities", ()), database)]
    found = [server_of(host) for host in servers]
    if own and not found:
        raise TlsError(
            "postgres_servers: expected the group of the PostgreSQL servers in the inventory, found no host in it. "
            "There is nothing to verify connections to."
        )
    return expectations(own, found, [*own, *everybody], refused, other_role, tried=_tried(before, database))


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
    names = [*variables.get("postgres_server_names", [name]), *variables.get("postgres_server_extra_names", [])]
    return Server(
        name=name,
        names=tuple(dict.fromkeys(str(one) for one in names)),
        port=int(variables.get("postgres_server_port", 5432)),
        rejects_plaintext=variables.get("postgres_server_plaintext", "reject") == "reject",
        has_default_rules=not any(one in variables for one in _RULES),
    )


def expectations(
    identities: Sequence[Identity],
    servers: Sequence[Server],
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
    found = []
    for identity in identities:
        other = _other(identity, everybody, other_role)
        kinds = [kind for kind in refused if identity == identities[0] or kind not in _OF_ANY_IDENTITY]
        kinds = [kind for kind in kinds if not (kind == "foreign_certificate" and tried.foreign)]
        # The default rules decide of the fleet's roles alone; of another one, what stood in the file before
        is_tried = (identity.role, identity.database) in tried.roles and other.role in {one.role for one in everybody}
        own_files = ["service", *(["default"] if firsts[identity.os_user] == identity else [])]
        for server in servers:
            found += _by_every_name(identity, server)
            name = usual_name(server)
            if name is None:
                continue
            if identity.replicates and identity.database != _REPLICATION:
                found.append({**_common(identity, server, name), **_target(_REPLICATION), "expect": "accepted"})
            found += [{**_common(identity, server, name), "expect": "accepted", "files": one} for one in own_files]
            here = [kind for kind in kinds if not (is_tried and server.has_default_rules and kind in _OF_RULES)]
            found += _ruled_out(identity, server, name, other, here)
            own_files, kinds = [], [kind for kind in kinds if kind not in _OF_LIBPQ]
    return found


def usual_name(server: Server) -> str | None:
    """Return the name for checks that need one: a DNS name, else an address (libpq before 15 cannot verify those)."""
    usable = [name for name in server.names if not _is_wildcard(name)]
    return next((name for name in usable if packed_address(name) is None), usable[0] if usable else None)


def _tried(hosts: Iterable[Mapping[str, Any]], database: str) -> Tried:
    """Return what these client hosts try; one that does not try every kind of refusal counts for nothing."""
    found = [
        (one.role, one.database)
        for host in hosts
        if set(host.get("postgres_verify_refusals", REFUSALS)) >= set(REFUSALS)
        for one in identities_of(host.get("postgres_client_identities", ()), database)
    ]
    return Tried(bool(found), frozenset(found))


def _by_every_name(identity: Identity, server: Server) -> list[dict[str, Any]]:
    found = []
    for name in server.names:
        one = {**_common(identity, server, name), "expect": "accepted"}
        if _is_wildcard(name):
            one["skip"] = "nobody connects to a wildcard"
        found.append(one)
    return found


def _ruled_out(
    identity: Identity, server: Server, name: str, other: Identity, kinds: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for kind in kinds:
        one = {**_common(identity, server, name), "expect": "refused", "kind": kind}
        if kind == "another_role":
            one.pop("replication", None)
            one.update(role=other.role, certificate_role=identity.role, **_target(other.database))
        if kind == "plaintext" and not server.rejects_plaintext:
            one["skip"] = "postgres_server_plaintext of this server allows it"
        found.append(one)
    return found


def _common(identity: Identity, server: Server, name: str) -> dict[str, Any]:
    return {
        "server": server.name,
        "host": name,
        "port": server.port,
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


def _is_wildcard(name: str) -> bool:
    return name.startswith("*")
