# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table and the sentences that a person reads."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.verification import report

CHECK = {
    "status": "ok",
    "reason": "TLSv1.3 TLS_X /CN=app",
    "wanted": "accepted",
    "expect": "accepted",
    "server": "db1",
    "servers": ["db1"],
    "answered_by": "db1",
    "note": "",
    "host": "db1.example.com",
    "port": 5432,
    "os_user": "www",
    "role": "app",
    "protocol": "TLSv1.3",
    "cipher": "TLS_X",
    "group": "X25519",
}


def results(**changes: Any) -> dict[str, Any]:
    return {"app1": {"checks": [CHECK]}, "application2": {"checks": [{**CHECK, **changes}]}}


def test_the_columns_are_aligned() -> None:
    lines = report.table(results(group=""))
    assert lines == [
        "CLIENT        ROLE  SERVER  NAME                  EXPECTED  RESULT  PROTOCOL  CIPHER OR REASON",
        "app1          app   db1     db1.example.com:5432  accepted  ok      TLSv1.3   TLS_X, X25519",
        "application2  app   db1     db1.example.com:5432  accepted  ok      TLSv1.3   TLS_X",
        "2 connections from 2 client hosts: 2 as expected",
    ]


def test_a_deviation_shows_its_reason_even_when_it_was_accepted() -> None:
    bad = results(status="deviation", reason='was accepted as "x"\nexpected y')
    assert report.table(bad)[2].endswith("  was accepted as 'x' expected y")
    assert " DEVIATION " in report.table(bad)[2]
    assert report.table(bad)[-1].endswith("1 as expected, 1 not as expected")


def test_problems_only_leaves_out_what_is_ok() -> None:
    bad = results(status="unproven", reason="refused, but")
    assert [line.split()[0] for line in report.table(bad, "problems")] == ["CLIENT", "application2", "2"]
    assert report.table(results(), "problems") == ["2 connections from 2 client hosts: 2 as expected"]


def test_a_deviation_names_client_server_name_expectation_and_event() -> None:
    bad = results(status="deviation", reason="was refused: timeout expired")
    (found,) = report.deviations(bad)
    assert found == (
        "Client application2, OS user www as role app to server db1 by name db1.example.com, port 5432: "
        "expected accepted; it was refused: timeout expired. Check that this is its address, and that no "
        "firewall drops the connection."
    )


def test_unproven_is_a_fault_and_skipped_is_none() -> None:
    assert len(report.deviations(results(status="unproven", reason="refused, but"))) == 1
    assert report.deviations(results(status="skipped", reason="a wildcard")) == []


def test_a_host_without_results_is_a_fault_of_its_own() -> None:
    silent = {"app1": {"checks": [CHECK]}, "app2": {"unreachable": True, "msg": "no route"}, "app3": {}}
    assert report.deviations(silent) == [
        "Client app2: nothing was verified: no route",
        "Client app3: nothing was verified: the host gave no result",
    ]
    assert report.table(silent)[-1] == (
        "1 connections from 3 client hosts: 1 as expected, nothing verified on app2, app3"
    )
    assert "no route" in report.table(silent, "problems")[1]


def test_nothing_at_all_is_said_to_be_nothing() -> None:
    assert report.table({"app1": {"checks": []}}) == ["0 connections from 1 client hosts: none"]


def test_one_cause_is_one_sentence_whatever_follows_from_it() -> None:
    down = {**CHECK, "status": "deviation", "reason": "was refused: Connection refused"}
    follows = {
        **CHECK,
        "status": "unproven",
        "reason": "could not be tried",
        "wanted": "refused: plaintext",
        "expect": "refused",
    }
    (cause,) = report.causes([CHECK, down, {**down, "host": "192.0.2.1"}, follows, {**follows, "role": "x"}])
    assert "by name db1.example.com, port 5432: expected accepted; it was refused: Connection refused." in cause
    assert "The same with 1 more of its connections to this server." in cause
    assert cause.endswith("that no firewall rejects it. For that, 2 refusals are unproven.")


def test_what_follows_is_told_with_the_server_that_it_follows_from() -> None:
    down = {**CHECK, "status": "deviation", "reason": "was refused: Connection refused"}
    follows = {
        **CHECK,
        "status": "unproven",
        "reason": "could not be tried",
        "wanted": "refused: plaintext",
        "expect": "refused",
    }
    open_one = {
        **CHECK,
        "server": "db2",
        "servers": ["db2"],
        "status": "deviation",
        "reason": "was accepted (without TLS)",
    }
    first, second = report.causes([down, follows, open_one])
    assert first.endswith("For that, 1 refusals are unproven.")
    assert second.endswith("it was accepted (without TLS).")


def test_each_server_and_each_reason_is_a_cause_of_its_own() -> None:
    bad = {**CHECK, "status": "deviation", "reason": "was refused: x"}
    alone = {**CHECK, "server": "db3", "status": "unproven", "reason": "nothing to compare with"}
    found = report.causes(
        [bad, {**bad, "server": "db2", "servers": ["db2"]}, {**bad, "reason": "was refused: y"}, alone]
    )
    assert [" more of its" in one for one in found] == [False] * 4
    assert "to server db3 " in found[3]


def test_what_is_wrong_with_servers_that_failed_before_is_known_and_not_said_again() -> None:
    bad = {**CHECK, "status": "deviation", "reason": "was refused: x"}
    seen = {"app1": {"checks": [bad, {**bad, "server": "db2", "servers": ["db2"]}]}, "app2": {"skipped": True}}
    (found,) = report.deviations(seen, ["db1"])
    assert "to server db2 " in found
    assert report.deviations(seen, ["db1", "db2"]) == []
    assert "NOTHING VERIFIED" in report.table(seen)[-2]
    assert report.table(seen)[-2].endswith("this host failed before")


def test_the_server_that_answered_is_in_the_table_and_what_is_not_known_is_counted() -> None:
    shared = {"server": "db1, db2", "servers": ["db1", "db2"], "host": "db.example.com"}
    lines = report.table(results(**shared, answered_by="db2"))
    assert lines[2].split()[2:4] == ["db2", "db.example.com:5432"]
    assert lines[2].endswith("TLS_X, X25519; this name is shared by db1, db2")
    unknown = report.table(results(**shared, answered_by="", note="which server answered is not known"))
    assert unknown[2].endswith("  TLS_X, X25519; which server answered is not known")
    assert unknown[-1].endswith("2 as expected, 1 of these answered by a server that this run cannot identify")


def test_a_prompt_is_no_fault_and_has_a_count_of_its_own() -> None:
    prompt = results(status="prompt", reason="up to the password prompt: x", cipher="", protocol="")
    assert report.deviations(prompt) == []
    assert " prompt  -         up to the password prompt: x" in report.table(prompt)[2]
    assert report.table(prompt)[-1].endswith("1 as expected, 1 up to the password prompt")


def test_notes_stand_below_the_table() -> None:
    assert report.table(results(), "problems", ["WARNING: no"])[-1] == "WARNING: no"


def test_a_name_that_nobody_resolves_is_told_with_the_variable_that_it_comes_from() -> None:
    reason = 'was refused: could not translate host name "db.example.com" to address: Name or service not known'
    bad = results(status="deviation", reason=reason, host="db.example.com")
    (found,) = report.deviations(bad, origins={("db1", "db.example.com"): "postgres_server_extra_names"})
    assert found.endswith(
        "Name or service not known. The client host must know this name (DNS, /etc/hosts). It comes from "
        "postgres_server_extra_names of db1. If no client uses the name, remove it there. If only some do, list them "
        "in from of the name."
    )


def test_what_a_server_that_failed_before_shares_is_known_too() -> None:
    bad = results(status="deviation", reason="was refused: x", server="db1, db2", servers=["db1", "db2"])
    assert report.deviations(bad, ["db2"]) == []
