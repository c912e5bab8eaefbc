# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni, PgBouncer and a synchronous standby get TLS in the same runs, and every connection of them is proven."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.tests import tables
from ansible_collections.pgops.tls.tests.clusters.seen import ACCEPTED, counts_line, seen
from ansible_collections.pgops.tls.tests.services.conftest import (
    CLIENTS,
    CLUSTERS,
    HOSTS,
    MEMBERS,
    NODES,
    POOLERS,
    Begun,
    Fleet,
)

# Where nothing changes: one execution for each kind that a host is, and one more where connections are verified
SERVERS_TOO = dict.fromkeys((*MEMBERS, *NODES), 3)
EXECUTIONS = {**SERVERS_TOO, **dict.fromkeys(POOLERS, 1), **dict.fromkeys(CLIENTS, 2)}
PRINTED = {"first run": "first", "plaintext refused": "closing", "second run": "second"}


def test_check_mode_tells_of_changes_on_every_host(begun: Begun) -> None:
    assert begun.foreseen.status == 0, begun.foreseen.output[-8000:]
    assert {host for host, changed in begun.foreseen.changed.items() if changed} == set(HOSTS)


def test_the_first_run_changes_every_host(begun: Begun) -> None:
    assert {host for host, changed in begun.first.changed.items() if changed} == set(HOSTS)


def test_plaintext_is_refused_by_a_run_that_changes_the_servers_alone(begun: Begun) -> None:
    assert {host for host, changed in begun.closing.changed.items() if changed} == {*MEMBERS, *NODES}


def test_a_second_run_changes_nothing(begun: Begun) -> None:
    assert begun.second.status == 0, begun.second.output[-8000:]
    assert begun.second.changed == dict.fromkeys(HOSTS, 0)


def test_a_second_run_executes_one_thing_on_each_host_for_each_kind_that_it_is(
    begun: Begun, printed: list[str]
) -> None:
    printed.append(f"second run, remote executions: {begun.second.executions}")
    assert begun.second.executions == EXECUTIONS


def test_every_edge_of_the_graph_is_tried_as_expected_and_nothing_else(
    fleet: Fleet, begun: Begun, printed: list[str]
) -> None:
    graph: Any = fleet.graph
    for name, attribute in PRINTED.items():
        run = getattr(begun, attribute)
        (table,) = tables.tables(run.output)
        tried = seen(table.rows)
        printed.append(counts_line(graph, name, tried))
        if attribute == "first":
            continue  # plaintext was allowed
        assert [row for row in table.rows if row.result not in ACCEPTED] == []
        assert tried.proven == graph.edges
        assert (tried.accepted, tried.refused, tried.skipped) == (graph.accepted, graph.refused, graph.skipped)


def test_the_table_names_the_member_that_answered_by_the_alias(begun: Begun) -> None:
    shared = [row for row in tables.rows(begun.second.output) if row.host == "shop.example.test"]
    assert shared
    assert {row.server for row in shared} == {"shop1"}, "the leader"


def test_who_goes_through_a_pooler_is_seen_by_postgresql_with_the_certificate_of_the_pooler(begun: Begun) -> None:
    rows = [row for row in tables.rows(begun.second.output) if row.server in POOLERS and row.wanted == "accepted"]
    assert {row.server for row in rows} == set(POOLERS)
    assert all("PostgreSQL saw the certificate of the pooler" in row.reason for row in rows), rows


def test_every_standby_streams_with_its_own_certificate(fleet: Fleet, begun: Begun) -> None:
    assert begun.second.status == 0
    for name, hosts in CLUSTERS.items():
        assert fleet.cluster(name).streaming == fleet.own_serials(name)
        assert len(fleet.own_serials(name)) == len(hosts) - 1
