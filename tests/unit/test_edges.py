# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fleets of several clusters have to try, as their tests count it, is what a run plans for them."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.verification import expectation
from ansible_collections.pgops.tls.plugins.plugin_utils import client_identities, expectations, fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph
from ansible_collections.pgops.tls.tests import fleets
from ansible_collections.pgops.tls.tests.clusters import edges

TESTS = Path(__file__).resolve().parents[1]
DEFAULTS = {"certificate": "", "files": "named", "sslmode": "verify-full"}  # of module connection_info
EVERY_REFUSAL = tuple(expectations.REFUSALS)


@pytest.fixture
def inventory() -> Any:
    return _read("clusters")


def _read(folder: str) -> Any:
    return yaml.safe_load((TESTS / folder / "inventory.yml").read_text(encoding="utf-8"))


def planned(inventory: Any) -> Counter[edges.Connection]:
    """Return the connections that the client hosts of a run are given."""
    groups, variables = edges.groups(inventory), edges.hosts(inventory)
    for host, own in variables.items():
        own.setdefault("ansible_host", f"{{{{ test_prefix }}}}-{host}")
        own.update(inventory_hostname=host, postgres_server_converged={"changed": False})
    clients = [variables[host] for host in groups["postgres_clients"]]
    graph = Graph(groups)
    servers = [variables[host] for host in (*groups["postgres_servers"], *sorted(graph.poolers))]
    planner = expectations.planner(servers, clients, [], graph, "postgres")
    found: Counter[edges.Connection] = Counter()
    for own in clients:
        identities = client_identities.identities_of(own["postgres_client_identities"], "postgres", graph)
        for one in planner.plan(expectations.ClientHost(identities, fleet.host_of(own), EVERY_REFUSAL)):
            read = expectation.read({**DEFAULTS, **one}, "expectations")
            target = f"{read.host}:{read.port}"
            found[edges.Connection(own["inventory_hostname"], read.certificate_role, target, read.wanted)] += 1
    return found


def counted(inventory: Any) -> Counter[edges.Connection]:
    graph = edges.graph(inventory)
    return graph.accepted + graph.refused + graph.skipped


@pytest.mark.parametrize("folder", ["clusters", "services"])
def test_every_connection_that_is_counted_is_planned_and_no_other(folder: str) -> None:
    assert counted(_read(folder)) == planned(_read(folder))


def test_where_the_containers_are_changes_nothing_of_the_graph() -> None:
    for folder in ("clusters", "services"):
        alone, placed = _read(folder), _read(folder)
        placed["all"]["children"]["containers"]["vars"] = fleets.molecule_variables("containers")
        assert edges.graph(placed) == edges.graph(alone)


def test_an_edge_more_is_counted_and_planned(inventory: Any) -> None:
    before = counted(inventory)
    clients = inventory["all"]["children"]["postgres_clients"]["hosts"]
    clients["app2"]["postgres_client_identities"][0]["servers"] = ["billing"]
    clients["app3"]["postgres_client_identities"][0]["servers"] = ["analytics"]
    clients["app1"]["postgres_client_identities"].append({"role": "loader", "os_user": "etl", "servers": ["analytics"]})
    found = counted(inventory)
    assert found == planned(copy.deepcopy(inventory))
    assert (found - before).total() > 0
    assert (before - found).total() > 0


@pytest.mark.parametrize("folder", ["clusters", "services"])
def test_the_graph_has_no_edge_twice(folder: str) -> None:
    graph = edges.graph(_read(folder))
    assert len(graph.edges) == graph.edge_count
