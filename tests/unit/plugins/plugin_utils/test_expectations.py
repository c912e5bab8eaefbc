# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of connections that an inventory promises and rules out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils import client_identities, fleet, server_names
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph
from ansible_collections.pgops.tls.tests.expected import from_inventory

SERVER_DEFAULTS = Path(__file__).resolve().parents[4] / "roles" / "postgres_server" / "defaults" / "main.yml"
DB1_VARIABLES = {"inventory_hostname": "db1", "postgres_server_names": ["db1.example.com"]}
APP_OF_WWW = {"role": "app", "os_user": "www"}
BATCH = {"role": "batch", "os_user": "www", "databases": ["jobs"]}


def made(
    servers: list[dict[str, Any]], identities: list[dict[str, Any]], **options: Any
) -> list[tuple[str, str, str, str]]:
    """Return (role, host, what, files or certificate) of each expectation."""
    found = from_inventory(servers, identities, **options)
    return [
        (one["role"], one["host"], one.get("kind", one["expect"]), one.get("files", one.get("certificate_role", "")))
        for one in found
    ]


def test_every_identity_tries_every_server_by_every_name() -> None:
    servers = [
        {**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com", "192.0.2.1"]},
        {"inventory_hostname": "db2"},
    ]
    found = made(servers, [APP_OF_WWW, BATCH], refused=[])
    for role in ("app", "batch"):
        for name in ("db1.example.com", "db.example.com", "192.0.2.1", "db2"):
            is_by_service = (role, name) == ("batch", "db2")  # the only one that names its database
            assert (role, name, "accepted", "service" if is_by_service else "") in found


def test_what_depends_on_rules_and_role_is_refused_to_every_identity_by_every_server() -> None:
    servers = [{**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com"]}, {"inventory_hostname": "db2"}]
    for kind in ("plaintext", "no_certificate", "another_role"):
        found = made(servers, [APP_OF_WWW, BATCH], refused=[kind])
        tried = [(one[3] or one[0], one[1]) for one in found if one[2] == kind]
        assert tried == [(role, name) for role in ("app", "batch") for name in ("db1.example.com", "db2")]


def test_what_depends_on_neither_is_refused_once_by_every_server_or_once_by_libpq() -> None:
    servers = [{**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com"]}, {"inventory_hostname": "db2"}]
    other_user = {"role": "report", "os_user": "alice"}
    for kind, hosts in (
        ("foreign_certificate", ["db1.example.com", "db2"]),
        ("wrong_name", ["db1.example.com"]),
        ("foreign_root", ["db1.example.com"]),
    ):
        found = made(servers, [APP_OF_WWW, BATCH, other_user], refused=[kind])
        assert [one[:2] for one in found if one[2] == kind] == [("app", host) for host in hosts]


def test_every_refusal_is_beside_the_connection_that_has_to_work() -> None:
    servers = [{**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com"]}, {"inventory_hostname": "db2"}]
    found = from_inventory(servers, [APP_OF_WWW, BATCH, {"role": "report", "os_user": "alice"}])
    works = {
        (one["os_user"], one["role"], one["host"])
        for one in found
        if one["expect"] == "accepted" and one.get("files") != "default"
    }
    refused = [one for one in found if one["expect"] == "refused"]
    assert {one["kind"] for one in refused} == set(REFUSALS) - {"another_authority"}
    assert all((one["os_user"], one.get("certificate_role", one["role"]), one["host"]) in works for one in refused)


def test_each_identity_has_its_service_and_only_an_os_users_first_has_the_default_files() -> None:
    other_user = {"role": "report", "os_user": "alice"}
    found = made([DB1_VARIABLES, {"inventory_hostname": "db2"}], [APP_OF_WWW, BATCH, other_user], refused=[])
    assert [(one[0], one[1], one[3]) for one in found if one[3]] == [
        ("app", "db1.example.com", "service"),
        ("app", "db1.example.com", "default"),
        ("batch", "db1.example.com", "service"),
        ("batch", "db2", "service"),
        ("report", "db1.example.com", "service"),
        ("report", "db1.example.com", "default"),
    ]


@pytest.mark.parametrize(
    ("app", "batch", "expected"), [(False, None, []), (None, True, ["batch"]), (True, False, ["app"])]
)
def test_default_files_are_tried_for_the_identity_that_has_them(
    app: bool | None, batch: bool | None, expected: list[str]
) -> None:
    identities = [{**APP_OF_WWW, "default_files": app}, {**BATCH, "default_files": batch}]
    found = made([DB1_VARIABLES], identities, refused=[])
    assert [one[0] for one in found if one[3] == "default"] == expected


def test_the_known_names_of_servers_are_those_of_clients_the_inventory_and_ansible() -> None:
    aliases = [{"name": "alias.example.com", "port": 6432, "from": ["nobody"]}, "192.0.2.1"]
    servers = [
        {"inventory_hostname": "db1", "postgres_server_extra_names": aliases},
        {"inventory_hostname": "db2", "postgres_server_names": ["db2.example.com"], "ansible_host": "192.0.2.2"},
    ]
    known = fleet.known_names(map(fleet.server_of, servers), servers)
    assert known == ["db1", "alias.example.com", "192.0.2.1", "db2.example.com", "db2", "192.0.2.2"]


def test_a_service_is_tried_with_the_first_server_that_has_a_name() -> None:
    found = made(
        [{**DB1_VARIABLES, "postgres_server_names": ["*.example.com"]}, {"inventory_hostname": "db2"}], [APP_OF_WWW]
    )
    assert [(one[1], one[3]) for one in found if one[3] in {"service", "default"}] == [
        ("db2", "service"),
        ("db2", "default"),
    ]


def test_a_wildcard_is_skipped_and_never_used_for_another_check() -> None:
    found = from_inventory([{**DB1_VARIABLES, "postgres_server_names": ["*.example.com", "db1"]}], [APP_OF_WWW])
    assert [one["host"] for one in found if "skip" in one] == ["*.example.com"]
    assert {one["host"] for one in found if "skip" not in one} == {"db1"}


def test_a_server_that_has_nothing_but_a_wildcard_gives_one_skipped_check() -> None:
    (only,) = from_inventory([{**DB1_VARIABLES, "postgres_server_names": ["*.example.com"]}], [APP_OF_WWW])
    assert only["skip"]


def test_a_dns_name_is_preferred_to_an_address_for_refusals() -> None:
    found = from_inventory(
        [{**DB1_VARIABLES, "postgres_server_names": ["192.0.2.1", "2001:db8::1", "db1"]}], [APP_OF_WWW]
    )
    assert {one["host"] for one in found if one["expect"] == "refused"} == {"db1"}


def test_plaintext_is_skipped_where_the_server_allows_it() -> None:
    found = from_inventory([{**DB1_VARIABLES, "postgres_server_plaintext": "allow"}], [APP_OF_WWW])
    assert [one["kind"] for one in found if "skip" in one] == ["plaintext"]


def test_another_roles_certificate_asks_for_a_role_of_any_host_in_its_database() -> None:
    clients = [{"postgres_client_identities": [APP_OF_WWW]}, {}, {"postgres_client_identities": [BATCH]}]
    found = from_inventory([DB1_VARIABLES], [APP_OF_WWW], clients=clients)
    (other,) = [one for one in found if one.get("kind") == "another_role"]
    assert (other["role"], other["database"], other["certificate_role"]) == ("batch", "jobs", "app")


@pytest.mark.parametrize(
    ("identities", "wanted", "other"),
    [
        ([APP_OF_WWW], "", "postgres"),
        ([{"role": "postgres", "os_user": "root"}], "", "pgops_nobody"),
        ([APP_OF_WWW, BATCH], "report", "report"),
        ([APP_OF_WWW], "app", "postgres"),
    ],
)
def test_another_role_can_be_found_or_named(identities: list[dict[str, Any]], wanted: str, other: str) -> None:
    found = from_inventory([DB1_VARIABLES], identities, other_role=wanted)
    assert next(one["role"] for one in found if one.get("kind") == "another_role") == other


@pytest.mark.parametrize(
    ("databases", "database"),
    [
        (None, "postgres"),
        ([], "postgres"),
        (["all"], "postgres"),
        (["all", "shop"], "shop"),
        (["/^db"], "postgres"),
        (["@list", "+group", "samerole", "shop"], "shop"),
        (["sameuser"], "app"),
        (["shop", "jobs"], "shop"),
    ],
)
def test_the_first_real_database_of_an_identity_is_used(databases: list[str] | None, database: str) -> None:
    (found,) = client_identities.identities_of([{**APP_OF_WWW, "databases": databases}], "postgres")
    assert found.database == database


def test_the_defaults_are_those_of_the_role_of_the_servers() -> None:
    defaults = yaml.safe_load(SERVER_DEFAULTS.read_text())
    found = fleet.server_of({"inventory_hostname": "db1"})
    assert defaults["postgres_server_names"] == ["{{ inventory_hostname }}"]
    assert found.names == (server_names.Name("db1", defaults["postgres_server_port"]),)
    assert defaults["postgres_server_extra_names"] == []
    assert found.rejects_plaintext == (defaults["postgres_server_plaintext"] == "reject")


def test_a_name_that_is_there_twice_is_tried_once() -> None:
    found = made([{**DB1_VARIABLES, "postgres_server_extra_names": ["db1.example.com"]}], [APP_OF_WWW], refused=[])
    assert [one for one in found if not one[3]] == [("app", "db1.example.com", "accepted", "")]


def test_an_identity_that_is_incomplete_is_named() -> None:
    with pytest.raises(TlsError, match=r"postgres_client_identities\[1\]: expected a dictionary with role and os_user"):
        from_inventory([DB1_VARIABLES], [APP_OF_WWW, {"role": "x"}])


def test_identities_without_servers_are_an_error_and_no_identities_are_none() -> None:
    with pytest.raises(TlsError, match="postgres_servers: expected the group"):
        from_inventory([], [APP_OF_WWW])
    assert from_inventory([], []) == []


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(TlsError, match="'plain' is none of plaintext, no_certificate"):
        from_inventory([DB1_VARIABLES], [APP_OF_WWW], refused=["plain"])


def kinds_after(server: dict[str, Any], before: dict[str, Any], **options: Any) -> list[str]:
    """Return what a client host with the identities app and batch tries to be refused, after another one."""
    found = from_inventory([server], [APP_OF_WWW, BATCH], before=[before], **options)
    return [
        f"{one['certificate_role'] if 'certificate_role' in one else one['role']} {one['kind']}"
        for one in found
        if "kind" in one
    ]


def test_what_default_rules_refuse_to_one_client_host_is_not_tried_by_the_next() -> None:
    before = {"postgres_client_identities": [APP_OF_WWW]}
    assert kinds_after(DB1_VARIABLES, before) == [
        "app wrong_name",
        "app foreign_root",
        "batch plaintext",
        "batch no_certificate",
        "batch another_role",
    ]


def test_rules_that_may_name_addresses_are_tried_by_every_client_host() -> None:
    before = {"postgres_client_identities": [APP_OF_WWW, BATCH]}
    for own in ({"postgres_server_hba": []}, {"postgres_server_hba_template": "hba.j2"}):
        found = kinds_after({**DB1_VARIABLES, **own}, before)
        assert [one for one in found if one.endswith(("plaintext", "no_certificate", "another_role"))] == [
            f"{role} {kind}" for role in ("app", "batch") for kind in ("plaintext", "no_certificate", "another_role")
        ]
        assert "app foreign_certificate" not in found


def test_a_role_in_another_database_or_beside_a_role_without_rules_is_tried_again() -> None:
    elsewhere = {"postgres_client_identities": [{**APP_OF_WWW, "databases": ["sales"]}]}
    assert "app plaintext" in kinds_after(DB1_VARIABLES, elsewhere)
    assert "app another_role" in kinds_after(
        DB1_VARIABLES, {"postgres_client_identities": [APP_OF_WWW]}, other_role="postgres"
    )


def test_a_client_host_that_tries_less_or_nothing_spares_the_next_nothing() -> None:
    alone = kinds_after(DB1_VARIABLES, {})
    assert "app foreign_certificate" in alone
    assert "app plaintext" in alone
    lazy = {"postgres_client_identities": [APP_OF_WWW, BATCH], "postgres_verify_refusals": ["plaintext"]}
    assert kinds_after(DB1_VARIABLES, lazy) == alone


def test_an_identity_of_replication_alone_makes_no_other_connections() -> None:
    standby = {"role": "standby", "os_user": "postgres", "databases": ["replication"]}
    found = from_inventory([DB1_VARIABLES], [standby], clients=[{"postgres_client_identities": [APP_OF_WWW]}])
    as_app = [one for one in found if one["role"] == "app"]
    assert [one["kind"] for one in as_app] == ["another_role"]
    assert "replication" not in as_app[0]
    assert all(one["replication"] for one in found if one["role"] == "standby")
    assert {one["database"] for one in found if one["role"] == "standby"} == {"replication"}


def test_an_identity_of_replication_and_a_database_replicates_once_from_every_server() -> None:
    both = {"role": "app", "os_user": "www", "databases": ["replication", "shop"]}
    servers = [{**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com"]}, {"inventory_hostname": "db2"}]
    found = from_inventory(servers, [both])
    replicating = [one for one in found if one.get("replication")]
    assert [(one["host"], one["expect"]) for one in replicating] == [
        ("db1.example.com", "accepted"),
        ("db2", "accepted"),
    ]
    assert {one["database"] for one in found if not one.get("replication")} == {"shop"}


def certificate(serial: str, **more: Any) -> dict[str, Any]:
    """Return what module server has said of a server in this run."""
    return {
        "postgres_server_converged": {"certificate": {"serial": serial, "not_before": "2026-01-01T00:00:00Z", **more}}
    }


LOCAL1 = {"inventory_hostname": "db1", "postgres_server_names": ["db1.example.com", "localhost", "127.0.0.1"]}
LOCAL2 = {"inventory_hostname": "db2", "postgres_server_names": ["db2.example.com", "localhost", "::1"]}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def by_loopback(here: str, *identities: dict[str, Any], **options: Any) -> list[tuple[str, str, bool]]:
    """Return server and name of each loopback row of a client host, and whether it is skipped."""
    found = from_inventory([LOCAL1, LOCAL2], identities, here={"inventory_hostname": here}, **options)
    return [(one["server"], one["host"], "skip" in one) for one in found if one["host"] in LOOPBACK]


def test_loopback_names_are_tried_from_their_server_and_nowhere_else() -> None:
    clients = [
        {"inventory_hostname": name, "postgres_client_identities": [APP_OF_WWW, BATCH]}
        for name in ("db1", "app1", "app2")
    ]
    here = by_loopback("db1", APP_OF_WWW, BATCH, clients=clients)
    assert {one for one in here if not one[2]} == {("db1", "localhost", False), ("db1", "127.0.0.1", False)}
    assert [one for one in here if one[2]] == [("db2", "localhost", True), ("db2", "::1", True)], (
        "once, not by identity"
    )
    assert by_loopback("app1", APP_OF_WWW, clients=clients, before=clients[:1]) == [], (
        "another host has listed what is skipped"
    )
    assert by_loopback("app1", APP_OF_WWW, clients=clients) == [("db2", "localhost", True), ("db2", "::1", True)]
    without = [{**clients[0], "postgres_client_identities": []}, *clients[1:]]
    assert ("db1", "localhost", True) in by_loopback("app1", APP_OF_WWW, clients=without)
    limited = by_loopback("app1", APP_OF_WWW, clients=clients, hosts=["app1", "db2"])
    assert limited == [("db2", "localhost", True), ("db2", "::1", True)]


def test_one_machine_under_two_names_is_one_machine() -> None:
    host = {"ansible_host": "192.0.2.7", "ansible_port": 22}
    for same in (host, {"ansible_connection": "local"}):
        found = from_inventory([{**LOCAL1, **same}], [APP_OF_WWW], here={"inventory_hostname": "app1", **same})
        assert "localhost" in {one["host"] for one in found if "skip" not in one}
    for other in ({**host, "ansible_port": 2222}, {"ansible_host": "192.0.2.8"}, {}):
        found = from_inventory([{**LOCAL1, **host}], [APP_OF_WWW], here={"inventory_hostname": "app1", **other})
        assert not LOOPBACK & {one["host"] for one in found if "skip" not in one}


@pytest.mark.parametrize(
    ("name", "is_loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("localhost.localdomain", True),
        ("ip6-localhost", True),
        ("db1.localhost", True),
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.example.com", False),
        ("mylocalhost", False),
        ("128.0.0.1", False),
        ("2001:db8::1", False),
    ],
)
def test_what_leads_to_the_machine_that_asks(name: str, is_loopback: bool) -> None:
    assert server_names.is_loopback(name) == is_loopback


def test_a_name_that_servers_share_is_tried_once_and_any_of_them_may_answer() -> None:
    servers = [
        {"inventory_hostname": name, "postgres_server_extra_names": ["db.example.com"], **certificate(serial)}
        for name, serial in (("db1", "a1"), ("db2", "b2"))
    ]
    found = from_inventory(servers, [APP_OF_WWW])
    (shared,) = [one for one in found if one["host"] == "db.example.com"]
    assert shared["server"] == "db1, db2"
    start, names = "2026-01-01T00:00:00Z", ["db.example.com"]
    assert shared["certificates"] == [
        {"server": "db1", "serial": "a1", "not_before": start, "names": [*names, "db1"]},
        {"server": "db2", "serial": "b2", "not_before": start, "names": [*names, "db2"]},
    ]
    assert {one["host"] for one in found if one["expect"] == "refused"} == {"db1", "db2"}, "names of their own"
    elsewhere = [servers[0], {**servers[1], "postgres_server_port": 5433}]
    found = from_inventory(elsewhere, [APP_OF_WWW])
    assert [one["server"] for one in found if one["host"] == "db.example.com"] == ["db1", "db2"]


def test_servers_that_share_all_names_are_refused_once_and_no_rule_of_one_alone_counts() -> None:
    servers: list[dict[str, Any]] = [
        {"inventory_hostname": name, "postgres_server_names": ["db.example.com"]} for name in ("db1", "db2")
    ]
    found = from_inventory(servers, [APP_OF_WWW])
    assert {one["server"] for one in found} == {"db1, db2"}
    assert len([one for one in found if one.get("kind") == "plaintext"]) == 1
    servers[1]["postgres_server_plaintext"] = "allow"
    found = from_inventory(servers, [APP_OF_WWW])
    assert [one["kind"] for one in found if "skip" in one] == ["plaintext"]


def test_the_certificate_that_counts_is_the_one_after_this_run() -> None:
    installed = {"postgres_server_installed": {"certificate": {"serial": "b2"}}}
    assert fleet.known_certificate({}) == {}
    assert fleet.known_certificate({"postgres_server_converged": {"unreachable": True}}) == {}
    assert fleet.known_certificate({**certificate("a1"), **installed})["serial"] == "a1", "of an earlier pass"
    due = certificate("a1")
    due["postgres_server_converged"]["reasons"] = ["forced"]
    assert fleet.known_certificate({**due, **installed})["serial"] == "b2"
    assert fleet.known_certificate({**due, "postgres_server_installed": {"failed": True}})["serial"] == "a1"


def test_a_run_for_some_hosts_tries_their_servers_and_a_run_for_clients_alone_all() -> None:
    servers = [DB1_VARIABLES, {"inventory_hostname": "db2", "postgres_server_extra_names": ["db1.example.com"]}]
    found = from_inventory(servers, [APP_OF_WWW], hosts=["db2", "app1"])
    assert {one["server"] for one in found} == {"db2", "db2, db1"}, "who may answer does not depend on the limit"
    found = from_inventory([DB1_VARIABLES, {"inventory_hostname": "db2"}], [APP_OF_WWW], hosts=["app1"])
    assert {one["server"] for one in found} == {"db1", "db2"}


@pytest.mark.parametrize(
    ("variables", "may_ask"),
    [
        ({}, False),
        ({"postgres_server_hba": [{"user": "app", "method": "cert"}]}, False),
        ({"postgres_server_hba": [{"user": "app", "method": "scram-sha-256", "clientcert": "verify-full"}]}, True),
        ({"postgres_server_hba_template": "own.j2"}, True),
    ],
)
def test_a_password_may_be_asked_for_where_rules_of_the_inventory_say_so(
    variables: dict[str, Any], may_ask: bool
) -> None:
    found = from_inventory([{**DB1_VARIABLES, **variables}], [APP_OF_WWW])
    assert {one.get("asks_for_password", False) for one in found} == {may_ask}


def test_each_name_has_the_variable_that_it_comes_from() -> None:
    servers = [{**DB1_VARIABLES, "postgres_server_extra_names": ["db.example.com"]}, {"inventory_hostname": "db2"}]
    found = fleet.origins(servers, Graph({}))
    assert found["db1", "db1.example.com"] == "postgres_server_names"
    assert found["db1", "db.example.com"] == "postgres_server_extra_names"
    assert found["db2", "db2"].startswith("the default of postgres_server_names")


def test_a_client_host_outside_of_the_run_tries_no_loopback_name_of_its_machine() -> None:
    machine = {"ansible_host": "192.0.2.7"}
    clients = [{"inventory_hostname": "app9", "postgres_client_identities": [APP_OF_WWW], **machine}]
    for hosts, skipped in ((["app1", "db1"], {"localhost", "127.0.0.1"}), (["app1", "db1", "app9"], set())):
        found = from_inventory(
            [{**LOCAL1, **machine}], [APP_OF_WWW], clients=clients, here={"inventory_hostname": "app1"}, hosts=hosts
        )
        assert {one["host"] for one in found if "skip" in one} == skipped
