# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates the clients of a fleet have."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import serials


def host(result: dict[str, Any] | None = None, *roles: str, name: str = "converged") -> dict[str, Any]:
    return {
        "postgres_client_identities": [{"role": role, "os_user": role} for role in roles],
        **({f"postgres_client_{name}": result} if result is not None else {}),
    }


def told(**found: str | None) -> dict[str, Any]:
    return {"identities": [{"id": f"{role}/{role}", "role": role, "serial": serial} for role, serial in found.items()]}


def of_db1(hostvars: dict[str, Any], clients: list[str]) -> dict[str, list[str]]:
    """Return the serial numbers by role at a server that every identity is for."""
    return serials.client_serials(hostvars, {"postgres_servers": ["db1"], "postgres_clients": clients})["db1"]


def test_a_server_gets_the_serial_numbers_of_its_own_clients() -> None:
    groups = {"postgres_servers": ["shop1", "billing1"], "postgres_clients": ["app1", "app2"]}
    shop = {"postgres_client_identities": [{"role": "app", "os_user": "app", "servers": ["shop1"]}]}
    billing = {"postgres_client_identities": [{"role": "app", "os_user": "app", "servers": ["billing1"]}]}
    fleet = {"app1": {**host(told(app="1")), **shop}, "app2": {**host(told(app="2")), **billing}}
    assert serials.client_serials(fleet, groups) == {"shop1": {"app": ["1"]}, "billing1": {"app": ["2"]}}
    fleet["app2"] = billing  # which has told nothing
    assert serials.client_serials(fleet, groups) == {"shop1": {"app": ["1"]}, "billing1": {}}


def test_two_identities_with_one_role_have_the_serial_numbers_of_their_own_servers() -> None:
    declared = [
        {"role": "app", "os_user": "app", "servers": [server], "name": server} for server in ("shop1", "billing1")
    ]
    known = [
        {"id": "app/shop1", "role": "app", "serial": "1"},
        {"id": "app/billing1", "role": "app", "serial": "2"},
    ]
    fleet = {"app1": {**host({"identities": known}), "postgres_client_identities": declared}}
    groups = {"postgres_servers": ["shop1", "billing1"], "postgres_clients": ["app1"]}
    assert serials.client_serials(fleet, groups) == {"shop1": {"app": ["1"]}, "billing1": {"app": ["2"]}}


def test_the_hosts_of_a_role_add_up() -> None:
    fleet = {"app1": host(told(app="1", batch="2"), "app", "batch"), "app2": host(told(app="3"), "app")}
    assert of_db1(fleet, ["app1", "app2"]) == {"app": ["1", "3"], "batch": ["2"]}


def test_a_host_that_has_not_told_leaves_its_roles_out() -> None:
    for missing in (None, {"unreachable": True, "msg": "x"}):
        fleet = {"app1": host(told(app="1", batch="2"), "app", "batch"), "app2": host(missing, "app")}
        assert of_db1(fleet, ["app1", "app2"]) == {"batch": ["2"]}


def test_what_was_installed_counts_for_more_than_what_was_before() -> None:
    both = {**host(told(app="1"), "app"), **host(told(app="2"), "app", name="installed")}
    assert of_db1({"app1": both}, ["app1"]) == {"app": ["2"]}


def test_a_host_speaks_for_its_own_roles_alone() -> None:
    fleet = {"app1": host(told(app="1", boss="2"), "app"), "app2": host(told(boss=None), "boss")}
    assert of_db1(fleet, ["app1", "app2"]) == {"app": ["1"]}


GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1"]}


def fleet() -> dict[str, dict[str, Any]]:
    """Return what two servers and a client host told; db2 could not be reached, and app1/new has none yet."""
    identities = [
        {"id": "shop/app", "serial": "1e", "pem": "PEM 1e"},
        {"id": "shop/new", "serial": None, "pem": None},
    ]
    return {
        "db1": {
            "postgres_server_converged": {"certificate": {"serial": "a1", "pem": "PEM a1"}},
            "postgres_server_installed": {"certificate": {"serial": "b2", "pem": "PEM b2"}},
        },
        "db2": {"postgres_server_converged": {"unreachable": True}},
        "app1": {"postgres_client_converged": {"identities": identities}},
    }


def test_what_is_in_the_ledger_is_not_unrecorded_nor_what_this_run_has_signed() -> None:
    assert serials.unrecorded(fleet(), GROUPS, {"server": ["a1"], "client": ["1e", "ff"]}) == []
    assert serials.unrecorded(fleet(), GROUPS, {"server": ["a1"], "billing": ["1e"]}) == [], "before a move"


def test_what_the_ledger_does_not_hold_is_told_by_the_name_of_the_inventory() -> None:
    assert serials.unrecorded(fleet(), GROUPS, {"client": ["a1"]}) == [
        {"authority": "server", "id": "db1", "certificate": "PEM a1"},
        {"authority": "client", "id": "app1/shop/app", "certificate": "PEM 1e"},
    ]


def test_a_certificate_that_the_ledger_does_not_hold_is_of_the_authority_of_its_servers() -> None:
    known = fleet()
    known["db2"]["postgres_server_client_authority"] = "billing"
    known["app1"]["postgres_client_identities"] = [{"role": "app", "os_user": "shop", "servers": ["db2"]}]
    (lost,) = serials.unrecorded(known, GROUPS, {"server": ["a1"]})
    assert (lost["authority"], lost["id"]) == ("billing", "app1/shop/app")


def test_a_run_that_has_not_asked_the_authorities_knows_nothing() -> None:
    assert serials.unrecorded(fleet(), GROUPS, None) == []
    assert serials.unrecorded({}, {}, {}) == []


def test_a_pooler_has_two_certificates_of_two_authorities() -> None:
    both = {name: {"serial": serial, "pem": f"PEM {serial}"} for name, serial in (("front", "c3"), ("back", "2f"))}
    renewed = {**both, "back": {"serial": "30", "pem": "PEM 30"}}
    variables = {"postgres_pooler_converged": {"certificates": both}, "postgres_pooler_client_authority": "billing"}
    groups = {**GROUPS, "postgres_poolers": ["pool1", "pool2"]}
    known = {**fleet(), "pool1": {**variables, "postgres_pooler_installed": {"certificates": renewed}}, "pool2": {}}
    of_poolers = [one for one in serials.certificates_in_use(known, groups) if one["id"].startswith("pool")]
    assert of_poolers == [
        {"authority": "server", "id": "pool1/pooler/front", "serial": "c3"},
        {"authority": "billing", "id": "pool1/pooler/back", "serial": "30"},
    ]
    assert serials.unrecorded(known, groups, {"server": ["a1", "c3"], "client": ["1e"], "billing": []}) == [
        {"authority": "billing", "id": "pool1/pooler/back", "certificate": "PEM 2f"}
    ]
