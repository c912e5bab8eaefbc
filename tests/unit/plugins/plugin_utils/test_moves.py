# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a server may end its trust in a client authority from before."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import moves

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2", "app3"]}


def check(role: str = "app", **changes: Any) -> dict[str, Any]:
    return {"os_user": "web", "identity": role, "servers": ["db2"], "expect": "accepted", "status": "ok", **changes}


def client(*checks: dict[str, Any], servers: list[str] | None = None) -> dict[str, Any]:
    return {
        "postgres_client_identities": [{"role": "app", "os_user": "web", "servers": servers or ["db2"]}],
        "postgres_client_converged": {"identities": [{"id": "web/app", "is_held": False}]},
        "postgres_verify_result": {"checks": list(checks)},
    }


@pytest.fixture
def fleet() -> dict[str, Any]:
    """Return a run that has proven all clients of db2, which trusts an authority from before; app3 is of db1."""
    return {
        "db1": {"postgres_server_converged": {"changed": False}},
        "db2": {
            "postgres_server_client_authority": "billing",
            "postgres_server_converged": {"still_trusted": ["client"]},
        },
        "app1": client(check()),
        "app2": client(check(status="prompt")),
        "app3": {**client(servers=["db1"]), "postgres_client_failed": "x"},
    }


def test_the_trust_ends_once_each_identity_of_the_server_has_connected(fleet: dict[str, Any]) -> None:
    assert moves.moves(fleet, GROUPS) == [("db2", "billing", ["client"], "")]


def test_where_no_server_trusts_another_there_is_nothing_to_end(fleet: dict[str, Any]) -> None:
    fleet["db2"]["postgres_server_converged"] = {}
    assert moves.moves(fleet, GROUPS) == []


def test_what_the_server_said_last_counts(fleet: dict[str, Any]) -> None:
    fleet["db2"]["postgres_server_installed"] = {"changed": True}
    assert moves.moves(fleet, GROUPS) == []


@pytest.mark.parametrize(
    ("host", "changes", "objection"),
    [
        ("db2", {"postgres_server_failed": "x"}, "db2 failed in this run"),
        ("app1", {"postgres_client_failed": "x"}, "app1 failed in this run"),
        ("app1", {"postgres_verify_failed": "x"}, "app1 failed in this run"),
        ("app1", {"postgres_client_converged": {"unreachable": True, "msg": "x"}}, "app1 failed in this run"),
        ("app1", {"postgres_client_converged": {}}, "this run learned nothing about client host app1"),
        (
            "app1",
            {"postgres_client_converged": {"identities": [{"id": "web/app", "is_held": True}]}},
            "app1/web/app still uses its certificate from before",
        ),
        ("app1", {"postgres_verify_result": {}}, "app1/web/app has not connected to it in this run"),
        (
            "app1",
            {"postgres_verify_result": {"checks": [check(servers=["db1"])]}},
            "app1/web/app has not connected to it in this run",
        ),
        (
            "app1",
            {"postgres_verify_result": {"checks": [check("other")]}},
            "app1/web/app has not connected to it in this run",
        ),
        (
            "app1",
            {"postgres_verify_result": {"checks": [check(expect="refused")]}},
            "app1/web/app has not connected to it in this run",
        ),
        (
            "app1",
            {"postgres_verify_result": {"checks": [check(status="skipped")]}},
            "app1/web/app has not connected to it in this run",
        ),
        (
            "app1",
            {"postgres_verify_result": {"checks": [check(), check(status="deviation", expect="refused")]}},
            "connections from app1 were not as expected",
        ),
    ],
)
def test_it_stays_as_long_as_anything_is_not_proven(
    fleet: dict[str, Any], host: str, changes: dict[str, Any], objection: str
) -> None:
    fleet[host].update(changes)
    (found,) = moves.moves(fleet, GROUPS)
    assert found.objection == objection
    assert found.line.startswith("db2: it still trusts client authority client beside billing, because " + objection)
