# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of servers that no client host of a run can connect by, and why."""

from __future__ import annotations

from typing import AbstractSet, Iterable

from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Host, Server, can_try
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import SELF, Name, is_loopback, is_wildcard


class Trying:
    """The client hosts that try connections in a run, and the servers that each of them connects to."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[tuple[Host, AbstractSet[str]]]] = {}
        self._by_machine: dict[tuple[str, str], list[tuple[Host, AbstractSet[str]]]] = {}

    def add(self, host: Host, identities: Iterable[Identity]) -> None:
        """Add a client host with its identities."""
        servers = frozenset[str]().union(*(one.servers for one in identities))
        self._by_name.setdefault(host.name, []).append((host, servers))
        self._by_machine.setdefault(host.machine, []).append((host, servers))

    def can_any(self, server: Server, name: Name) -> bool:
        """Return whether one of them connects to a server, and can do so by a name that is not for every host."""
        found = list(self._by_machine.get(server.machine, ())) if name.is_for_self else []
        found += [one for source in name.sources or () for one in self._by_name.get(source, ())]
        return any(server.name in servers and can_try(host, server, name) for host, servers in found)


def why(name: Name) -> str:
    """Return why no client host connects by a name that not every one can use."""
    if is_wildcard(name.text):
        return "nobody connects to a wildcard"
    if name.sources == frozenset():
        return "its from is empty: no client host connects by this name"
    if name.sources is None or name.sources == {SELF}:
        return "only this server itself can reach it, and has no client identity"
    return "no host in its from verifies connections to this server in this run"


def is_limited(name: Name) -> bool:
    """Return whether not every client host can connect by a name."""
    return name.sources is not None or is_wildcard(name.text) or is_loopback(name.text)
