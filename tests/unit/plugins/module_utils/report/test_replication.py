# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication in reports: what both ends show, and nothing that is not certain."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, headline, metrics, page, replication
from ansible_collections.pgops.tls.tests import prometheus
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

VERIFIED = {"host": "db1.example.com", "port": "5432", "user": "replicator", "sslmode": "verify-full"}


def sender(serial: str | None = "2f", **changes: Any) -> dict[str, Any]:
    """Return a session that sends to a standby, as module session_info returns it."""
    return {
        "pid": 1, "type": "walsender", "role": "replicator", "database": None, "address": "192.0.2.2",
        "application": "db2", "since": clock.instant(TODAY - 3600), "encryption": "tls", "protocol": "TLSv1.3",
        "cipher": "x", "serial": serial, "subject": "/CN=replicator", "issuer": "/CN=ca", "findings": [], **changes,
    }  # fmt: skip


PLAINTEXT = sender(None, encryption="none", protocol=None, findings=["plaintext"])


def connection(*findings: str, conninfo: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "standby", "name": "standby", "conninfo": VERIFIED if conninfo is None else conninfo,
        "status": "streaming", "since": clock.instant(TODAY - 60), "certificate": "x", "serial": "2f",
        "not_after": clock.instant(TODAY + 80 * DAY), "findings": list(findings), **changes,
    }  # fmt: skip


def server(*connections: Any, sessions: Any = ()) -> dict[str, Any]:
    """Return a result of module session_info."""
    certificate = {"serial": "1f", "sha256": "ab", "not_after": clock.instant(TODAY + 89 * DAY), "reasons": []}
    facts_ = {"is_standby": True, "os_user": "postgres", "application_name": "db2", "synchronous": []}
    return {
        "server_version": 150018, "certificate": certificate, "counts": {}, "sessions": list(sessions),
        **({"replication": {**facts_, "connections": list(connections)}} if connections else {}),
    }  # fmt: skip


def report(
    one: Any, *sessions: Any, is_managed: bool = False, upstreams: Any = ("db1",), primary: Any = None
) -> dict[str, Any]:
    """Return the report on a primary with these sessions, and a standby with a connection."""
    results = {"db1": primary or server(sessions=sessions), "db2": server(one)}
    name = one["name"] if isinstance(one, dict) else "standby"
    known = {"db2": {name: {"upstreams": list(upstreams), "is_managed": is_managed}}}
    learned = facts.Learned(results, {}, {}, [], clusters={"db1": "shop", "db2": "shop"}, replication=known)
    return facts.report(learned, {}, TODAY)


def told(data: dict[str, Any]) -> dict[str, Any]:
    (one,) = data["servers"]["db2"]["replication"]
    return dict(one)


def row(data: dict[str, Any]) -> list[str]:
    """Return the cells of the page's only row about replication."""
    section = page.text(data).partition("<h2>Replication</h2>")[2].partition("<h2>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", section)
    return [html.unescape(re.sub(r"<[^>]+>", "", one)) for one in cells]


def test_a_standby_as_it_should_be_needs_no_attention() -> None:
    data = report(connection(), sender(), is_managed=True)
    assert row(data) == ["db2", "shop", "standby", "db1", "verified", "2f", "2f", *row(data)[7:9], "yes", ""]
    assert row(data)[8] == "80"
    assert headline.of(data).is_well
    assert not [line for line in facts.summary(data) if "standby" in line]


def test_without_replication_there_is_nothing_to_say() -> None:
    data = facts.report(facts.Learned({"db1": server()}, {}, {}, []), {}, TODAY)
    assert data["servers"]["db1"]["replication"] == []
    assert "<h2>Replication</h2>" not in page.text(data)
    assert "; Replication; " in page.text(data).partition(">None: ")[2], "that there is none is said"


@pytest.mark.parametrize(
    ("mode", "sessions", "encryption", "words"),
    [
        ("verify-full", [sender()], "tls", "verified"),
        ("verify-ca", [sender()], "tls", "encrypted, its name is not verified"),
        ("require", [sender()], "tls", "encrypted, not verified"),
        ("prefer", [sender()], "tls", "encrypted, not verified"),
        ("prefer", [PLAINTEXT], "none", "plaintext"),
        ("prefer", [], None, "unknown"),
        ("prefer", [sender(), PLAINTEXT], None, "unknown"),  # of which one is it?
        ("disable", [], "none", "plaintext"),
        ("require", [], "tls", "encrypted, not verified"),
        ("verify-full", [PLAINTEXT], "none", "plaintext"),  # something between them ends TLS
        ("verify-full", [sender(encryption="gss")], "gss", "GSSAPI"),
        ("prefer", [sender(application="db3"), PLAINTEXT], "none", "plaintext"),
        ("prefer", [sender(role="other")], None, "unknown"),
        ("prefer", [sender(type="client backend")], None, "unknown"),
    ],
)
def test_the_other_end_says_how_it_is_encrypted_else_the_mode_does(
    mode: str, sessions: list[Any], encryption: str | None, words: str
) -> None:
    data = report(connection(conninfo={**VERIFIED, "sslmode": mode}), *sessions)
    assert (told(data)["encryption"], row(data)[4]) == (encryption, words)
    found = prometheus.parse(metrics.text(data))
    labels = frozenset({("host", "db2"), ("connection", "standby"), ("cluster", "shop")})
    value = found.get(("pgops_tls_replication_encrypted", labels))
    assert value == (None if encryption is None else encryption != "none")


def test_one_without_a_process_is_not_taken_for_another_that_is_called_alike() -> None:
    one = told(report(connection("not_streaming", since=None, status=""), sender("3f")))
    assert (one["encryption"], one["serial_in_use"], one["findings"]) == (None, None, ["not_streaming"])


def test_one_over_a_socket_needs_no_tls() -> None:
    data = report(connection(conninfo={"host": "/run/postgresql", "user": "replicator"}), upstreams=())
    assert row(data)[3:5] == ["/run/postgresql", "Unix socket"]
    assert "replication_encrypted" not in metrics.text(data)


@pytest.mark.parametrize(
    ("sessions", "findings", "in_use", "cell", "is_old"),
    [
        ([sender("2f")], [], "2f", "2f", False),
        ([sender("2e")], [], "2e", "2e", True),  # its file was replaced in a way that left no time
        ([sender("2e")], ["old_certificate"], "2e", "2e", True),
        ([sender(None)], [], "", "none", False),
        ([sender("2e"), sender("2f")], [], "2f", "2f", False),  # the other standby is the one with the other
        ([sender("2e"), sender("2f")], ["old_certificate"], None, "unknown", True),
        ([sender("2d"), sender("2e")], [], None, "unknown", False),
        ([], [], None, "unknown", False),
    ],
)
def test_the_certificate_in_use_is_compared_with_the_one_on_disk(
    sessions: list[Any], findings: list[str], in_use: str | None, cell: str, is_old: bool
) -> None:
    data = report(connection(*findings), *sessions)
    one = told(data)
    assert (one["serial_in_use"], row(data)[6]) == (in_use, cell)
    assert one["findings"] == ["old_certificate"] * is_old
    labels = {"host": "db2", "connection": "standby", "cluster": "shop", "finding": "old_certificate"}
    found = prometheus.parse(metrics.text(data))
    assert found["pgops_tls_replication_finding", frozenset(labels.items())] == is_old


def test_a_primary_that_did_not_answer_shows_nothing() -> None:
    data = report(connection(), primary={"msg": "down", "sessions_": [sender("2e")]})
    assert (told(data)["serial_in_use"], told(data)["encryption"]) == (None, "tls")


@pytest.mark.parametrize(
    ("finding", "managed", "words"),
    [
        ("not_streaming", True, "find out why standby db2 is not connected (see the log of its server)"),
        ("file_missing", True, "restore the files of standby db2: one cannot be read, and the next connection fails"),
        ("expired", False, "renew the certificate of standby db2: it has ended, and the next connection fails"),
        ("conninfo_unreadable", False, "correct the connection string of standby db2"),
        ("expires_soon", False, "renew the certificate of standby db2: it ends soon"),
        ("plaintext_possible", False, "set sslmode=verify-full for standby db2: it may replicate in plaintext"),
        ("plaintext_possible", True, "run pgops.tls.site: standby db2 may replicate in plaintext"),
        ("not_verified", False, "set sslmode=verify-full for standby db2: any server could answer it"),
        ("not_verified", True, "run pgops.tls.site: any server could answer standby db2"),
        ("old_certificate", False,
         "reconnect standby db2: it still uses the certificate from before the last renewal"),
        ("old_certificate", True,
         "run pgops.tls.site: standby db2 still uses the certificate from before the last renewal"),
    ],
)  # fmt: skip
def test_the_first_line_says_what_to_do_about_each_finding(finding: str, managed: bool, words: str) -> None:
    data = report(connection(finding), is_managed=managed)
    assert headline.of(data) == (False, f"First {words}.")
    assert f"db2: standby from db1: {finding}" in facts.summary(data)
    assert row(data)[-1] == finding.replace("_", " ")


def test_what_fails_comes_before_what_only_could() -> None:
    data = report(connection("not_streaming", "plaintext_possible"), PLAINTEXT)
    text = headline.of(data).text
    assert text.startswith("First find out why standby db2 is not connected")
    assert text.endswith(" 1 more problem below.")


def test_a_subscription_is_told_by_its_name_and_found_by_it_at_the_publisher() -> None:
    one = connection("old_certificate", kind="subscription", name="shop/sub", status="running")
    data = report(one, sender("2e", application="sub", database="shop"), is_managed=True)
    assert told(data)["serial_in_use"] == "2e"
    assert "subscription shop/sub of db2 still uses" in headline.of(data).text
    assert replication.leads_to(told(data)) == "db1"


def test_where_it_leads_to_is_said_as_it_is_written_if_no_server_of_the_inventory_is_known() -> None:
    assert row(report(connection(), upstreams=()))[3] == "db1.example.com port 5432"
    assert row(report(connection("conninfo_unreadable", conninfo={}), upstreams=()))[3:5] == ["unknown", "unknown"]


def test_what_was_seen_yesterday_is_not_what_is_now() -> None:
    first = json.loads(json.dumps(report(connection(), sender())))
    learned = facts.Learned({"db1": server(sessions=[sender()]), "db2": {"unreachable": True}}, {}, {}, [])
    data = facts.report(learned, first, TODAY + DAY)
    assert data["servers"]["db2"]["replication"] == []
    assert data["servers"]["db2"]["certificate"]["serial"] == "1f"


def test_what_was_wrong_stays_known_of_a_standby_that_a_run_left_out() -> None:
    data = first = report(connection("expired"), sender("2e"), is_managed=True)
    for days in (1, 2):
        learned = facts.Learned({"db1": server(sessions=[sender("3f")]), "db2": {}}, {}, {}, [])
        data = facts.report(learned, json.loads(json.dumps(data)), TODAY + days * DAY)
    assert told(data) == told(first), "also whom it follows, and what its other end showed then"
    assert "First renew the certificate of standby db2" in headline.of(data).text
    labels = {"host": "db2", "connection": "standby", "finding": "expired"}
    assert prometheus.parse(metrics.text(data))["pgops_tls_replication_finding", frozenset(labels.items())] == 1
    assert data["servers"]["db2"]["last_look"] == clock.instant(TODAY)


@pytest.mark.parametrize(
    "changes",
    [
        {"conninfo": "x"},
        {"since": "soon"},
        {"not_after": 7},
        {"findings": None},
        {"conninfo": 7},
        {"name": None, "conninfo": []},
    ],
)
def test_a_damaged_answer_is_one_that_does_not_count(changes: dict[str, Any]) -> None:
    data = report(connection(**changes), sender())
    assert data["servers"]["db2"]["status"] == "failed"
    assert "has an unexpected form" in data["servers"]["db2"]["message"]
    assert data["servers"]["db1"]["status"] == "ok"


def test_what_a_host_says_stays_text_and_its_findings_are_known_ones() -> None:
    hostile = '<b>"{{ 7 }}"\n\u202e'
    one = connection("<i>", name=hostile, status=hostile, serial=hostile, conninfo={"host": hostile, "sslmode": "x"})
    data = report(one, sender(hostile), upstreams=())
    assert told(data)["findings"] == []
    assert "<b>" not in page.text(data)
    assert "<i>" not in page.text(data)
    prometheus.parse(metrics.text(data))
