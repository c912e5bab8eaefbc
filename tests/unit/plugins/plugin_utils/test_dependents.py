# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is named when some hosts of a fleet are to be taken out, and when nobody is."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import dependents

GROUPS = {"postgres_servers": ["db1", "db2", "billing1"], "postgres_clients": ["app1", "app2", "billing1", "idle"]}
SHOP = [{"role": "app", "os_user": "shop"}, {"role": "report", "os_user": "alice"}]
HOSTVARS: dict[str, dict[str, Any]] = {
    "app1": {"postgres_client_identities": SHOP},
    "app2": {"postgres_client_identities": SHOP},
    "billing1": {"postgres_client_identities": [{"role": "subscriber", "os_user": "postgres"}]},
    "idle": {},
}


def told(*leaving: str) -> list[str]:
    """Return the lines between what was found and what to do; [] when nothing was found."""
    lines = dependents.refusal(HOSTVARS, GROUPS, leaving).splitlines()
    if lines:
        assert lines[0].endswith("Nothing was changed.")
        assert lines[-1].endswith("-e postgres_server_remove_in_use=true.")
    return lines[1:-1]


def test_clients_that_stay_and_identities_for_servers_that_stay_are_named() -> None:
    assert told("db1", "db2") == [
        "Not in --limit: app1, app2 (shop/app, alice/report) verify db1, db2, whose certificates would go.",
        "Not in --limit: billing1 (postgres/subscriber) verify db1, db2, whose certificates would go.",
    ]
    assert told("app2", "idle") == [
        "In --limit: app2 (shop/app, alice/report) would lose their certificates for db1, db2, billing1, which stay."
    ]
    assert [line.split(" (")[0] for line in told("billing1")] == ["Not in --limit: app1, app2", "In --limit: billing1"]


@pytest.mark.parametrize(
    "leaving",
    [("db1", "db2", "billing1", "app1", "app2", "idle"), ("db1", "db2", "billing1", "app1", "app2"), ("idle",)],
)
def test_nobody_depends_on_what_leaves_together_or_has_no_identity(leaving: tuple[str, ...]) -> None:
    assert told(*leaving) == []


def test_a_fleet_of_one_kind_leaves_as_it_likes() -> None:
    assert dependents.refusal(HOSTVARS, {"postgres_servers": ["db1", "db2"]}, ["db1"]) == ""
    assert dependents.refusal(HOSTVARS, {"postgres_clients": ["app1", "app2"]}, ["app1"]) == ""


def test_a_large_fleet_is_a_line() -> None:
    hosts = [f"app{number}" for number in range(500)]
    hostvars = {host: {"postgres_client_identities": SHOP} for host in hosts}
    [_first, line, _last] = dependents.refusal(
        hostvars, {"postgres_servers": ["db1"], "postgres_clients": hosts}, ["db1"]
    ).splitlines()
    assert "app9 and 490 more (shop/app, alice/report) verify db1" in line


def test_only_the_servers_of_an_identity_depend_on_it() -> None:
    hostvars = {
        "app1": {
            "postgres_client_identities": [
                {"role": "app", "os_user": "shop", "servers": ["shop"]},
                {"role": "clerk", "os_user": "shop", "servers": ["billing1"]},
            ]
        }
    }
    groups = {"postgres_servers": ["db1", "db2", "billing1"], "postgres_clients": ["app1"], "shop": ["db1", "db2"]}
    assert dependents.refusal(hostvars, groups, ["db2"]).splitlines()[1:-1] == [
        "Not in --limit: app1 (shop/app) verify db2, whose certificates would go."
    ]
    assert "(shop/app) verify db1, db2, whose" in dependents.refusal(hostvars, groups, ["db1", "db2", "billing1"])
    assert dependents.refusal(hostvars, groups, ["db1", "db2", "app1"]).splitlines()[1:-1] == [
        "In --limit: app1 (shop/clerk) would lose their certificates for billing1, which stay."
    ]


def test_clients_depend_on_their_pooler_and_a_pooler_on_the_servers_behind_it() -> None:
    groups = {**GROUPS, "postgres_poolers": ["pool1"]}
    through = [{"role": "app", "os_user": "shop", "servers": ["pool1"]}]
    hostvars = {"app1": {"postgres_client_identities": through}, "pool1": {"postgres_pooler_servers": ["db1"]}}
    groups["postgres_clients"] = ["app1"]

    def lines(*leaving: str) -> list[str]:
        return dependents.refusal(hostvars, groups, leaving).splitlines()[1:-1]

    assert lines("pool1") == ["Not in --limit: app1 (shop/app) verify pool1, whose certificates would go."]
    assert lines("app1") == ["In --limit: app1 (shop/app) would lose their certificates for pool1, which stay."]
    assert lines("db1", "db2") == ["Not in --limit: pooler pool1 verifies db1, whose certificates would go."]
    assert lines("db1", "pool1", "app1") == []
