# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters in one inventory, each with a client that the other one has no role for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import prometheus, tables
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, billing: Any) -> Any:
    """Give db1 the role app alone, and db2 the role clerk alone."""
    for cluster, role, database in ((shared_cluster, "app", "shop"), (billing, "clerk", "billing")):
        cluster.psql(f"CREATE ROLE {role} LOGIN")
        cluster.psql(f"CREATE DATABASE {database} OWNER {role}")
    return site_on(shared_cluster)


@pytest.fixture
def inventory(site: Any, billing: Any) -> dict[str, Any]:
    """Return an inventory with the groups shop and billing, of one server each."""
    found: dict[str, Any] = site.inventory()
    second = site.server_on(billing)
    first = found["postgres_servers"]["hosts"]["db1"]
    found["postgres_servers"] = {"children": {"shop": {"hosts": {"db1": first}}, "billing": {"hosts": {"db2": second}}}}
    user, other = site.os_users
    found["postgres_clients"]["hosts"] = {
        "app1": {
            "postgres_client_identities": [
                {"role": "app", "os_user": user, "databases": ["shop"], "servers": ["shop"], "address": "self"},
                {
                    "role": "clerk",
                    "os_user": other,
                    "databases": ["billing"],
                    "servers": ["db2"],
                    "address": ["127.0.0.1", "::1"],
                },
            ]
        }
    }
    return found


def test_each_role_is_let_in_and_tried_by_its_own_servers_alone(
    site: Any, inventory: dict[str, Any], billing: Any
) -> None:
    done = site.run(inventory=inventory)
    assert done.returncode == 0, done.stdout
    found = {(row.role, row.server, row.result) for row in tables.rows(done.stdout)}
    assert {row for row in found if row[0] in ("app", "clerk")} == {("app", "db1", "ok"), ("clerk", "db2", "ok")}
    assert {row[1] for row in found} == {"db1", "db2"}
    rules = [(cluster.data / "pg_hba.conf").read_text() for cluster in (site.cluster, billing)]
    assert ["hostssl shop app " in one for one in rules] == [True, False]
    assert ["hostssl billing clerk " in one for one in rules] == [False, True]
    # The client host is on the machine of the servers, so connections by a loopback name are its own
    assert "hostssl shop app samehost cert\nhostssl shop app all reject\n" in rules[0]
    assert "hostssl billing clerk 127.0.0.1/32 cert\nhostssl billing clerk ::1/128 cert\n" in rules[1]


def test_a_second_run_changes_nothing(site: Any, inventory: dict[str, Any]) -> None:
    before = site.files()
    done = site.run(inventory=inventory)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"changed=([1-9]\d*)", done.stdout) == []
    assert site.files() == before


def test_the_report_compares_sessions_with_the_clients_of_their_server_and_names_the_clusters(
    site: Any, inventory: dict[str, Any]
) -> None:
    done = site.run(inventory=inventory, playbook="pgops.tls.report")
    assert done.returncode == 0, done.stdout
    text = (site.directory / "postgres-report" / "report.prom").read_text()
    labels = [dict(found) for name, found in prometheus.parse(text) if name == "pgops_tls_plaintext_sessions"]
    assert labels == [{"host": "db1", "cluster": "shop"}, {"host": "db2", "cluster": "billing"}]
    assert (
        '<td class="name" data-of="cluster">billing</td>'
        in (site.directory / "postgres-report" / "report.html").read_text()
    )


def test_only_the_clients_of_a_server_stop_its_removal(site: Any, inventory: dict[str, Any]) -> None:
    done = site.run("--limit", "db2", "--check", inventory=inventory, playbook="pgops.tls.remove")
    assert done.returncode == 2
    assert f"app1 ({site.os_users[1]}/clerk) verify db2" in done.stdout
    assert f"{site.os_users[0]}/app" not in done.stdout


def test_a_group_without_servers_stops_the_run_before_it_begins(site: Any, inventory: dict[str, Any]) -> None:
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"][0]["servers"] = ["shpo"]
    before = site.files()
    done = site.run(inventory=inventory)
    assert done.returncode == 2
    assert (
        "postgres_client_identities[0].servers: 'shpo' is no group or host of the inventory. "
        "Name groups or hosts with servers, such as shop"
    ) in done.stdout
    assert site.files() == before


@ONLY_THOROUGH
def test_all_databases_of_an_identity_are_tried_where_they_are(
    site: Any, inventory: dict[str, Any], billing: Any
) -> None:
    for cluster in (site.cluster, billing):
        cluster.psql("CREATE ROLE reader LOGIN")
    reader = {"role": "reader", "os_user": site.os_users[0], "databases": ["shop", "billing"]}
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"].append(reader)
    done = site.run(inventory=inventory)
    assert done.returncode == 0, done.stdout
    found = [(row.server, row.wanted) for row in tables.rows(done.stdout) if row.role == "reader"]
    assert ("db2", "accepted, service") in found, "although its first database is only on db1"
    reader["databases"] = ["shop", "billing", "nowhere"]
    done = site.run(inventory=inventory)
    assert done.returncode == 2
    assert 'database "nowhere" does not exist' in done.stdout
