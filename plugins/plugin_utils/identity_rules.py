# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of pg_hba.conf the clients of an inventory need."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    client_rules,
    databases,
    lexer,
    logins,
    rule_text,
)
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout
from ansible_collections.pgops.tls.plugins.plugin_utils import option_names, own_addresses
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
    it is known which client hosts are on the server's machine; without them, the server itself is, if it is a client.
    """
    graph = Graph(with_servers(groups or {}, [server])) if server else None
    known = list(hosts)
    own = hostvars[server] if hostvars and server in hostvars else {}
    own = own or next((one for one in known if server and one.get("inventory_hostname") == server), {})
    return _of_identities(
        [
            own_addresses.resolved(one, host, own, source)
            for host in known
            for source, one in own_addresses.declared(host, str(host.get("inventory_hostname") or ""))
            if graph is None or server in graph.servers_of(one)
        ]
    )


def access(
    hostvars: Mapping[str, Variables], groups: Groups, clients: Iterable[str] = ()
) -> dict[str, dict[str, list[Any]]]:
    """Return for each server the identities of ``clients`` (none: all client hosts), and the rules that they need.

    ``databases`` are those that they name. ``must_get_in`` are those that rules of the inventory must let in. The
    default rules are made from these identities.
    """
    graph = Graph(groups)
    found: dict[str, list[Any]] = {server: [] for server in groups.get(SERVERS, ())}
    chosen = frozenset(clients)
    for host in groups.get(CLIENTS, ()):
        if not chosen or host in chosen:
            for source, identity in own_addresses.declared(hostvars[host], host):
                for server in graph.servers_of(identity):
                    found[server].append(own_addresses.resolved(identity, hostvars[host], hostvars[server], source))
    return {
        server: {
            "clients": own,
            "rules": _of_identities(own, are_used=_HBA not in hostvars[server]),
            "databases": databases.of(own),
            "must_get_in": own if {_HBA, _TEMPLATE}.intersection(hostvars[server]) else [],
        }
        for server, own in found.items()
    }


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
            client_rules.refuse_two_logins(identities)
        return client_rules.rules(identities)
