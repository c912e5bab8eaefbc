# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a graph: which servers each identity of a client host connects to.

``servers`` of an identity names groups and hosts of the inventory. Without it, an identity connects to every server.
"""

from __future__ import annotations

import difflib
import functools
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

SERVERS, POOLERS, CLIENTS = "postgres_servers", "postgres_poolers", "postgres_clients"
STEPS = {SERVERS: "server", POOLERS: "pooler", CLIENTS: "client"}  # the groups, and the step of a run that is for each
_KEY = "postgres_client_identities"

Groups = Mapping[str, Sequence[str]]
Variables = Mapping[str, Any]
Hostvars = Mapping[str, Variables]


def with_servers(groups: Groups, hosts: Iterable[str]) -> Groups:
    """Return the groups with more hosts among the servers: a role alone may be for hosts of any group."""
    return {**groups, SERVERS: list(dict.fromkeys([*groups.get(SERVERS, ()), *hosts]))}


class Graph:
    """The servers of an inventory, and which of them an identity is for. Each list of names is looked up once."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._servers = frozenset(groups.get(SERVERS, ()))
        self._found: dict[tuple[str, ...], frozenset[str]] = {}
        self._hosts: dict[tuple[str, ...], frozenset[str]] = {}

    def servers_of(self, identity: object, option: str = _KEY) -> frozenset[str]:
        """Return the names of the servers that an identity is for. Raises TlsError, naming ``option``."""
        if not isinstance(identity, Mapping):
            raise TlsError(
                f"{option}: expected dictionaries with role and os_user, found {shown(identity)}.",
                code="identity_not_dictionary",
            )
        named = identity.get("servers")
        if named is None:
            return self._servers
        if not isinstance(named, (list, tuple)) or not named:
            raise TlsError(
                f"{option}.servers: found {shown(named)}, expected a list of groups or hosts of the inventory.",
                remedy="Name them, or leave servers out if the identity connects to every server.",
                code="identity_servers_invalid",
            )
        key = tuple(map(str, named))
        if key not in self._found:
            self._found[key] = frozenset(server for name in key for server in self._named(name, option))
        return self._found[key]

    def hosts_of(self, names: Iterable[str], option: str) -> frozenset[str]:
        """Return the hosts that names of groups and hosts stand for. Raises TlsError, naming ``option``."""
        key = tuple(names)
        if key not in self._hosts:
            self._hosts[key] = frozenset(host for name in key for host in self._any_of(name, option))
        return self._hosts[key]

    def _named(self, name: str, option: str) -> Iterable[str]:
        """Return the servers that a name stands for: a group's, or a host."""
        found = self._servers.intersection(self._groups.get(name, ())) or self._servers.intersection([name])
        if found:
            return found
        is_known = name in self._groups or any(name in hosts for hosts in self._groups.values())
        fault = f"{option}.servers: {shown(name)} is no group or host of the inventory."
        if is_known:
            fault = f"{option}.servers: {shown(name)} has no host in group {SERVERS}."
        raise TlsError(fault, remedy=self._remedy(name), code="identity_servers_unknown")

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

    def _remedy(self, name: str) -> str:
        groups = [group for group, hosts in self._groups.items() if self._servers.intersection(hosts)]
        known = sorted({*groups, *self._servers} - {"all", SERVERS})
        near = difflib.get_close_matches(name, known, n=3) or known[:3]
        return (
            f"Name groups or hosts with servers, such as {', '.join(near)}." if near else f"Put servers into {SERVERS}."
        )
