# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities of services that are not PostgreSQL: certificates like all others, and nothing else changes by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    dependents,
    expectations,
    gaps,
    holders,
    identity_rules,
    kinds,
    moves,
    own_addresses,
    replicas,
    results,
    rotation,
    serials,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import identities_of
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import host_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2"]}
LOGIN = {"role": "app", "os_user": "web", "servers": ["db1"], "databases": ["shop"]}
SERVICES = [
    {"name": "exporter", "os_user": "web", "names": ["app1"], "authority": "metrics"},
    {"role": "backup1", "os_user": "web", "authority": "backup"},
]
CHECK = {
    "expect": "accepted", "wanted": "accepted", "status": "ok", "servers": ["db1"], "answered_by": "db1",
    "os_user": "web", "role": "app", "identity": "app", "host": "db1", "port": 5432, "reason": "",
}  # fmt: skip


def fleet(*services: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a fleet after a run: app1 logs in and has ``services``, and app2 has them alone."""
    known = [
        {"id": "web/app", "role": "app", "serial": "1", "is_held": False},
        {"id": "web/exporter", "role": "", "serial": "2", "is_held": False, "pem": "PEM"},
        {"id": "web/backup1", "role": "backup1", "serial": "3", "is_held": False},
    ]
    server = {"postgres_server_converged": {"certificate": {"serial": "a"}}}
    found: dict[str, dict[str, Any]] = {
        "db1": dict(server),
        "db2": dict(server),
        "app1": {
            "postgres_client_identities": [LOGIN, *services],
            "postgres_client_converged": {"identities": known if services else known[:1]},
            "postgres_verify_result": {"checks": [CHECK]},
        },
        "app2": {
            "postgres_client_identities": list(services),
            "postgres_client_converged": {"identities": known[1:] if services else []},
        },
    }
    return {host: {"inventory_hostname": host, **one} for host, one in found.items()}


def tried(hostvars: dict[str, Any]) -> list[Any]:
    graph = Graph(GROUPS)
    servers, clients = ([hostvars[host] for host in GROUPS[f"postgres_{kind}"]] for kind in ("servers", "clients"))
    planner = expectations.planner(servers, clients, [], graph, "postgres")
    hosts = [
        expectations.ClientHost(identities_of(one["postgres_client_identities"], "", graph), host_of(one))
        for one in clients
    ]
    return [planner.plan(one) for one in hosts]


def moving(hostvars: dict[str, Any]) -> Any:
    hostvars["db1"]["postgres_server_converged"] = {"still_trusted": ["old"], "certificate": {"serial": "a"}}
    return moves.moves(hostvars, GROUPS)


SAME: dict[str, Callable[[dict[str, Any]], object]] = {
    "default rules": lambda fleet: identity_rules.access(fleet, GROUPS),
    "rules of a role alone": lambda fleet: identity_rules.of_clients(fleet.values()),
    "connections": tried,
    "serial numbers of clients": lambda fleet: serials.client_serials(fleet, GROUPS),
    "nothing verified": lambda fleet: gaps.nothing_verified(fleet, GROUPS, [], is_tried=True),
    "servers without identities": lambda fleet: gaps.without_identities(fleet, GROUPS),
    "authorities apart": lambda fleet: gaps.authorities_apart(fleet, GROUPS),
    "authorities of servers": lambda fleet: Trust.of_fleet(fleet, GROUPS).names,
    "addresses": lambda fleet: list(own_addresses.problems("app1", fleet, GROUPS)),
    "who depends on a server": lambda fleet: dependents.refusal(fleet, GROUPS, ["db1"]),
    "who loses a server": lambda fleet: dependents.refusal(fleet, GROUPS, ["app1", "app2"]),
    "a move": moving,
    "what is not proven": lambda fleet: rotation.unproven(fleet, GROUPS),
}


@pytest.mark.parametrize("what", SAME)
def test_services_change_nothing_for_postgresql(what: str) -> None:
    assert SAME[what](fleet(*SERVICES)) == SAME[what](fleet())


def test_the_fleet_that_is_compared_has_what_services_could_change() -> None:
    assert identity_rules.access(fleet(), GROUPS)["db1"]["rules"] != []
    assert [len(one) > 3 for one in tried(fleet())] == [True, False]
    assert "app1" in dependents.refusal(fleet(), GROUPS, ["db1"])
    assert serials.client_serials(fleet(), GROUPS)["db1"] == {"app": ["1"]}


def test_a_run_with_services_alone_verifies_nothing_and_says_so() -> None:
    hostvars = fleet(*SERVICES)
    hostvars["app1"]["postgres_client_identities"] = SERVICES
    (warning, *_more) = gaps.nothing_verified(hostvars, GROUPS, [], is_tried=True)
    assert warning.startswith("WARNING: no connection was verified")


def test_their_certificates_count_by_the_authority_that_has_issued_them() -> None:
    found = {id_: name for name, id_, _one in kinds.certificates(fleet(*SERVICES), GROUPS, results.last)}
    assert found == {
        "db1": "server",
        "db2": "server",
        "app1/web/app": "client",
        "app1/web/exporter": "server",
        "app1/web/backup1": "backup",
        "app2/web/exporter": "server",
        "app2/web/backup1": "backup",
    }
    assert set(found) == kinds.ids(fleet(*SERVICES), GROUPS)
    in_use = serials.certificates_in_use(fleet(*SERVICES), GROUPS)
    assert {"authority": "server", "id": "app2/web/exporter", "serial": "2"} in in_use
    lost = serials.unrecorded(fleet(*SERVICES), GROUPS, {"server": ["a"], "client": ["1"], "backup": ["3"]})
    assert [one["id"] for one in lost] == ["app1/web/exporter", "app2/web/exporter"]


def test_who_has_such_a_certificate_cannot_be_revoked_by_name() -> None:
    hostvars, trust = fleet(*SERVICES), Trust.of_fleet(fleet(*SERVICES), GROUPS)
    found = holders.of_fleet(GROUPS, lambda host, _role: hostvars[host], trust)
    assert found["role", "backup1", "backup"] == "identity web/backup1 of host app2"
    assert ("host", "app2", "") in found
    assert not [key for key in found if key[1] in ("", "exporter")]


def test_a_server_does_not_replicate_with_the_certificate_of_a_service() -> None:
    own = {"role": "standby", "os_user": "postgres"}
    variables = {"postgres_server_replication_role": "standby", "postgres_client_identities": [own]}
    replicas.refuse_without_identity(variables)
    variables["postgres_client_identities"] = [{**own, "authority": "backup"}]
    with pytest.raises(TlsError, match="no identity in postgres_client_identities of this host has this role"):
        replicas.refuse_without_identity(variables)
