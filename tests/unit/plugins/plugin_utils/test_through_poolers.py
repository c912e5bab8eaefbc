# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that go through poolers: which servers they are for, the rules there, and what they try."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import rule_text
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    endpoints,
    fleet,
    identity_rules,
    module_identities,
    moves,
    revoked_at_poolers,
    serials,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import identities_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph, with_servers
from ansible_collections.pgops.tls.tests.expected import from_inventory

GROUPS = {
    "postgres_servers": ["shop1", "shop2", "both1"],
    "postgres_poolers": ["pool1", "pool2", "both1"],
    "postgres_clients": ["app1"],
    "shop": ["shop1", "shop2", "pool1"],
    "pools": ["pool1", "pool2"],
}
APP = {"role": "app", "os_user": "web", "databases": ["shop"]}
FRONT, BACK = {"serial": "a1", "not_before": "2026-01-01T00:00:00Z"}, {"serial": "b2"}


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (None, {"shop1", "shop2", "both1"}),
        (["pool1"], {"pool1"}),
        (["pools"], {"pool1", "pool2"}),
        (["shop"], {"shop1", "shop2"}),
        (["shop2", "pool2"], {"shop2", "pool2"}),
        (["both1"], {"both1"}),
        (["postgres_poolers"], {"pool1", "pool2"}),
    ],
)
def test_a_name_stands_for_its_servers_or_else_for_its_poolers(named: Any, found: set[str]) -> None:
    graph = Graph(GROUPS)
    assert graph.servers_of({**APP, **({} if named is None else {"servers": named})}) == found
    assert graph.poolers == {"pool1", "pool2"}
    assert Graph(with_servers(GROUPS, ["pool1", "app1"])).poolers == graph.poolers


def test_an_unknown_name_is_refused_with_poolers_among_the_nearest() -> None:
    with pytest.raises(TlsError, match=r"'pool3' is no group or host .* such as pools, pool2, pool1\."):
        Graph(GROUPS).servers_of({**APP, "servers": ["pool3"]})
    with pytest.raises(TlsError, match=r"'app1' has no host in group postgres_servers or postgres_poolers"):
        Graph(GROUPS).servers_of({**APP, "servers": ["app1"]})
    with pytest.raises(TlsError, match=r"postgres_pooler_servers: 'pools' has no host in group postgres_servers\."):
        Graph(GROUPS).servers_named(["pools"], "postgres_pooler_servers")


def hostvars(*identities: dict[str, Any], **variables: Any) -> dict[str, dict[str, Any]]:
    """Return the variables of the hosts, where pool1 is before shop1; ``variables`` are more of them."""
    found: dict[str, dict[str, Any]] = {
        host: {"inventory_hostname": host, "ansible_host": f"10.0.0.{number}"}
        for number, host in enumerate(("shop1", "shop2", "both1", "pool1", "pool2", "app1"), 1)
    }
    found["pool1"]["postgres_pooler_servers"] = ["shop1"]
    found["app1"]["postgres_client_identities"] = list(identities)
    for host, more in variables.items():
        found[host].update(more)
    return found


def files(known: dict[str, dict[str, Any]], server: str) -> tuple[list[str], list[str]]:
    """Return the lines of pg_hba.conf and pg_ident.conf of a server, as action and filter find them."""
    found = identity_rules.access(known, GROUPS)[server]
    assert identity_rules.of_clients([known["app1"]], server, GROUPS, known) == found["rules"]
    return list(map(rule_text.rule_line, found["rules"])), list(map(rule_text.ident_line, found["maps"]))


def test_only_the_servers_behind_a_pooler_get_its_rules_and_none_for_the_identity_itself() -> None:
    known = hostvars({**APP, "servers": ["pool1"]})
    rules = ["hostssl shop app 10.0.0.4/32 cert map=pgops_pooler", "hostssl shop app all reject"]
    assert files(known, "shop1") == (rules, ["pgops_pooler pgbouncer app"])
    assert files(known, "shop2") == ([], [])
    assert identity_rules.undeclared(known, GROUPS) == []


def test_a_pooler_whose_role_would_be_a_regular_expression_is_refused() -> None:
    known = hostvars({**APP, "servers": ["pool1"]}, pool1={"postgres_pooler_role": "/p"})
    with pytest.raises(TlsError, match="role of the pooler '/p' begins with a slash"):
        identity_rules.access(known, GROUPS)


def test_who_also_connects_directly_meets_a_rule_that_the_pooler_does_not() -> None:
    known = hostvars({**APP, "servers": ["pool1", "shop1"]}, {"role": "batch", "os_user": "web", "servers": ["pool1"]})
    rules, maps = files(known, "shop1")
    assert rules == [
        "hostssl shop app 10.0.0.4/32 cert map=pgops_pooler",
        "hostssl shop app all cert",
        "hostssl all batch 10.0.0.4/32 cert map=pgops_pooler",
        "hostssl all batch all reject",
    ]
    assert maps == ["pgops_pooler app app", "pgops_pooler pgbouncer app", "pgops_pooler pgbouncer batch"]


def test_an_identity_with_a_password_meets_the_certificate_of_the_pooler_at_the_server() -> None:
    through = {**APP, "servers": ["pool1"], "login": "password"}
    rules, _maps = files(hostvars(through, {**APP, "servers": ["shop1"], "login": "password"}), "shop1")
    assert rules == ["hostssl shop app 10.0.0.4/32 cert map=pgops_pooler", "hostssl shop app all scram-sha-256"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"postgres_pooler_address": ["192.0.2.0/24", "self"]}, ["10.0.0.4/32", "192.0.2.0/24"]),
        ({"postgres_pooler_address": "192.0.2.7"}, ["192.0.2.7/32"]),
        ({"ansible_host": "10.0.0.1"}, ["10.0.0.1/32", "samehost"]),
    ],
)
def test_a_pooler_comes_from_its_own_addresses(variables: dict[str, Any], expected: list[str]) -> None:
    known = hostvars({**APP, "servers": ["pool1"]}, pool1=variables)
    rules = identity_rules.access(known, GROUPS)["shop1"]["rules"]
    assert [one["address"] for one in rules if one["method"] == "cert"] == expected


def test_without_the_servers_behind_it_nothing_is_made_and_the_run_says_what_to_declare() -> None:
    known = hostvars({**APP, "servers": ["pool2"]})
    assert identity_rules.access(known, GROUPS)["shop1"]["rules"] == []
    (warning,) = identity_rules.undeclared(known, GROUPS)
    assert warning.startswith("pool2: identities go through this pooler, but postgres_pooler_servers does not say")
    own = {"postgres_server_hba": []}
    assert identity_rules.undeclared(hostvars(APP, shop1=own, shop2=own, both1=own), GROUPS) == []


def test_rules_of_the_inventory_must_let_the_pooler_in() -> None:
    known = hostvars({**APP, "servers": ["pool1"]}, shop1={"postgres_server_hba": []})
    found = identity_rules.access(known, GROUPS)["shop1"]
    assert found["maps"] == []
    login = {"role": "app", "databases": ["shop"], "address": ["10.0.0.4/32"], "pooler": "pgbouncer"}
    assert (found["must_get_in"], found["databases"]) == ([login], [])
    paths = {"pg_hba.conf": "/nowhere/pg_hba.conf", "pg_ident.conf": "/nowhere/pg_ident.conf"}
    rules, maps = "hostssl shop app 10.0.0.0/8 cert map=x\n", "x pgbouncer app\n"
    lockout.refuse_to_forget([login], lockout.files(rules, maps, paths, 15), 15)
    for hba, ident in ((rules, ""), ("hostssl shop app all cert\n", maps)):
        with pytest.raises(TlsError) as failure:
            lockout.refuse_to_forget([login], lockout.files(hba, ident, paths, 15), 15)
        assert "app in database shop from 10.0.0.4/32 by the certificate pgbouncer of a pooler" in failure.value.message
        assert "address: 10.0.0.4/32, method: cert, map: pgops_pooler} and in ident: {map: " in failure.value.message


def test_the_certificate_of_an_identity_is_of_the_authority_of_its_pooler() -> None:
    billing = {"postgres_pooler_client_authority": "billing"}
    trust = Trust.of_fleet(hostvars(pool2=billing, shop2={"postgres_server_client_authority": "billing"}), GROUPS)
    assert trust.of({**APP, "servers": ["pool2"]}) == "billing"
    with pytest.raises(TlsError, match=r"trust different client authorities, billing \(pool2\) and client \(shop1\)"):
        trust.of({**APP, "servers": ["shop1", "pool2"]})


def test_replication_does_not_go_through_a_pooler() -> None:
    with pytest.raises(TlsError, match=r"\[0\]: found replication in databases, and pooler pool1 in servers"):
        identities_of([{**APP, "databases": ["replication"], "servers": ["pool1"]}], graph=Graph(GROUPS))


def test_a_client_host_gets_a_service_for_its_pooler() -> None:
    names = [{"name": "pool.example.com", "port": 5432}]
    known = hostvars({**APP, "servers": ["pool1"]}, pool1={"postgres_pooler_names": names})
    graph = Graph(GROUPS)
    servers = [fleet.endpoint_of(known[host], graph) for host in ("shop1", "pool1", "pool2")]
    texts = endpoints.endpoints(servers, [fleet.Host("app1")]).as_texts()
    told = {"authority": "client", "authorities": {}, "unready": ["pool1"], "names": "", **texts}
    told.update(bundles={}, trusts="{}")
    own = module_identities.of_host([{**APP, "servers": ["pools"]}, APP], told, GROUPS, "app1")
    assert [one["endpoints"] for one in own.identities] == [
        [
            {"server": "pool1", "host": "pool.example.com", "port": 5432},
            {"server": "pool2", "host": "pool2", "port": 6432},
        ],
        [{"server": "shop1", "host": "shop1", "port": 5432}],
    ]
    assert own.identities[0]["servers_ready"] is False
    assert "servers_ready" not in own.identities[1]


def tried(mode: str, **identity: Any) -> list[dict[str, Any]]:
    """Return what an identity tries that goes through a pooler of this mode, which this run has brought along."""
    pooler = {
        "inventory_hostname": "pool1",
        "postgres_pooler_client_tls_sslmode": mode,
        "postgres_pooler_converged": {"certificates": {"front": FRONT, "back": BACK}},
    }
    servers = [{"inventory_hostname": "shop1"}, pooler]
    return from_inventory(servers, [{**APP, "servers": ["pool1"], **identity}], groups=GROUPS)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("require", ["plaintext", "foreign_certificate", "wrong_name", "foreign_root"]),
        ("verify-full", ["plaintext", "no_certificate", "foreign_certificate", "wrong_name", "foreign_root"]),
    ],
)
def test_what_a_pooler_demands_of_everybody_is_what_it_must_refuse(mode: str, expected: list[str]) -> None:
    found = tried(mode)
    assert [one["kind"] for one in found if one["expect"] == "refused"] == expected
    assert {(one["server"], one["host"], one["port"], one["pooler"]) for one in found} == {
        ("pool1", "pool1", 6432, mode)
    }
    known = {"server": "pool1", "names": ["pool1"], "serial": "a1", "back_serial": "b2"}
    assert found[0]["certificates"] == [{**known, "not_before": FRONT["not_before"]}]


def test_a_pooler_that_also_takes_plaintext_is_not_tried_without_tls() -> None:
    (plain,) = [one for one in tried("prefer") if one.get("kind") == "plaintext"]
    assert plain["skip"] == "postgres_pooler_client_tls_sslmode of this pooler allows it"
    kinds = [one["kind"] for one in tried("require", login="both") if one["expect"] == "refused"]
    assert "no_certificate" in kinds, "the identity says so"


def test_sessions_of_a_pooler_are_compared_with_its_own_certificate() -> None:
    groups = {key: [one for one in hosts if one != "both1"] for key, hosts in GROUPS.items()}
    known = hostvars({**APP, "servers": ["pool1"]}, app1={"postgres_client_converged": {"identities": []}})
    assert serials.client_serials(known, groups)["shop1"] == {}, "of a pooler that has said nothing nothing is old"
    known["pool1"]["postgres_pooler_certificates"] = {"certificates": {"back": BACK}}
    assert serials.client_serials(known, groups) == {"shop1": {"pgbouncer": ["b2"]}, "shop2": {}}


def test_a_server_moves_to_another_authority_only_with_the_poolers_before_it() -> None:
    moving = {"postgres_server_converged": {"still_trusted": ["client"]}}
    known = hostvars(shop1=moving)
    (move,) = moves.moves(known, GROUPS)
    assert move.objection == "this run learned nothing about pooler pool1"
    known["pool1"]["postgres_pooler_converged"] = {"certificates": {}}
    assert moves.moves(known, GROUPS)[0].objection == ""


def test_revoked_certificates_that_poolers_accept_are_told_with_what_to_do() -> None:
    known = hostvars(pool2={"postgres_pooler_client_authority": "billing"})
    authorities = {"server": {"revoked": ["1"]}, "client": {"revoked": ["a1", "b2"]}, "billing": {"revoked": []}}
    first, last = revoked_at_poolers.lines(known, GROUPS, authorities)
    assert "of client authority client until they expire: pool1, both1. Serial numbers: a1, b2." in first
    assert "hostssl all ROLE all reject" in last
    assert revoked_at_poolers.lines(known, GROUPS, {**authorities, "client": {"revoked": []}}) == []
    assert revoked_at_poolers.lines(known, {"postgres_servers": ["shop1"]}, authorities) == []
