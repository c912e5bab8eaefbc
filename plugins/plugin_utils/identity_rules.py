# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of pg_hba.conf the clients of an inventory need."""

from __future__ import annotations

import functools
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    client_rules,
    databases,
    lexer,
    logins,
    rule_text,
)
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout
from ansible_collections.pgops.tls.plugins.plugin_utils import kits, option_names, own_addresses, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    SERVERS,
    Graph,
    Groups,
    Hostvars,
    Variables,
    with_servers,
)

_HBA, _MODE = "postgres_server_hba", "postgres_server_hba_mode"
_TEMPLATE, _OWN_TEMPLATE = "postgres_server_hba_template", "pg_hba.conf.j2"


def of_clients(
    hosts: Iterable[Variables], server: str = "", groups: Groups | None = None, hostvars: Hostvars | None = None
) -> list[dict[str, Any]]:
    """Return the rules for the roles in the hosts' postgres_client_identities. Raises TlsError.

    Only the identities for ``server`` count, if there is one; ``groups`` are those of the inventory. From ``hostvars``
    it is known which client hosts are on the server's machine, and who comes through poolers; without them, the server
    itself is on its machine, if it is a client.
    """
    graph = Graph(with_servers(groups or {}, [server])) if server else None
    through = _Through(hostvars or {}, graph) if graph and hostvars else None
    known = list(hosts)
    own = hostvars[server] if hostvars and server in hostvars else {}
    own = own or next((one for one in known if server and one.get("inventory_hostname") == server), {})
    found: list[Any] = []
    for host in known:
        for source, one in own_addresses.declared(host, str(host.get("inventory_hostname") or "")):
            if graph is None or server in graph.servers_of(one):
                found.append(own_addresses.resolved(one, host, own, source))
            found += [login for place, login in through.logins(one) if place == server] if through else []
    return _of_identities(found)


class _Through:
    """How poolers log in to the servers behind them, for the identities that go through them."""

    def __init__(self, hostvars: Hostvars, graph: Graph) -> None:
        self._hostvars, self._graph, self._behind = hostvars, graph, poolers.Behind(hostvars, graph)
        self._addresses = functools.lru_cache(maxsize=None)(self._address)

    def logins(self, identity: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give each server behind the poolers of an identity, and the login there, as an identity. Raises TlsError."""
        for pooler in sorted(self._graph.poolers.intersection(self._graph.servers_of(identity))):
            for server in self._behind.of(pooler):
                own = {key: identity[key] for key in ("role", "databases") if key in identity}
                name = poolers.role(self._hostvars[pooler])
                yield server, {**own, "address": self._addresses(pooler, server), "pooler": name}

    def _address(self, pooler: str, server: str) -> list[str]:
        return own_addresses.of_pooler(pooler, self._hostvars[pooler], self._hostvars[server])


def access(
    hostvars: Mapping[str, Variables], groups: Groups, clients: Iterable[str] = ()
) -> dict[str, dict[str, list[Any]]]:
    """Return for each server the identities of ``clients`` (none: all client hosts and kits), and their rules.

    ``databases`` are those that they name. ``must_get_in`` are those that rules of the inventory must let in. The
    default rules are made from these identities, and so are the ``maps`` for poolers. An identity that goes through a
    pooler is a login of the pooler at the servers behind it.
    """
    graph = Graph(groups)
    through = _Through(hostvars, graph)
    found: dict[str, list[Any]] = {server: [] for server in groups.get(SERVERS, ())}
    chosen = frozenset(clients)
    for host in groups.get(CLIENTS, ()):
        if not chosen or host in chosen:
            for source, identity in own_addresses.declared(hostvars[host], host):
                for server in graph.servers_of(identity) - graph.poolers:
                    found[server].append(own_addresses.resolved(identity, hostvars[host], hostvars[server], source))
                for server, login in through.logins(identity):
                    found[server].append(login)
    for identity in map(kits.as_identity, () if chosen else kits.declared(hostvars, groups)):
        for server in graph.servers_of(identity) - graph.poolers:
            found[server].append(identity)
        for server, login in through.logins(identity):
            found[server].append(login)
    return {
        server: {
            "clients": own,
            "rules": _of_identities(own, are_used=_HBA not in hostvars[server]),
            "maps": client_rules.maps(own) if _HBA not in hostvars[server] else [],
            "databases": databases.of([one for one in own if "pooler" not in one]),
            "must_get_in": own if {_HBA, _TEMPLATE}.intersection(hostvars[server]) else [],
        }
        for server, own in found.items()
    }


def undeclared(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return a warning for each pooler that identities go through and that does not say which servers are behind it.

    Where all servers have rules of the inventory's own, these have what poolers need.
    """
    if all(_HBA in hostvars[server] for server in groups.get(SERVERS, ())):
        return []
    graph = Graph(groups)
    identities = [one for host in groups.get(CLIENTS, ()) for _source, one in own_addresses.declared(hostvars[host])]
    used = frozenset().union(*(graph.servers_of(one) for one in identities)) & graph.poolers
    return [
        f"{pooler}: identities go through this pooler, but {poolers.SERVERS_BEHIND} does not say which servers are "
        f"behind it, so no rules are made for it there. Set {poolers.SERVERS_BEHIND} to these servers."
        for pooler in sorted(used)
        if not hostvars[pooler].get(poolers.SERVERS_BEHIND)
    ]


def refuse_useless(variables: Mapping[str, Any], identities: Iterable[Any]) -> None:
    """Raise TlsError where a server's own rules do not ask identities with a password for what they log in with.

    Identities with a certificate alone are left to the server, which knows more rules than its ``variables``.
    """
    if variables.get("postgres_server_on_lockout") == "allow" or variables.get(_TEMPLATE) != _OWN_TEMPLATE:
        return
    with option_names.named("postgres_server"):
        asked = [one for one in identities if logins.login_of(one, option("clients")) != logins.CERTIFICATE]
        text = "\n".join(rule_text.rule_line(rule) for rule in variables[_HBA]) if asked else ""
        after = lockout.files(text, "", dict.fromkeys(("pg_hba.conf", "pg_ident.conf"), _HBA), lexer.NEWEST)
        lockout.refuse_to_forget(asked, after, lexer.NEWEST, is_whole=variables.get(_MODE) == "replace")


def _of_identities(identities: Sequence[Any], *, are_used: bool = True) -> list[dict[str, Any]]:
    """Return the rules; those that are not used, because a server has rules of its own, may contradict each other."""
    with option_names.named("postgres_server"):
        if are_used:
            client_rules.refuse_patterns(identities)
            client_rules.refuse_two_logins(identities)
        return client_rules.rules(identities)
