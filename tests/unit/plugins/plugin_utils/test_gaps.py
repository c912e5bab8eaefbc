# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves unverified, and how it is said."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import gaps, later

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2"]}
IDENTITY_VARIABLES = {"postgres_client_identities": [{"role": "app", "os_user": "web"}]}


def fleet(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"db1": {}, "db2": {}, "app1": IDENTITY_VARIABLES, "app2": {}, **changes}


def said(hostvars: Any, groups: Any = None, hosts: Any = (), *, is_tried: bool = True) -> str:
    return " ".join(gaps.nothing_verified(hostvars, groups or GROUPS, hosts, is_tried=is_tried))


def checked(*statuses: str) -> dict[str, Any]:
    checks = [{"status": one, "reason": "nobody connects to a wildcard"} for one in statuses]
    return {**IDENTITY_VARIABLES, "postgres_verify_result": {"checks": checks}}


def test_where_something_was_verified_nothing_is_said() -> None:
    assert not said(fleet(app1=checked("ok", "skipped")))
    assert not said(fleet(), is_tried=False)


def test_a_fleet_without_any_identity_is_told_with_the_likely_cause_and_the_remedy() -> None:
    for is_tried in (True, False):
        found = said(fleet(app1={}), is_tried=is_tried)
        assert found.startswith(
            "WARNING: no connection was verified: no host of group postgres_clients has postgres_client_identities, so "
            "no client got a certificate. Connections without TLS are still refused by db1, db2"
        )
        assert found.endswith("Move them to group_vars of the inventory (beside the inventory file).")
    assert "still refused by db2 (" in said(fleet(app1={}, db1={"postgres_server_plaintext": "allow"}))


def test_a_side_that_is_missing_is_named() -> None:
    assert "there is no host in group postgres_clients, so" in said(fleet(), {"postgres_servers": ["db1"]})
    assert "there is no host in group postgres_servers" in said(fleet(), {"postgres_clients": ["app1"]})


def test_what_was_only_skipped_was_not_verified() -> None:
    found = said(fleet(app1=checked("skipped", "skipped")))
    assert "all were skipped (nobody connects to a wildcard). Give each server a name" in found


def test_a_limit_is_told_by_what_it_leaves_out() -> None:
    assert said(fleet(), hosts=["db1", "app2"]) == (
        "No connection was verified: --limit leaves out every host that has postgres_client_identities."
    )
    assert gaps.left_out(GROUPS, []) == []
    assert gaps.left_out(GROUPS, ["db1", "db2", "app1", "app2"]) == []
    assert gaps.left_out(GROUPS, ["db1", "app1"]) == [
        "Not verified, because --limit leaves these hosts out: connections to db2, connections from app2."
    ]
    assert gaps.left_out(GROUPS, ["app1"]) == [
        "Not verified, because --limit leaves these hosts out: connections from app2."
    ], "of a run for no server all are tried"


def test_a_limit_without_the_servers_of_its_identities_verifies_nothing() -> None:
    found = said(fleet(app1=checked()), hosts=["app1", "db2"])
    assert found == (
        "WARNING: no connection was verified: the identities of app1 connect to no server in --limit. Add their "
        "servers to it."
    )
    assert not said(fleet(), hosts=["app1", "db2"]), "it failed, and a failure is told elsewhere"


def test_servers_that_nobody_could_try_are_named_with_the_remedy() -> None:
    def unreached(*statuses: tuple[str, str], reason: str = "") -> list[str]:
        checks = [{"status": status, "servers": [server], "reason": reason} for server, status in statuses]
        return gaps.unreached({"app1": {"postgres_verify_result": {"checks": checks}}, "app2": {}}, GROUPS)

    (line,) = unreached(("db1", "ok"), ("db1", "skipped"), ("db2", "skipped"), ("db2", "skipped"))
    assert line.startswith("Not verified, because all connections to these servers were skipped: db2. Give each server")
    assert line.endswith("If a name has from, list the client hosts there that can reach it.")
    (line,) = unreached(("db1", "ok"), ("db2", "skipped"), reason=later.NO_SERVER)
    assert line == (
        "Not verified, because all connections to these servers need a certificate that comes in a later run: db2."
    )
    assert unreached(("db1", "deviation"), ("db1", "skipped")) == []
    assert unreached(("db1", "skipped")) == [], "the warning about all of them says so"


def test_many_hosts_are_counted() -> None:
    assert gaps.listed([f"db{number}" for number in range(9)]) == "db0, db1, db2, db3, db4 and 4 more"


def test_servers_that_no_identity_is_for_are_named() -> None:
    groups = {"postgres_servers": ["db1", "db2", "db3"], "postgres_clients": ["app1"]}
    for servers, named in ((["db1"], "db2, db3"), (["db1", "db3"], "db2")):
        hostvars = {"app1": {"postgres_client_identities": [{"role": "app", "os_user": "web", "servers": servers}]}}
        (line,) = gaps.without_identities(hostvars, groups)
        assert line.startswith(f"Not verified, because no identity connects to these servers directly: {named}. ")
    everywhere = {"app1": {"postgres_client_identities": [{"role": "app", "os_user": "web"}]}}
    assert gaps.without_identities(everywhere, groups) == []
    assert gaps.without_identities({"app1": {}}, groups) == [], "another line says so"
