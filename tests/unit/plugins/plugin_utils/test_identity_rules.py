# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The default rules of a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import identity_rules


def test_a_server_outside_of_the_group_gets_the_rules_of_all_that_name_no_server() -> None:
    clients = [{"postgres_client_identities": [{"role": "app"}, {"role": "clerk", "servers": ["db1"]}]}]
    found = identity_rules.of_clients(clients, "other", {"postgres_servers": ["db1"], "postgres_clients": ["app1"]})
    assert [one["user"] for one in found] == ["app"]


def test_the_clients_of_the_inventory_get_one_rule_for_each_role() -> None:
    hosts: list[dict[str, Any]] = [
        {
            "postgres_client_identities": [
                {"role": "b", "os_user": "x", "databases": ["two"]},
                {"role": "a", "os_user": "y"},
            ]
        },
        {"postgres_client_identities": [{"role": "b", "os_user": "z", "databases": ["one"]}]},
        {},
    ]
    assert identity_rules.of_clients(hosts) == [
        {"database": ["all"], "user": "a", "method": "cert"},
        {"database": ["one", "two"], "user": "b", "method": "cert"},
    ]
    standby = {"role": "s", "os_user": "postgres", "databases": ["all", "replication", "one"]}
    (rule,) = identity_rules.of_clients([{"postgres_client_identities": [standby]}])
    assert rule["database"] == ["all", "replication"], "all does not stand for replication"
    with pytest.raises(
        TlsError, match=r"^postgres_client_identities: expected dictionaries with role and os_user, found 'app'"
    ):
        identity_rules.of_clients([{"postgres_client_identities": ["app"]}])


def test_each_server_gets_the_identities_for_it_and_only_those_of_the_chosen_hosts() -> None:
    groups = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2", "idle"]}
    app, clerk = {"role": "app", "os_user": "a"}, {"role": "clerk", "os_user": "b", "servers": ["db2"]}
    hostvars: dict[str, dict[str, Any]] = {
        "db1": {},
        "db2": {},
        "app1": {"postgres_client_identities": [app]},
        "app2": {"postgres_client_identities": [clerk]},
        "idle": {},
    }
    found = identity_rules.access(hostvars, groups)
    assert {server: one["clients"] for server, one in found.items()} == {"db1": [app], "db2": [app, clerk]}
    assert [rule["user"] for rule in found["db2"]["rules"]] == ["app", "clerk"]
    chosen = identity_rules.access(hostvars, groups, ["app2"])
    assert {server: one["clients"] for server, one in chosen.items()} == {"db1": [], "db2": [clerk]}


GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1"], "shop": ["db1"]}


def hosts_with(identity: dict[str, Any], **client: Any) -> dict[str, dict[str, Any]]:
    """Return the variables of two servers, and of a client host with an identity."""
    own = {"inventory_hostname": "app1", **client, "postgres_client_identities": [{"role": "app", **identity}]}
    servers = {name: {"inventory_hostname": name, "ansible_host": f"10.0.1.{name[-1]}"} for name in ("db1", "db2")}
    return {**servers, "app1": own}


def addresses(hostvars: dict[str, dict[str, Any]], server: str) -> list[str]:
    """Return the addresses in the rules of a server that let in, as action and filter find them."""
    rules = identity_rules.access(hostvars, GROUPS)[server]["rules"]
    assert identity_rules.of_clients([hostvars["app1"]], server, GROUPS, hostvars) == rules
    return [one["address"] for one in rules if one["method"] != "reject"]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"ansible_host": "10.0.0.5"}, "10.0.0.5/32"),
        ({"ansible_host": "2001:DB8::5"}, "2001:db8::5/128"),
        ({"inventory_hostname": "10.0.0.6"}, "10.0.0.6/32"),
        ({"inventory_hostname": "10.0.0.6", "ansible_host": "10.0.0.5"}, "10.0.0.5/32"),
        ({"inventory_hostname": "10.0.0.6", "ansible_host": "127.0.0.1"}, "10.0.0.6/32"),
        ({"inventory_hostname": "10.0.0.6", "ansible_host": "jump.example.com"}, "10.0.0.6/32"),
    ],
)
def test_self_is_the_address_that_the_inventory_has_of_the_client_host(client: dict[str, Any], expected: str) -> None:
    assert addresses(hosts_with({"address": "self"}, **client), "db1") == [expected]
    both = hosts_with({"address": ["self", "192.0.2.0/24"]}, **client)
    assert set(addresses(both, "db1")) == {expected, "192.0.2.0/24"}


@pytest.mark.parametrize(
    ("client", "found"),
    [
        ({}, "only the name 'app1'"),
        ({"ansible_host": "app1.example.com"}, "only the name 'app1.example.com'"),
        ({"ansible_host": "127.0.0.1", "ansible_port": 2222}, "the loopback address 127.0.0.1"),
    ],
)
def test_self_without_an_address_is_refused_with_the_host_and_the_identity(client: dict[str, Any], found: str) -> None:
    hostvars = hosts_with({"address": "self"}, **client)
    expected = (
        "app1: postgres_client_identities[0].address: self is the address of the client host, but the inventory has "
        f"{found} for it. Write the address that the servers see, such as 192.0.2.10."
    )
    for call in (
        lambda: identity_rules.access(hostvars, GROUPS),
        lambda: identity_rules.of_clients([hostvars["app1"]], "db1", GROUPS, hostvars),
    ):
        with pytest.raises(TlsError) as failure:
            call()
        assert failure.value.message == expected
        assert failure.value.code == "client_address_unknown"


def test_self_on_the_machine_of_a_server_is_that_machine_for_this_server_alone() -> None:
    beside = hosts_with({"address": "self"}, ansible_host="10.0.1.1")
    assert addresses(beside, "db1") == ["10.0.1.1/32", "samehost"]
    assert addresses(beside, "db2") == ["10.0.1.1/32"]
    local = hosts_with({"address": "self", "servers": ["shop"]}, ansible_connection="local")
    local["db1"]["ansible_connection"] = "local"
    assert addresses(local, "db1") == ["samehost"]
    written = hosts_with({"address": "192.0.2.1"}, ansible_host="10.0.1.1")
    assert addresses(written, "db1") == ["192.0.2.1/32"]
    same = hosts_with({"address": "self"})["app1"]
    rules = identity_rules.of_clients([same], "app1", {"postgres_servers": ["app1"]})
    assert rules[0]["address"] == "samehost", "a server that is a client itself needs no hostvars"


def test_rules_of_the_inventory_must_let_an_identity_in_from_its_address() -> None:
    hostvars = hosts_with({"address": "self"}, ansible_host="10.0.0.5")
    hostvars["db1"]["postgres_server_hba"] = []
    found = identity_rules.access(hostvars, GROUPS)
    assert found["db1"]["must_get_in"] == [{"role": "app", "address": ["10.0.0.5/32"]}]
    assert found["db2"]["must_get_in"] == []
    assert hostvars["app1"]["postgres_client_identities"] == [{"role": "app", "address": "self"}], "left alone"
