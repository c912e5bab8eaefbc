# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which client authority each server and pooler trusts, and so, which one each identity has its certificate from."""

from __future__ import annotations

import functools
import itertools
from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import has_certificate, is_managed, logs_in
from ansible_collections.pgops.tls.plugins.plugin_utils import patroni_members, poolers, services
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    SERVERS,
    Graph,
    Groups,
    Hostvars,
    Variables,
)

VARIABLE = "postgres_server_client_authority"
_IDENTITIES = "postgres_client_identities"


def of_server(variables: Variables) -> str:
    """Return the client authority that a server trusts. Raises TlsError for text that is no name."""
    return profiles.check_client_authority(variables.get(VARIABLE, profiles.CLIENT), VARIABLE)


class Trust:
    """Which client authority servers and poolers trust: the ``usual`` one, but for those that are in ``exceptions``.

    Few of them differ, so this stays small in a fleet of any size.
    """

    def __init__(self, usual: str, exceptions: Mapping[str, str], groups: Groups) -> None:
        self.usual = usual
        self.exceptions = exceptions
        self._groups = groups

    @classmethod
    def of_fleet(cls, hostvars: Hostvars, groups: Groups) -> Trust:
        """Return what the variables of an inventory's servers and poolers say. Raises TlsError."""
        servers = {server: of_server(hostvars[server]) for server in groups.get(SERVERS, ())}
        most = usual(servers.values())
        own = {pooler: poolers.client_authority(hostvars[pooler]) for pooler in Graph(groups).poolers}
        return cls(most, {host: name for host, name in {**servers, **own}.items() if name != most}, groups)

    @property
    def names(self) -> list[str]:
        """Return the authorities that the servers need."""
        return [self.usual, *sorted(set(self.exceptions.values()))]

    def of_server(self, server: str) -> str:
        """Return the authority that a server or pooler trusts."""
        return self.exceptions.get(server, self.usual)

    @functools.cached_property
    def _graph(self) -> Graph:
        return Graph(self._groups)

    def of(self, identity: Mapping[str, Any], option: str = _IDENTITIES) -> str:
        """Return the authority of an identity's certificate. Raises TlsError, naming ``option``, for several.

        An identity with a password has no certificate, so its servers may trust any. A service with names has one for
        servers, and its clients' authority does not count.
        """
        if identity.get("names"):
            return profiles.SERVER
        if is_managed(identity):
            return self.usual
        if not logs_in(identity):
            return services.authority(identity, option)
        if not self.exceptions or not has_certificate(identity):
            return self.usual
        found: dict[str, str] = {}
        for server in sorted(self._graph.servers_of(identity, option)):
            found.setdefault(self.of_server(server), server)
        if len(found) > 1:
            trusting = " and ".join(f"{name} ({server})" for name, server in found.items())
            raise TlsError(
                f"{option}.servers: the servers of identity {identity.get('os_user')}/{identity.get('role')} trust "
                f"different client authorities, {trusting}. A certificate is from one of them.",
                remedy=f"Make it one identity for each authority, with its servers in servers (see {VARIABLE}).",
                code="identity_servers_of_two_authorities",
            )
        return next(iter(found), self.usual)

    def apart(self, hostvars: Hostvars) -> list[tuple[str, str]]:
        """Return the pairs of authorities of which no client host has identities of both, so that none can try them."""
        if not self.exceptions:
            return []
        together = set()
        for host in self._groups.get(CLIENTS, ()):
            own = {self.of(one) for one in hostvars[host].get(_IDENTITIES) or () if logs_in(one)}
            together |= {(one, other) for one in own for other in own}
        return [pair for pair in itertools.combinations(self.names, 2) if pair not in together]

    def by_id(self, hostvars: Hostvars) -> dict[str, str]:
        """Return the authority of each identity of the inventory, by the id (HOST/OS_USER/NAME) of its certificate."""
        declared = {host: hostvars[host].get(_IDENTITIES) or () for host in self._groups.get(CLIENTS, ())}
        return {
            f"{host}/{id_}": self.of(one)
            for host, own in declared.items()
            for id_, one in zip(identities.ids(own), own)
        }


def needed(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return the client authorities that servers, poolers, other services or Patroni need. Raises TlsError."""
    fleet = hostvars, groups
    names = [*Trust.of_fleet(*fleet).names, *services.authorities(*fleet), *patroni_members.authorities(*fleet)]
    return list(dict.fromkeys(names))


def others(authorities: Mapping[str, Mapping[str, Any]], own: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the client authorities beside one of them, as role postgres_ca knows them, by name."""
    return [(name, found) for name, found in authorities.items() if name not in (profiles.SERVER, own)]


def as_former(authorities: Mapping[str, Mapping[str, Any]], own: str) -> list[dict[str, Any]]:
    """Return the authorities that a server of authority ``own`` may trust from before, as module server takes them."""
    return [
        {"name": name, "trusted_clients": found["bundle"], "crls": found["crls"]}
        for name, found in others(authorities, own)
    ]


def as_others(authorities: Mapping[str, Mapping[str, Any]], own: str) -> list[dict[str, Any]]:
    """Return the authorities beside ``own``, as module client takes them."""
    return [
        {
            "name": name,
            "issuing": found["issuing"],
            "trusted_clients": found["bundle"],
            "revoked": found["revoked"],
            "trusted_clients_crls": found["crls"],
        }
        for name, found in others(authorities, own)
    ]


def usual(names: Iterable[str]) -> str:
    """Return which of several authorities needs no mention: ``client``, else the first by name."""
    return min(names, key=lambda name: (name != profiles.CLIENT, name), default=profiles.CLIENT)
