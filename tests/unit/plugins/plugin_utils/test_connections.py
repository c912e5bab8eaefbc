# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who connects where, as the inventory declares it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import connections

GROUPS = {
    "postgres_servers": ["shop1", "shop2", "billing1"],
    "shop": ["shop1", "shop2"],
    "postgres_poolers": ["pool1"],
    "postgres_clients": ["app1", "app2"],
}


def hostvars(*identities: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """Return the variables of all hosts; both client hosts have the same identities."""
    own = [{"role": "app", "os_user": "shop", **one} for one in identities]
    hosts = {host: {} for host in ("shop1", "shop2", "billing1")}
    clients = {host: {"postgres_client_identities": own} for host in ("app1", "app2")}
    return {**hosts, "pool1": {"postgres_pooler_servers": ["shop"]}, **clients, **more}


def test_holders_with_the_same_servers_are_one_row() -> None:
    rows = connections.of_fleet(hostvars({"servers": ["shop"]}, {"role": "all"}), GROUPS)
    found = {tuple(one["servers"]): [tuple(of.values()) for of in one["holders"]] for one in rows}
    assert found == {
        ("shop1", "shop2"): [
            ("client", "app1", "shop/app", "app"),
            ("client", "app2", "shop/app", "app"),
            ("pooler", "pool1", "", "pgbouncer"),
        ],
        ("billing1", "shop1", "shop2"): [
            ("client", "app1", "shop/all", "all"),
            ("client", "app2", "shop/all", "all"),
        ],
    }


def test_kits_and_poolers_are_holders_and_poolers_are_also_reached() -> None:
    kits = [{"name": "anna", "role": "reader", "servers": ["billing1"]}]
    variables = hostvars({"servers": ["pool1"]}, shop1={"postgres_ca_kits": kits})
    found = {
        tuple(one["servers"]): [of["host"] for of in one["holders"]] for one in connections.of_fleet(variables, GROUPS)
    }
    assert found == {("pool1",): ["app1", "app2"], ("shop1", "shop2"): ["pool1"], ("billing1",): ["anna"]}


def test_what_is_for_another_service_connects_to_no_server() -> None:
    services = hostvars({"authority": "mtls"})
    assert connections.of_fleet(services, {**GROUPS, "postgres_poolers": []}) == []


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(TlsError, match="no group or host of the inventory"):
        connections.of_fleet(hostvars({"servers": ["shopp"]}), GROUPS)
