# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of one client authority, tried at servers that trust another one: once for each pair in a run."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Server
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import Name


class Crossing(NamedTuple):
    """A certificate of ``identity`` that a ``server`` must refuse; by ``name`` its own client ``there`` gets in."""

    identity: Identity
    there: Identity
    server: Server
    name: Name


class Crossings:
    """What one client host can try, which has identities of several authorities. It can reach the servers of them."""

    def __init__(self) -> None:
        self._certificates: dict[str, Identity] = {}
        self._servers: dict[str, tuple[Identity, Server, Name]] = {}

    def note(self, identity: Identity, server: Server, name: Name) -> None:
        """Note that an identity connects to a server by a name that is that server's alone."""
        self._certificates.setdefault(server.authority, identity)
        if not server.still_trusted:  # it would accept the certificates of former authorities
            self._servers.setdefault(server.authority, (identity, server, name))

    def untried(self, tried: set[tuple[str, str]]) -> Iterator[Crossing]:
        """Return what no client host before has ``tried``, by the two authorities, and note it there."""
        for mine, identity in self._certificates.items():
            for theirs, (there, server, name) in self._servers.items():
                if mine != theirs and (mine, theirs) not in tried:
                    tried.add((mine, theirs))
                    yield Crossing(identity, there, server, name)
