# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes next in a replacement of roots, what stops it, and whose certificates a run has seen."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import consequences, rotation, serials
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

BOTH = ["server", "client"]
GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "db2"]}
ACCEPTED = {
    "status": "ok",
    "wanted": "accepted",
    "expect": "accepted",
    "os_user": "web",
    "role": "app",
    "identity": "app",
    "host": "db",
    "port": 5432,
}
STANDBY = {"os_user": "postgres", "role": "standby", "identity": "standby"}


def authority(
    phase: str,
    made: int = NOW - 400 * DAY,
    *,
    replaced: bool = False,
    may_stage: bool = True,
    other_root: bool = False,
) -> dict[str, Any]:
    """Return what module certificate_authority says of an authority whose newest root was made at ``made``."""
    root = issuing.new_authority("server", "P-256", made).root
    since = clock.instant(root.not_before)
    said = {"replaced": replaced, "since": since, "may_stage": may_stage, "other_root": other_root}
    return {"phase": phase, "roots": root.pem, **said}


def by(answering: str, *sharing: str) -> dict[str, Any]:
    """Return what a check says of the server that answered, by a name of its own or one that it shares."""
    return {
        "server": ", ".join(sharing) or answering,
        "servers": list(sharing) or [answering],
        "answered_by": answering,
    }


def step(
    server: dict[str, Any], client: dict[str, Any], wanted: str = "", rotate: Any = "server,client"
) -> tuple[str, list[str]]:
    found = rotation.next_step({"server": server, "client": client}, wanted, rotate, NOW)
    return found.phase, found.authorities


@pytest.mark.parametrize(
    ("phase", "upcoming"), [("steady", "stage"), ("staged", "switch"), ("switched", "retire"), ("retiring", "finish")]
)
def test_what_comes_next_is_what_the_directory_shows(phase: str, upcoming: str) -> None:
    assert step(authority(phase), authority(phase)) == (upcoming, BOTH)
    assert step(authority(phase), authority(phase), rotate="client") == (upcoming, ["client"])


def test_after_a_kill_between_two_authorities_the_one_behind_goes_first() -> None:
    new = NOW - 60
    assert step(authority("staged", new), authority("steady")) == ("stage", ["client"])
    assert step(authority("switched", new), authority("staged", new)) == ("switch", ["client"])
    assert step(authority("retiring", new), authority("switched", new)) == ("retire", ["client"])
    assert step(authority("steady", new, replaced=True), authority("retiring", new)) == ("finish", ["client"])


def test_a_kill_at_the_end_of_a_long_rollover_does_not_begin_another_one() -> None:
    staged_long_ago = NOW - 30 * DAY
    done = authority("steady", staged_long_ago, replaced=True)
    assert step(done, authority("retiring", staged_long_ago + 5)) == ("finish", ["client"])
    assert step(done, authority("retiring", NOW - DAY)) == ("stage", ["server"])


def test_a_root_that_was_just_replaced_is_left_alone_and_one_that_was_just_made_is_not() -> None:
    assert step(*[authority("steady", NOW - 60, replaced=True)] * 2) == ("", [])
    assert step(*[authority("steady", NOW - 60)] * 2) == ("stage", BOTH)
    assert step(*[authority("steady", NOW - 2 * DAY, replaced=True)] * 2) == ("stage", BOTH)
    wanted = authority("steady", NOW - 60, replaced=True, other_root=True)  # by the company, or by whoever leaves it
    assert step(authority("steady", NOW - 60, replaced=True), wanted) == ("stage", ["client"])


def test_an_authority_whose_company_has_to_act_first_is_left_out_unless_it_is_named() -> None:
    waiting, other = authority("steady", may_stage=False), authority("steady")
    assert step(waiting, other, rotate="") == ("stage", ["client"])
    assert step(waiting, waiting, rotate="") == ("", [])
    assert step(waiting, other, rotate="server") == ("stage", ["server"])
    assert step(authority("staged", may_stage=False), authority("staged"), rotate="") == ("switch", BOTH)


def test_a_phase_that_is_asked_for_begins_a_replacement_whenever_and_is_gone_through_once() -> None:
    just_replaced = authority("steady", NOW - 60, replaced=True)
    assert step(just_replaced, just_replaced, "stage") == ("stage", BOTH)
    assert step(authority("staged"), authority("staged"), "stage") == ("", [])
    assert step(authority("retiring"), authority("switched"), "switch") == ("", [])
    assert step(authority("steady"), authority("steady"), "finish") == ("", [])


def test_a_phase_out_of_order_is_left_to_the_module_to_refuse() -> None:
    assert step(authority("steady"), authority("staged"), "switch") == ("switch", BOTH)
    assert step(authority("steady"), authority("retiring"), "retire") == ("retire", ["server"])


def test_the_message_says_where_each_authority_is_and_how_to_go_on() -> None:
    made = {"server": authority("staged"), "client": authority("switched")}
    found = rotation.next_step(made, "stage", BOTH, NOW)
    (first, second), (last,) = found.where, found.advice
    assert first.startswith("server CA, phase staged: the new root 'PostgreSQL server root CA ")
    assert second.startswith("client CA, phase switched: the new root 'PostgreSQL server root CA ")
    assert last.startswith("ansible-playbook pgops.tls.rotate_ca -e postgres_ca_phase=switch continues by one phase")
    done = dict.fromkeys(BOTH, authority("steady", NOW - 60, replaced=True))
    assert "Nothing is left to do." in rotation.next_step(done, "", BOTH, NOW).advice[-1]


@pytest.mark.parametrize(("wanted", "rotate"), [("stages", BOTH), ("", "servers"), ("", ["server", "billing"])])
def test_other_words_are_refused_before_anything_and_later_too(wanted: str, rotate: Any) -> None:
    assert len(rotation.wrong(wanted, rotate, BOTH)) == 1
    with pytest.raises(TlsError, match=r"postgres_ca_(phase|rotate): expected"):
        step(authority("steady"), authority("steady"), wanted, rotate)


@pytest.mark.parametrize("rotate", ["", [], None, "server, client, billing"])
def test_without_names_it_is_for_all_authorities(rotate: Any) -> None:
    made = dict.fromkeys([*BOTH, "billing"], authority("steady", NOW - 60))
    assert rotation.wrong("", rotate, made) == []
    assert rotation.next_step(made, "", rotate, NOW).authorities == [*BOTH, "billing"]


def test_hosts_that_are_left_out_and_tags_are_refused() -> None:
    hosts = ["db1", "db2", "app1"]
    assert rotation.refusals(hosts, GROUPS, ["all"]) == []
    (limit,) = rotation.refusals(["db1", "app1"], GROUPS, ["all"])
    assert limit.startswith("--limit: db2 would be left behind")
    for tags in (["all", "verify"], ["verify"]):
        (tagged,) = rotation.refusals(hosts, GROUPS, tags)
        assert "Run this without tags" in tagged


@pytest.fixture
def fleet() -> dict[str, dict[str, Any]]:
    """Return the variables of two servers, of which one is the other's standby, and a client host, all proven."""
    from_app1 = [{**ACCEPTED, **by("db1")}, {**ACCEPTED, **by("db2")}]
    from_db2 = [{**ACCEPTED, **STANDBY, "wanted": "accepted, replication", **by("db1")}]
    standby = {"identities": [{"id": "postgres/standby", "serial": "2f"}]}
    return {
        "db1": {"postgres_server_converged": {"changed": False, "certificate": {"serial": "0a1"}}},
        "db2": {
            "postgres_client_identities": [STANDBY],
            "postgres_server_converged": {"reasons": ["forced"], "certificate": {"serial": "9"}},
            "postgres_server_installed": {"certificate": {"serial": "b2"}},
            "postgres_client_converged": standby,
            "postgres_verify_result": {"checks": from_db2},
        },
        "app1": {
            "postgres_client_identities": [{"os_user": "web", "role": "app"}],
            "postgres_client_converged": {"identities": [{"id": "web/app", "serial": "1e"}]},
            "postgres_client_installed": {"skipped": True},
            "postgres_verify_result": {"checks": from_app1},
        },
    }


def test_holders_are_those_whose_certificates_were_seen_the_newest_last(fleet: dict[str, Any]) -> None:
    fleet["app1"]["postgres_client_converged"]["identities"].append({"id": "web/new", "serial": None})
    assert serials.certificates_in_use(fleet, GROUPS) == [
        {"authority": "server", "id": "db1", "serial": "0a1"},
        {"authority": "server", "id": "db2", "serial": "b2"},
        {"authority": "client", "id": "app1/web/app", "serial": "1e"},
        {"authority": "client", "id": "db2/postgres/standby", "serial": "2f"},
    ]


def test_a_fleet_that_is_proven_has_nothing_unproven(fleet: dict[str, Any]) -> None:
    assert rotation.unproven(fleet, GROUPS) == []


def test_nobody_has_to_connect_where_there_is_no_identity(fleet: dict[str, Any]) -> None:
    alone = {"db1": fleet["db1"]}
    assert rotation.unproven(alone, {"postgres_servers": ["db1"]}) == []


@pytest.mark.parametrize(
    ("host", "changes", "message"),
    [
        ("db1", {"postgres_server_failed": "it is down"}, r"db1 failed in this run \(server\): it is down"),
        ("db1", {"postgres_server_converged": {"unreachable": True, "msg": "no route"}}, r"db1 failed .*no route"),
        ("db1", {"postgres_server_converged": {}}, "db1: this run learned nothing about the server"),
        ("app1", {"postgres_client_converged": {}}, "app1: this run learned nothing about the client"),
        ("app1", {"postgres_verify_result": {}}, "Client app1: nothing was verified"),
        (
            "db2",
            {"postgres_verify_result": {"checks": []}},
            "db2/postgres/standby: this identity has connected to no",
        ),
    ],
)
def test_whatever_is_not_proven_is_named(
    fleet: dict[str, Any], host: str, changes: dict[str, Any], message: str
) -> None:
    fleet[host].update(changes)
    assert re.search(message, "\n".join(rotation.unproven(fleet, GROUPS)))


WITH_POOLER = {**GROUPS, "postgres_poolers": ["pool1"]}
SHOWN = {"certificates": {"front": {"serial": "c3"}, "back": {"serial": "2f"}}}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"postgres_pooler_converged": SHOWN}, ""),
        ({}, "pool1: this run learned nothing about the pooler, so nothing is proven."),
        ({"postgres_pooler_failed": "it is down"}, "pool1 failed in this run (pooler): it is down"),
        (
            {"postgres_pooler_converged": {"unreachable": True, "msg": "no route"}},
            "pool1 failed in this run (pooler): could not be reached: no route",
        ),
    ],
)
def test_a_pooler_is_proven_like_a_server(fleet: dict[str, Any], said: dict[str, Any], message: str) -> None:
    fleet["pool1"] = said
    assert rotation.unproven(fleet, WITH_POOLER) == ([message] if message else [])
    assert rotation.refusals(["db1", "db2", "app1"], WITH_POOLER, [])[0].startswith("--limit: pool1 would be left")


def test_a_server_that_nobody_reached_is_named_and_one_that_can_only_be_skipped_is_not(fleet: dict[str, Any]) -> None:
    checks = fleet["app1"]["postgres_verify_result"]["checks"]
    skipped = copy.deepcopy(fleet)
    skipped["app1"]["postgres_verify_result"]["checks"][1]["status"] = "skipped"
    assert rotation.unproven(skipped, GROUPS) == []
    del checks[1]
    assert rotation.unproven(fleet, GROUPS) == ["db2: no client has connected to this server in this run."]


def test_a_server_is_proven_by_its_own_certificate_and_by_no_name_that_it_shares(fleet: dict[str, Any]) -> None:
    checks = fleet["app1"]["postgres_verify_result"]["checks"]
    checks[1] = {**ACCEPTED, **by("db1", "db1", "db2"), "host": "db.example.com"}
    (found,) = rotation.unproven(fleet, GROUPS)
    assert found == (
        "db2: no client has connected to this server in this run. db.example.com led to db1. Give it a name of its own "
        "in postgres_server_extra_names."
    )
    checks[1].update(by("db2", "db1", "db2"))
    assert rotation.unproven(fleet, GROUPS) == []
    checks[1]["answered_by"] = ""
    assert "db.example.com led to a server that cannot be identified" in rotation.unproven(fleet, GROUPS)[0]
    skipped = {**ACCEPTED, **by("db2"), "answered_by": "", "status": "skipped"}
    checks.append(skipped)
    assert len(rotation.unproven(fleet, GROUPS)) == 1, "a wildcard does not prove what its other name did not reach"


def test_an_identity_that_reached_no_server_that_can_be_told_is_not_proven(fleet: dict[str, Any]) -> None:
    (check,) = fleet["db2"]["postgres_verify_result"]["checks"]
    check["answered_by"] = ""
    assert "db2/postgres/standby: this identity has connected to no server" in rotation.unproven(fleet, GROUPS)[0]
    check["status"] = "skipped"
    assert rotation.unproven(fleet, GROUPS) == []
    check.update(status="prompt", answered_by="db1")
    assert rotation.unproven(fleet, GROUPS) == []


def test_a_connection_that_deviates_is_named(fleet: dict[str, Any]) -> None:
    fleet["app1"]["postgres_verify_result"]["checks"][0].update(status="deviation", reason="was refused: no")
    assert "Client app1, OS user web as role app to server db1" in rotation.unproven(fleet, GROUPS)[0]


def test_of_hosts_that_are_away_nothing_is_to_be_proven_and_of_connections_to_them(fleet: dict[str, Any]) -> None:
    fleet["db1"]["postgres_server_converged"] = {"unreachable": True, "msg": "no route"}
    for host in ("app1", "db2"):
        fleet[host]["postgres_verify_result"]["checks"][0].update(status="deviation", answered_by="", reason="no")
    fleet["db2"]["postgres_client_identities"] = [{**STANDBY, "servers": ["db1"]}]  # there is no other server for it
    assert rotation.unproven(fleet, GROUPS)
    assert rotation.unproven(fleet, GROUPS, away=["db1"]) == []
    assert rotation.unproven(fleet, GROUPS, away=["db1"], is_verified=False) == []
    fleet["app1"]["postgres_verify_result"]["checks"][1].update(status="deviation", answered_by="", reason="no")
    (found,) = rotation.unproven(fleet, GROUPS, away=["db1"])[:1]
    assert found.startswith("Client app1, OS user web as role app to server db2"), "it is not away"


def test_a_client_host_that_is_away_has_to_connect_to_nobody(fleet: dict[str, Any]) -> None:
    fleet["app1"] |= {"postgres_client_converged": {"unreachable": True}, "postgres_verify_result": {"skipped": True}}
    fleet["db2"]["postgres_client_identities"] = [{**STANDBY, "servers": ["db1"]}]  # only app1 is a client of db2
    assert rotation.unproven(fleet, GROUPS, away=["app1"]) == []
    fleet["db1"]["postgres_server_failed"] = "it is down"
    assert rotation.unproven(fleet, GROUPS, away=["app1"]) == ["db1 failed in this run (server): it is down"]


def test_where_everybody_is_away_nothing_is_proven(fleet: dict[str, Any]) -> None:
    assert rotation.unproven(fleet, GROUPS, away=["db1", "db2", "app1"]) == ["No host was reached in this run."]


def test_in_check_mode_nothing_can_be_verified_but_hosts_have_to_be_there(fleet: dict[str, Any]) -> None:
    for variables in fleet.values():
        variables.pop("postgres_verify_result", None)
    assert rotation.unproven(fleet, GROUPS, is_verified=False) == []
    fleet["db1"]["postgres_server_converged"] = {}
    assert rotation.unproven(fleet, GROUPS, is_verified=False)


def test_what_a_dropped_root_breaks_is_told_certificate_by_certificate(fleet: dict[str, Any]) -> None:
    ids = ("app1/web/app", "gone/web/app", "db1")
    breaks = [{"id": one, "not_after": "2027-01-01T00:00:00Z"} for one in ids]
    refused = {
        "consequence": "drop: it breaks this. Nothing was changed.",
        "root": "a CA 5ac6f1d9",
        "breaks": breaks,
    }
    assert consequences.of_drop(refused, fleet, GROUPS) == [
        "drop: it breaks this. Nothing was changed.",
        "gone/web/app, until 2027-01-01T00:00:00Z: not in the inventory, so shut out permanently",
        "app1/web/app, until 2027-01-01T00:00:00Z: shut out until a run has reached it",
        "db1, until 2027-01-01T00:00:00Z: shut out until a run has reached it",
        "To do it: -e postgres_ca_drop_confirmed=5ac6f1d9",
    ]
    other = {"root": "a CA 77777777", "since": "2026-01-01T00:00:00Z", "breaks": breaks[2:]}
    assert consequences.of_drop({**refused, "others": [other]}, fleet, GROUPS) == [
        "drop: it breaks this. Nothing was changed.",
        "a CA 5ac6f1d9, and all other roots with it, since it is the one that issues:",
        "gone/web/app, until 2027-01-01T00:00:00Z: not in the inventory, so shut out permanently",
        "app1/web/app, until 2027-01-01T00:00:00Z: shut out until a run has reached it",
        "db1, until 2027-01-01T00:00:00Z: shut out until a run has reached it",
        "To do it: -e postgres_ca_drop_confirmed=5ac6f1d9",
        "a CA 77777777 of 2026-01-01T00:00:00Z alone:",
        "db1, until 2027-01-01T00:00:00Z: shut out until a run has reached it",
        "To do it: -e postgres_ca_drop_confirmed=77777777",
    ]
    of_pooler = {**refused, "breaks": [{"id": "pool1/pooler/back", "not_after": "2027-01-01T00:00:00Z"}]}
    assert consequences.of_drop(of_pooler, {**fleet, "pool1": {}}, WITH_POOLER)[1].endswith(
        "until a run has reached it"
    )
    assert consequences.of_drop({"msg": "no such directory"}, fleet, GROUPS) == ["no such directory"]
