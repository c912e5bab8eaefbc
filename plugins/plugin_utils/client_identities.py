# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identities of client hosts as the inventory declares them."""

from __future__ import annotations

from typing import Any, Collection, Iterable, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.client.identities import name_of
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases, logins
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph


class Identity(NamedTuple):
    """A role that an OS user of the client host logs in as, and the database to connect to.

    ``databases``: all that it names. ``replicates``: it makes physical replication connections, too. ``servers``: the
    servers that it is for, by their names in the inventory. ``default_files``: whether its files get libpq's default
    names, None if nothing says so. ``login`` is one of ``logins.LOGINS``. ``own_name`` tells it from other identities
    of the OS user with the same role, '' if there are none.
    """

    role: str
    os_user: str
    database: str
    home: str = ""
    replicates: bool = False
    servers: frozenset[str] = frozenset()
    default_files: bool | None = None
    login: str = logins.CERTIFICATE
    own_name: str = ""
    databases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of its directory and its service."""
        return self.own_name or self.role

    @property
    def id(self) -> str:
        """Return what tells it from others of its host, as module client names it."""
        return f"{self.os_user}/{self.name}"

    def service_at(self, server: str, database: str) -> str:
        """Return its service for a database of a server (see client/service_file.py), '' if there is none."""
        if database not in self.databases:
            return ""
        is_first = database == self.databases[0]
        return f"{self.name}@{server}" if is_first else "" if "]" in database else f"{self.name}@{server}/{database}"

    @property
    def has_certificate(self) -> bool:
        """Return whether it shows a certificate."""
        return self.login != logins.PASSWORD

    @property
    def shown(self) -> Mapping[str, Any]:
        """Return what its connections show and what servers must ask for, as module connection_info takes it."""
        needs = {} if self.login == logins.CERTIFICATE else {"needs_password": True}
        return needs if self.has_certificate else {"certificate": "none", **needs}


def has_identities(variables: Mapping[str, Any]) -> bool:
    """Return whether a host is a client."""
    return bool(variables.get("postgres_client_identities"))


def identities_of(
    declared: Iterable[Mapping[str, Any]], default_database: str = "", graph: Graph | None = None
) -> list[Identity]:
    """Return the identities in a host's postgres_client_identities that log in. Raises TlsError for an incomplete one.

    Without a ``graph``, they have no servers.
    """
    found: list[Identity] = []
    for number, one in enumerate(declared or ()):
        if isinstance(one, Mapping) and not logins.logs_in(one):
            continue
        if not isinstance(one, Mapping) or not one.get("role") or not one.get("os_user"):
            raise TlsError(
                f"postgres_client_identities[{number}]: expected a dictionary with role and os_user, found "
                f"{shown(one)}.",
                code="identity_not_dictionary",
            )
        home = str(one.get("home") or "")
        named = databases.named(one.get("databases") or (), str(one["role"]))
        replicates = databases.REPLICATION in (one.get("databases") or ())
        option = f"postgres_client_identities[{number}]"
        servers = graph.servers_of(one, option) if graph else frozenset()
        _refuse_replication(option, servers & graph.poolers if graph and replicates else ())
        own, default_files = (str(one["role"]), str(one["os_user"])), one.get("default_files")
        login = logins.login_of(one, option)
        usual = named[0] if named else _without_name(one, default_database)
        identity = Identity(*own, usual, home, replicates, servers, default_files, login)
        own_name = name_of(one) if one.get("name") else ""
        found.append(identity._replace(databases=tuple(named), own_name=own_name))
    return found


def _refuse_replication(option: str, poolers: Collection[str]) -> None:
    if poolers:
        raise TlsError(
            f"{option}: found replication in databases, and pooler {min(poolers)} in servers. Replication does not go "
            "through a pooler.",
            remedy="Make it an identity of its own, with the servers themselves in servers.",
            code="identity_replicates_through_pooler",
        )


def as_held(identities: Iterable[Identity], known: Iterable[Mapping[str, Any]]) -> list[Identity]:
    """Return identities with a certificate in place of a password, if they keep theirs until their servers follow.

    ``known`` are the identities in the last result of module client.
    """
    held = {one["id"] for one in known if one["is_held"]}
    return [
        one._replace(login=logins.CERTIFICATE) if one.id in held and not one.has_certificate else one
        for one in identities
    ]


def _without_name(identity: Mapping[str, Any], default: str) -> str:
    """Return what an identity connects to that names no database: pg_hba.conf's words name none but replication."""
    return databases.REPLICATION if list(identity.get("databases") or ()) == [databases.REPLICATION] else default
