# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a graph: which servers and poolers each identity of a client host connects to.

``servers`` of an identity names groups and hosts of the inventory. Without it, an identity connects to every server. A
name stands for the servers in it or, if there are none, for the poolers in it.
"""

from __future__ import annotations

import difflib
import functools
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins

SERVERS, POOLERS, CLIENTS = "postgres_servers", "postgres_poolers", "postgres_clients"
_KEY = "postgres_client_identities"

Groups = Mapping[str, Sequence[str]]
Variables = Mapping[str, Any]
Hostvars = Mapping[str, Variables]


def with_servers(groups: Groups, hosts: Iterable[str]) -> Groups:
    """Return the groups with more hosts among the servers: a role alone may be for hosts of any group."""
    poolers = groups.get(POOLERS, ())
    more = [host for host in hosts if host not in poolers]
    return {**groups, SERVERS: list(dict.fromkeys([*groups.get(SERVERS, ()), *more]))}


class Graph:
    """The servers and poolers of an inventory, and which an identity is for. Each list of names is looked up once.

    ``poolers`` are those that an identity can go through: the name of a host that is a server, too, means the server.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._servers = frozenset(groups.get(SERVERS, ()))
        self.poolers = frozenset(groups.get(POOLERS, ())) - self._servers
        self._found: dict[tuple[object, ...], frozenset[str]] = {}
        self._hosts: dict[tuple[str, ...], frozenset[str]] = {}

    def servers_of(self, identity: object, option: str = _KEY) -> frozenset[str]:
        """Return the servers and poolers that an identity connects to: none if it is for another service.

        Raises TlsError, naming ``option``.
        """
        if not isinstance(identity, Mapping):
            raise TlsError(
                f"{option}: expected dictionaries with role and os_user, found {shown(identity)}.",
                code="identity_not_dictionary",
            )
        if not logins.logs_in(identity):
            return frozenset()
        named = identity.get("servers")
        if named is None:
            return self._servers
        if not isinstance(named, (list, tuple)) or not named:
            raise TlsError(
                f"{option}.servers: found {shown(named)}, expected a list of groups or hosts of the inventory.",
                remedy="Name them, or leave servers out if the identity connects to every server.",
                code="identity_servers_invalid",
            )
        return self._listed(named, f"{option}.servers", with_poolers=True)

    def servers_named(self, named: Iterable[str], option: str) -> frozenset[str]:
        """Return the servers that names of groups and hosts stand for. Raises TlsError, naming ``option``."""
        return self._listed(named, option, with_poolers=False)

    def _listed(self, named: Iterable[object], option: str, *, with_poolers: bool) -> frozenset[str]:
        key = with_poolers, *map(str, named)
        if key not in self._found:
            known = (self._servers, self.poolers) if with_poolers else (self._servers,)
            self._found[key] = frozenset(host for name in key[1:] for host in self._named(str(name), option, known))
        return self._found[key]

    def hosts_of(self, names: Iterable[str], option: str) -> frozenset[str]:
        """Return the hosts that names of groups and hosts stand for. Raises TlsError, naming ``option``."""
        key = tuple(names)
        if key not in self._hosts:
            self._hosts[key] = frozenset(host for name in key for host in self._any_of(name, option))
        return self._hosts[key]

    def _named(self, name: str, option: str, known: Sequence[frozenset[str]]) -> Iterable[str]:
        """Return what a name stands for, a group's or a host: the first of the ``known`` that are in it."""
        own = self._groups.get(name, (name,))
        for hosts in (self.poolers,) if name == POOLERS else known:
            if not hosts.isdisjoint(own):
                return hosts.intersection(own)
        if name == POOLERS and own:
            raise TlsError(
                f"{option}: the hosts of {POOLERS} are servers, too, and their names stand for the servers.",
                remedy="Give the pooler a host of its own in the inventory, with the same ansible_host.",
                code="pooler_is_server",
            )
        is_known = name in self._groups or any(name in hosts for hosts in self._groups.values())
        fault = f"{option}: {shown(name)} is no group or host of the inventory."
        if is_known:
            groups = f"{SERVERS} or {POOLERS}" if len(known) > 1 and self.poolers else SERVERS
            fault = f"{option}: {shown(name)} has no host in group {groups}."
        raise TlsError(fault, remedy=self._remedy(name, frozenset().union(*known)), code="identity_servers_unknown")

    def _any_of(self, name: str, option: str) -> Iterable[str]:
        """Return the hosts that a name stands for, servers or not."""
        if name in self._groups:
            return self._groups[name]
        if name in self._every_host:
            return [name]
        near = difflib.get_close_matches(name, sorted({*self._groups, *self._every_host}), n=3)
        raise TlsError(
            f"{option}: {shown(name)} is no group or host of the inventory.",
            remedy=f"Name groups or hosts of the inventory, such as {', '.join(near)}."
            if near
            else "Name groups or hosts of the inventory.",
            code="name_from_unknown",
        )

    @functools.cached_property
    def _every_host(self) -> frozenset[str]:
        return frozenset(host for members in self._groups.values() for host in members)

    def _remedy(self, name: str, hosts: frozenset[str]) -> str:
        groups = [group for group, members in self._groups.items() if hosts.intersection(members)]
        known = sorted({*groups, *hosts} - {"all", SERVERS, POOLERS})
        near = difflib.get_close_matches(name, known, n=3) or known[:3]
        return (
            f"Name groups or hosts with servers, such as {', '.join(near)}." if near else f"Put servers into {SERVERS}."
        )
