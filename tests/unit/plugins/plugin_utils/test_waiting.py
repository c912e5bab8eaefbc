# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the next phase of a replacement of roots waits for, and what a run says of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.plugin_utils import waiting
from ansible_collections.pgops.tls.tests.shared import NOW

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2"]}
AWAY = {"unreachable": True, "msg": "no route"}
DATES = "Its last certificate is of 2026-10-02T00:00:00Z and ends at 2026-12-31T00:00:00Z."


def held(id_: str, issued: str = "2026-10-02T00:00:00Z") -> dict[str, str]:
    authority = "client" if "/" in id_ else "server"
    return {"authority": authority, "id": id_, "serial": "a1", "issued": issued, "not_after": "2026-12-31T00:00:00Z"}


SINCE = clock.instant(NOW - profiles.BACKDATED)
AWAITED = [held("db1"), held("db2"), held("app1/web/app"), held("app2/web/app")]


@pytest.fixture(scope="module")
def roots() -> str:
    return issuing.new_authority("server", "P-256", NOW).root.pem


@pytest.fixture
def fleet() -> dict[str, Any]:
    """Return the variables of hosts that a run has reached."""
    identity = {"role": "app", "os_user": "web"}
    clients = {"identities": [{"id": "web/app", "serial": "a1"}]}
    server = {"postgres_server_converged": {"certificate": {"serial": "a1"}}}
    client = {"postgres_client_identities": [identity], "postgres_client_converged": clients}
    return {"db1": dict(server), "db2": dict(server), "app1": dict(client), "app2": dict(client)}


def lines(fleet: Any, roots: str, **others: Any) -> list[str]:
    """Return the lines about hosts, without the headline and what to do."""
    phase = others.get("phase", "staged")
    authorities = {
        name: {"phase": phase, "roots": roots, "since": SINCE} for name in others.get("names", ("server", "client"))
    }
    return waiting.lines(fleet, others.get("groups", GROUPS), authorities, others.get("awaited", AWAITED))[1:-1]


def test_nobody_is_waited_for_where_all_were_seen_or_no_root_is_being_replaced(fleet: Any, roots: str) -> None:
    assert lines(fleet, roots) == []
    fleet["app2"]["postgres_client_converged"] = AWAY
    assert lines(fleet, roots, phase="steady", awaited=[]) == []
    assert lines(fleet, roots) != []


def test_the_phase_and_the_new_root_are_named_first_and_what_to_do_is_said_last(fleet: Any, roots: str) -> None:
    fleet["app2"]["postgres_client_converged"] = AWAY
    server, client = ({"phase": phase, "roots": roots, "since": SINCE} for phase in ("switched", "staged"))
    one, other, _app2, last = waiting.lines(fleet, GROUPS, {"server": server, "client": client}, AWAITED)
    assert one.startswith("Phase switch (client CA, new root of 2027-01-15T")
    assert other.startswith("Phase retire (server CA, new root of ")
    assert last.startswith("Bring each of them back and keep it in the inventory, then run ansible-playbook ")
    assert "postgres_ca_revoked: [{host: NAME}]" in last


def test_hosts_that_are_away_or_failed_are_waited_for_with_the_dates_of_their_certificates(
    fleet: Any, roots: str
) -> None:
    fleet["app2"]["postgres_client_converged"] = AWAY
    fleet["db2"]["postgres_server_failed"] = "it is down"  # behind what it has shown
    fleet["db1"]["postgres_verify_failed"] = "not as expected"  # it was reached
    newer = [*AWAITED, held("app2/web/other", "2026-11-01T00:00:00Z")]
    assert lines(fleet, roots, awaited=newer) == [
        f"db2: it failed in this run. {DATES}",
        f"app2: it could not be reached in this run. {DATES.replace('2026-10-02', '2026-11-01')}",
    ]


def test_a_standby_that_did_not_connect_again_is_waited_for(fleet: Any, roots: str) -> None:
    fleet["db2"]["postgres_server_replication_failed"] = "a new connection for replication would fail"
    assert lines(fleet, roots) == [f"db2: it failed in this run. {DATES}"]


def test_a_host_that_the_ledger_does_not_know_is_to_stay_in_the_inventory(fleet: Any, roots: str) -> None:
    fleet["app2"]["postgres_client_converged"] = AWAY
    (line,) = lines(fleet, roots, names=["server"], awaited=AWAITED[:2])
    assert line == (
        "app2: it could not be reached in this run. It has no certificate of these CAs, so only the inventory "
        "remembers it. Keep it there."
    )


def test_a_host_that_was_taken_out_of_the_inventory_is_still_waited_for(fleet: Any, roots: str) -> None:
    groups = {"postgres_servers": ["db1"], "postgres_clients": ["app1"]}
    assert lines(fleet, roots, groups=groups) == [
        f"db2: it is not in the inventory. {DATES}",
        f"app2: it is not in the inventory. {DATES}",
    ]


def test_an_identity_that_is_not_declared_any_more_is_named_and_a_password_stands_for_none(
    fleet: Any, roots: str
) -> None:
    fleet["app2"]["postgres_client_converged"] = {"identities": []}
    fleet["app2"]["postgres_client_identities"] = []
    assert lines(fleet, roots) == [f"app2/web/app: the inventory does not declare it any more. {DATES}"]
    fleet["app2"]["postgres_client_identities"] = [{"role": "app", "os_user": "web", "login": "password"}]
    assert lines(fleet, roots) == []


def test_of_hosts_that_a_run_leaves_out_nothing_is_said(fleet: Any, roots: str) -> None:
    assert lines({"db1": fleet["db1"], "db2": {}, "app1": {}, "app2": {}}, roots) == []


def test_many_hosts_are_counted(fleet: Any, roots: str) -> None:
    many = [held(f"web{number}/web/app") for number in range(15)]
    found = lines(fleet, roots, awaited=many)
    assert found[10:] == ["and 5 more hosts"]


def test_a_report_says_the_same_from_what_it_has_looked_up(fleet: Any, roots: str) -> None:
    silent = {"postgres_client_identities": fleet["app2"]["postgres_client_identities"]}
    report = {
        "db1": {"postgres_server_sessions": {"certificate": {"serial": "a1"}, "sessions": []}},
        "db2": {"postgres_server_sessions": AWAY},
        "app1": {**silent, "postgres_client_certificates": {"identities": [{"id": "web/app", "serial": "a1"}]}},
        "app2": {**silent, "postgres_client_certificates": AWAY},
    }
    assert lines(report, roots) == [
        f"db2: it could not be reached in this run. {DATES}",
        f"app2: it could not be reached in this run. {DATES}",
    ]
    report["app2"] = {
        "postgres_client_identities": [{"role": "app", "os_user": "web", "login": "password"}],
        "postgres_client_certificates": {"identities": []},
    }
    groups = {"postgres_servers": ["db1"], "postgres_clients": ["app1", "app2"]}
    (line,) = lines(report, roots, groups=groups)
    assert line == f"db2: it is not in the inventory. {DATES}"


def test_a_pooler_that_is_away_is_waited_for_with_both_of_its_certificates(fleet: Any, roots: str) -> None:
    groups = {**GROUPS, "postgres_poolers": ["pool1"]}
    own = [held("pool1/pooler/front"), held("pool1/pooler/back", "2026-11-01T00:00:00Z")]
    both = {"certificates": {"front": {"serial": "a1"}, "back": {"serial": "a2"}}}
    fleet["pool1"] = {"postgres_pooler_converged": both}
    assert lines(fleet, roots, groups=groups, awaited=[*AWAITED, *own]) == []
    fleet["pool1"] = {"postgres_pooler_certificates": both}  # in a report
    assert lines(fleet, roots, groups=groups, awaited=[*AWAITED, *own]) == []
    fleet["pool1"] = {"postgres_pooler_converged": AWAY}
    away = f"pool1: it could not be reached in this run. {DATES.replace('2026-10-02', '2026-11-01')}"
    assert lines(fleet, roots, groups=groups, awaited=[*AWAITED, *own]) == [away]
    assert lines(fleet, roots, awaited=own) == [
        away.replace("could not be reached in this run", "is not in the inventory")
    ]
