# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The poolers of an inventory: their certificates, the servers behind them, and how they log in there."""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import BACK, FRONT
from ansible_collections.pgops.tls.plugins.plugin_utils import results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import POOLERS, Graph, Groups, Hostvars, Variables

AUTHORITY, SERVERS_BEHIND = "postgres_pooler_client_authority", "postgres_pooler_servers"
Said = Callable[[Variables, str], Mapping[str, Any]]


def ids(host: str) -> dict[str, str]:
    """Return the ids of a pooler's two certificates, as the ledger has them: the front's and the back's."""
    return {name: f"{host}/pooler/{name}" for name in (FRONT, BACK)}


def client_authority(variables: Variables) -> str:
    """Return the client authority of a pooler. Raises TlsError for text that is no name."""
    return profiles.check_client_authority(variables.get(AUTHORITY, profiles.CLIENT), AUTHORITY)


def role(variables: Variables) -> str:
    """Return the common name of the certificate by which a pooler logs in to PostgreSQL."""
    return str(variables.get("postgres_pooler_role", "pgbouncer"))


def back_serial(variables: Variables) -> str:
    """Return the serial number of the certificate by which a pooler logs in, as a run has learned it; '' if unknown."""
    found = results.looked_up(variables, "pooler") or results.last(variables, "pooler")
    return str((found.get("certificates") or {}).get(BACK, {}).get("serial") or "")


def sslmode(variables: Variables) -> str:
    """Return what a pooler demands of its clients."""
    return str(variables.get("postgres_pooler_client_tls_sslmode", "require"))


def step_of(id_: str) -> str:
    """Return the step of a run that is for the certificate with this id."""
    host, separator, _others = id_.partition("/")
    return "server" if not separator else "pooler" if id_ in ids(host).values() else "client"


def certificates(hostvars: Hostvars, groups: Groups, said: Said) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give authority, id and facts of each certificate of a pooler. ``said`` is ``results.last``, or one like it."""
    for host in groups.get(POOLERS, ()):
        found = said(hostvars[host], "pooler").get("certificates") or {}
        authorities = {FRONT: profiles.SERVER, BACK: client_authority(hostvars[host])}
        for name, id_ in ids(host).items():
            if name in found:
                yield authorities[name], id_, found[name]


class Behind:
    """The servers behind each pooler that identities go through. Each pooler is looked up once."""

    def __init__(self, hostvars: Hostvars, graph: Graph) -> None:
        self._hostvars, self._graph = hostvars, graph
        self.of = functools.lru_cache(maxsize=None)(self._of)

    def _of(self, pooler: str) -> frozenset[str]:
        """Return the servers that a pooler declares; none if it declares nothing. Raises TlsError."""
        return self._graph.servers_named(self._hostvars[pooler].get(SERVERS_BEHIND) or (), SERVERS_BEHIND)

    def any_of(self, named: frozenset[str]) -> frozenset[str]:
        """Return the servers behind any of these poolers."""
        return frozenset().union(*map(self.of, named))
