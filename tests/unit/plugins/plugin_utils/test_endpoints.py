# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where client hosts reach servers."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import endpoints
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Host, server_of
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

GROUPS = {"postgres_servers": ["db1"], "dmz": ["dmz1"], "postgres_clients": ["app1", "dmz1", "db1"]}
HOSTS = [Host(name, (name, "")) for name in GROUPS["postgres_clients"]]


def reached(*names: Any, **variables: Any) -> dict[str, Any]:
    """Return where each client host reaches a server with these names."""
    declared = {"inventory_hostname": "db1", "postgres_server_names": list(names), **variables}
    found = endpoints.endpoints([server_of(declared, Graph(GROUPS))], HOSTS)
    texts = found.as_texts()
    assert set(texts["differing_endpoints"]) == set(found.differing)
    return {host.name: endpoints.of(texts, host.name)["db1"] for host in HOSTS}


def test_most_hosts_reach_a_server_by_its_first_dns_name() -> None:
    found = reached("192.0.2.1", "localhost", "db1.example.com", postgres_server_port=5433)
    assert found == {name: ["db1.example.com", 5433] for name in ("app1", "dmz1", "db1")}


def test_a_host_that_reaches_other_names_has_its_own() -> None:
    nat = {"name": "nat.example.com", "port": 15432, "from": ["dmz"]}
    found = reached({"name": "db1.example.com", "from": ["app1", "self"]}, nat)
    assert found == {
        "app1": ["db1.example.com", 5432],
        "dmz1": ["nat.example.com", 15432],
        "db1": ["db1.example.com", 5432],
    }


def test_loopback_names_are_for_the_machine_of_the_server() -> None:
    assert reached("localhost") == {"app1": None, "dmz1": None, "db1": ["localhost", 5432]}
    assert reached({"name": "db1.example.com", "from": []}) == dict.fromkeys(("app1", "dmz1", "db1"))
