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
