# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed in a run, read from what its tasks left behind."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import failures

GONE = {"unreachable": True, "msg": "Task failed: no route to host", "changed": False}
VERIFIED_CHECKS = [
    {"servers": ["db1"], "status": "deviation"},
    {"servers": ["db1"], "status": "unproven"},
    {"servers": ["db2"], "status": "ok"},
]
RUN: dict[str, dict[str, Any]] = {
    "db1": {"postgres_server_failed": "No server.\nStart it."},
    "db2": {
        "postgres_server_converged": {"changed": True, "msg": "x"},
        "postgres_server_installed": {"skipped": True},
    },
    "db3": {"postgres_server_converged": {"changed": True}, "postgres_server_installed": GONE},
    "db4": {"postgres_server_failed": "No server. Start it.", "postgres_client_converged": GONE},
    "app1": {"postgres_client_converged": {"changed": False}, "postgres_verify_result": {"checks": VERIFIED_CHECKS}},
}


def test_a_host_fails_by_what_was_noted_or_because_nobody_reached_it() -> None:
    assert failures.failures(RUN, RUN) == [
        ("db1", "server", "No server. Start it."),
        ("db3", "server", "could not be reached: no route to host"),
        ("db4", "server", "No server. Start it."),
        ("db4", "client", "could not be reached: no route to host"),
    ]


def test_only_the_hosts_that_are_asked_for_count() -> None:
    assert failures.failures(RUN, ["db2", "app1"]) == []
    assert failures.summary(RUN, ["db2", "app1"]) == []


def test_the_summary_has_a_line_for_each_cause_and_counts_the_hosts() -> None:
    assert failures.summary(RUN, list(RUN))[:-1] == [
        "db1, db4 (server): No server. Start it.",
        "db3 (server); db4 (client): could not be reached: no route to host",
        "Not verified, because the server failed above: db1 (2 connections).",
        "Hosts: 3 failed, 1 changed, 1 unchanged.",
    ]


def test_a_host_with_one_cause_in_two_steps_is_named_once() -> None:
    both = {"db1": {"postgres_server_converged": GONE, "postgres_client_converged": GONE}}
    assert failures.summary(both, ["db1"])[0].startswith("db1 (server, client): could not be reached")


def test_a_long_message_is_cut_and_nothing_else_of_a_result_is_shown() -> None:
    result = {"unreachable": True, "msg": "x" * 5000, "stdout": "secret"}
    (line, *_rest) = failures.summary({"db1": {"postgres_server_converged": result}}, ["db1"])
    assert line.endswith("xxx ...")
    assert len(line) < 2000
    assert "secret" not in line


def test_a_run_that_verified_nothing_says_why_also_if_nothing_failed() -> None:
    groups = {"postgres_servers": ["db1"], "postgres_clients": ["app1"]}
    hosts = {"db1": {}, "app1": {}}
    first, *_others = failures.summary(hosts, ["db1", "app1"], groups)
    assert first.startswith("WARNING: no connection was verified: no host of group postgres_clients has")
    assert failures.summary(hosts, ["db1", "app1"], groups, is_verified=False)[0] == first, "in check mode, too"
    hosts["app1"]["postgres_client_identities"] = [{"role": "app", "os_user": "web"}]
    assert failures.summary(hosts, ["db1", "app1"], groups) == []
    assert (
        failures.summary({**hosts, "db1": {"postgres_server_failed": "No."}}, ["db1"], groups)[0] == "db1 (server): No."
    )


def test_a_host_is_away_if_a_step_could_not_reach_it_and_not_if_it_failed() -> None:
    hosts = {
        "db1": {"postgres_server_converged": {"unreachable": True, "msg": "no route"}},
        "db2": {"postgres_server_converged": {"failed": True, "msg": "No."}, "postgres_server_failed": "No."},
        "app1": {"postgres_client_converged": {}, "postgres_client_installed": {"unreachable": True}},
    }
    assert failures.away(hosts, hosts) == ["db1", "app1"]
    assert failures.away(hosts, ["db2"]) == []
