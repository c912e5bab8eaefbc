# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports: what is remembered, what is written, and that whatever clients call themselves stays text."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    facts,
    headline,
    history,
    metrics,
    page,
    writing,
)
from ansible_collections.pgops.tls.plugins.module_utils.server import applications
from ansible_collections.pgops.tls.tests import prometheus
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, revocation_list
from ansible_collections.pgops.tls.tests.shared import DAY

HOSTILE = '"><script>alert(1)</script><!-- {{ 7 * 7 }} \\ \n\u202e\x1b[2J\ud800'
PLAIN_SESSION = {"role": "app", "database": "shop", "address": "192.0.2.10", "application": "web"}

APPLICATION = {
    **PLAIN_SESSION, "sessions": 1, "tls": "all", "protocols": [], "ciphers": [], "client_certificate": "none",
    "serials": [], "issuers": [],
}  # fmt: skip


def session(*findings: str, **changes: Any) -> dict[str, Any]:
    """Return a session as module session_info returns it."""
    return {
        **PLAIN_SESSION, "pid": 1, "type": "client backend", "since": clock.instant(TODAY - 3600), "encryption": "tls",
        "protocol": "TLSv1.3", "cipher": "x", "serial": "ff", "subject": "/CN=app", "issuer": "/CN=ca",
        "findings": list(findings), **changes,
    }  # fmt: skip


def server(*sessions: dict[str, Any], reasons: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """Return a result of module session_info."""
    certificate = {
        "serial": "1f", "sha256": "ab", "not_before": clock.instant(TODAY - DAY),
        "not_after": clock.instant(TODAY + 89 * DAY), "names": ["db1"], "installed": None, "is_on_disk": True,
        "renewal": clock.instant(TODAY + 50 * DAY), "reasons": list(reasons),
    }  # fmt: skip
    plain = sum("plaintext" in one["findings"] for one in sessions)
    counts = {"plaintext": plain, "TLSv1.3": len(sessions) - plain}
    return {
        "changed": False, "server_version": 150018, "certificate": certificate,
        "counts": {kind: count for kind, count in counts.items() if count}, "sessions": list(sessions),
        "applications": applications.of(sessions), **changes,
    }  # fmt: skip


def client(**changes: Any) -> dict[str, Any]:
    """Return a result of module client in check mode."""
    identity = {
        "id": "shop/app", "role": "app", "os_user": "shop", "certificate": "x", "key": "x", "serial": "2f",
        "sha256": "cd", "not_after": clock.instant(TODAY + 5 * DAY), "renewal": clock.instant(TODAY - DAY), **changes,
    }  # fmt: skip
    request = {"id": identity["id"], "role": identity["role"], "reasons": ["expires_in_5d"]}
    return {"changed": True, "identities": [identity], "requests": [request], "reasons": ["shop/app: expires_in_5d"]}


def authorities() -> dict[str, Any]:
    """Return both authorities as module certificate_authority returns them."""
    return {
        name: {
            "roots": one.root.pem, "issuing": one.issuing.pem, "phase": "steady", "revoked": ["ff"],
            "crls": revocation_list(one),
        }
        for name, one in AUTHORITIES.items()
    }  # fmt: skip


def report(
    servers: dict[str, Any] | None = None, before: dict[str, Any] | None = None, now: int = TODAY, **clients: Any
) -> dict[str, Any]:
    """Return a report; what is remembered has been through JSON."""
    learned = facts.Learned(servers or {}, clients, authorities(), [])
    return facts.report(learned, json.loads(json.dumps(before or {})), now)


def test_looks_without_plaintext_are_counted_from_the_first_of_them() -> None:
    told: dict[str, Any] = {}
    for day, seen in enumerate([[PLAIN_SESSION], [], [], [PLAIN_SESSION], [], []]):
        told = history.after_look(told, seen, TODAY + day * DAY)
    assert (told["looks"], told["since"]) == (2, clock.instant(TODAY + 4 * DAY))
    assert (told["all_looks"], told["first_look"]) == (6, clock.instant(TODAY))
    days = {"first_seen": clock.instant(TODAY), "last_seen": clock.instant(TODAY + 3 * DAY), "looks": 2}
    assert told["seen"] == [{**PLAIN_SESSION, **days}]
    assert history.in_words(told) == f"none seen in 2 looks since {clock.instant(TODAY + 4 * DAY)}"


def test_one_who_is_connected_twice_was_seen_in_one_look() -> None:
    told = history.after_look({}, [PLAIN_SESSION, PLAIN_SESSION, {**PLAIN_SESSION, "role": "b"}], TODAY)
    assert [one["looks"] for one in told["seen"]] == [1, 1]
    assert (told["looks"], told["since"]) == (0, None)
    assert history.in_words(told) == "2 clients seen in the last look"
    assert history.in_words({}) == "never looked at"


def test_the_memory_ends_after_half_a_year_and_is_of_a_limited_size() -> None:
    told = history.after_look({}, [PLAIN_SESSION], TODAY)
    assert history.after_look(told, [], TODAY + 179 * DAY)["seen"]
    assert not history.after_look(told, [], TODAY + 181 * DAY)["seen"]
    for look in range(3):
        crowd = [{**PLAIN_SESSION, "application": f"{look}-{number}"} for number in range(300)]
        told = history.after_look(told, crowd, TODAY + look)
    assert len(told["seen"]) == history.MOST
    assert {one["application"].split("-")[0] for one in told["seen"][:300]} == {"2"}


def test_a_report_tells_of_every_host_what_is_known() -> None:
    data = report({"db1": server(session("plaintext"), session("old_certificate"), session())}, app1=client())
    assert data["servers"]["db1"]["status"] == "ok"
    assert [one["findings"] for one in data["servers"]["db1"]["sessions"]] == [["plaintext"], ["old_certificate"]]
    assert [(one["host"], one["id"], one["reasons"]) for one in facts.certificates(data)] == [
        ("app1", "shop/app", ["expires_in_5d"]),
        ("db1", "", []),
    ]
    assert facts.summary(data)[0] == "2 certificates, 1 due to be renewed, next to end: app1 shop/app in 5 days"
    assert facts.not_looked_at(data) == []
    kinds = [one["kind"] for one in data["authorities"]["server"]["certificates"]]
    assert (kinds, data["authorities"]["client"]["phase"]) == (["root", "issuing"], "steady")
    assert data["authorities"]["client"]["crls"][0]["next_update"] == clock.instant(TODAY + 30 * DAY)


@pytest.mark.parametrize(
    ("result", "status", "message"),
    [
        ({}, "not_asked", "not asked in this run"),
        ({"skipped": True}, "not_asked", "not asked in this run"),
        ({"unreachable": True, "msg": "Connection\nrefused"}, "unreachable", "Connection refused"),
        ({"failed": False, "msg": "No server"}, "failed", "No server"),
        ({"rc": 1}, "failed", "it gave no result"),
        ({**server(), "sessions": 7}, "failed", "has an unexpected form"),
        ({**server(), "counts": {"plaintext": "many"}}, "failed", "an unexpected form"),
        (
            {**server(), "certificate": {"serial": "1", "sha256": "2", "not_after": "soon"}},
            "failed",
            "an unexpected form",
        ),
        ({**server(), "sessions": [{"role": "app"}]}, "failed", "an unexpected form"),
        ({**server(), "applications": [{"role": "app"}]}, "failed", "an unexpected form"),
        ({**server(session()), "applications": [{**APPLICATION, "tls": "<b>"}]}, "failed", "an unexpected form"),
    ],
)
def test_a_host_that_tells_nothing_is_in_the_report_as_such(result: Any, status: str, message: str) -> None:
    first = report({"db1": server(session("plaintext")), "db2": server()}, app1=client())
    data = report({"db1": result, "db2": server()}, first, TODAY + DAY, app1=client())
    found = data["servers"]["db1"]
    assert (found["status"], found["last_look"]) == (status, clock.instant(TODAY))
    assert message in found["message"]
    assert found["certificate"]["serial"] == "1f", "what was known is not forgotten"
    assert (found["sessions"], found["counts"]) == ([], {}), "but who was connected yesterday is not who is now"
    assert found["plaintext"] == first["servers"]["db1"]["plaintext"], "no look is no look without plaintext"
    assert data["servers"]["db2"]["plaintext"]["looks"] == 2
    assert [(kind, host) for kind, host, _one in facts.not_looked_at(data)] == [("server", "db1")]
    assert facts.summary(data)[-1].startswith(f"db1 (server): {status}: ")


def test_the_page_says_of_each_application_what_is_certain() -> None:
    plain = {"encryption": "none", "protocol": None, "cipher": None, "serial": None, "issuer": None}
    found = [session(), session("plaintext", **plain), session("plaintext", application="old", **plain)]
    found += [session(application="no-certificate", serial=None, issuer=None), session(address=None, **plain)]
    data = report({"db1": server(*found)})
    rows = re.findall(
        r"<tr>(.*)</tr>", page.text(data).partition("Which applications use TLS")[2].partition("</div>")[0]
    )
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row.replace("<wbr>", "")) for row in rows]
    when = data["time"][:16].replace("T", " ")
    who = ["app", "shop", "192.0.2.10"]
    assert cells[1:] == [
        ["db1", "web", *who, "2", "TLSv1.3 (not all sessions)", "x", "ff (not all sessions)", "/CN=ca",
         "not visible, or not by TLS", when],
        ["db1", "old", *who, "1", "none", "-", "none", "-", "not by TLS", when],
        ["db1", "no-certificate", *who, "1", "TLSv1.3", "x", "none", "-", "not visible", when],
    ]  # fmt: skip
    assert "A server cannot see whether a client verifies it." in page.text(data)


def test_applications_of_earlier_looks_are_remembered_as_they_were_seen_last() -> None:
    first = report({"db1": server(session(), session(application="nightly"))})
    second = report({"db1": server(session(serial="aa"))}, first, TODAY + DAY)
    away = report({"db1": {"msg": "gone"}}, second, TODAY + 2 * DAY)
    for data in (second, away):
        rows = {one["application"]: one for one in data["servers"]["db1"]["applications"]}
        assert (rows["web"]["serials"], rows["web"]["looks"]) == (["aa"], 2)
        assert rows["nightly"]["last_seen"] == rows["web"]["first_seen"] == clock.instant(TODAY)
    later = report({"db1": server()}, second, TODAY + 200 * DAY)
    assert later["servers"]["db1"]["applications"] == []


def test_a_server_that_is_not_managed_is_shown_beside_the_others() -> None:
    soon = server(session("plaintext"))
    soon["certificate"].update(not_after=clock.instant(TODAY + 3 * DAY), renewal=None)
    learned = facts.Learned({"db1": server()}, {}, authorities(), [], logins={"rds": soon, "other": {"msg": "refused"}})
    data = facts.report(learned, {}, TODAY)
    assert {name: one["is_managed"] for name, one in data["servers"].items()} == {
        "db1": True,
        "rds": False,
        "other": False,
    }
    assert data["servers"]["other"]["status"] == "failed"
    text = headline.of(data).text
    assert text.startswith("First ask who manages the server for a new certificate: the certificate of rds ends on ")
    prometheus.parse(metrics.text(data))
    with pytest.raises(TlsError, match="logins: found 'db1', which is the name of a managed server"):
        facts.report(learned._replace(logins={"db1": soon}), {}, TODAY)


def test_plaintext_of_the_last_look_is_told_of_a_server_that_a_run_left_out() -> None:
    first = report({"db1": server(), "db2": server(session("plaintext"))})
    data = report({"db1": server(), "db2": {}}, first, TODAY + DAY)
    told = "First move the clients of db2 to TLS: its last look saw sessions without it."
    assert headline.of(data) == (False, told)
    assert "pgops_tls_plaintext_sessions{" in metrics.text(data), "db1's"
    assert 'pgops_tls_plaintext_sessions{host="db2"}' not in metrics.text(data), "nobody knows that now"
    data = report({"db1": server(), "db2": {}}, report({"db1": server(), "db2": server()}), TODAY + DAY)
    assert headline.of(data).text.startswith("All is well: 1 server, 0 client hosts checked (1 host not asked)")


def test_a_host_that_left_the_inventory_is_forgotten() -> None:
    assert list(report({"db2": server()}, report({"db1": server()}))["servers"]) == ["db2"]


def test_a_server_without_tls_has_no_certificate() -> None:
    data = report({"db1": server(certificate=None)})
    assert [one["reasons"] for one in facts.certificates(data)] == [["no_certificate"]]
    assert "89 days" not in page.text(data)


def test_what_prometheus_reads() -> None:
    data = report(
        {"db1": server(session("plaintext"), session("plaintext"), session("old_certificate"))}, app1=client()
    )
    data = report({"db1": server(session("plaintext")), "db2": {"msg": "down"}}, data, TODAY + 60, app1=client())
    found = {(name, *sorted(labels)): value for (name, labels), value in prometheus.parse(metrics.text(data)).items()}

    def value(metric: str, **labels: str) -> float:
        return found[(f"pgops_tls_{metric}", *sorted(labels.items()))]

    assert value("report_timestamp_seconds") == TODAY + 60
    assert value("look_success", host="db1", kind="server") == 1
    assert value("look_success", host="db2", kind="server") == 0
    assert value("certificate_not_after_timestamp_seconds", host="db1", kind="server") == TODAY + 89 * DAY
    assert (
        value("certificate_renewal_timestamp_seconds", host="app1", kind="client", identity="shop/app") == TODAY - DAY
    )
    assert value("certificate_due", host="app1", kind="client", identity="shop/app") == 1
    assert value("plaintext_sessions", host="db1") == 1
    assert value("plaintext_free_looks", host="db1") == 0
    assert value("old_sessions", host="db1", finding="old_certificate") == 0
    root = AUTHORITIES["client"].root
    labels = {"authority": "client", "kind": "root", "name": root.common_name}
    assert value("authority_not_after_timestamp_seconds", **labels) == root.not_after
    assert value("authority_phase", authority="client", phase="steady") == 1
    crl = {"authority": "server", "name": AUTHORITIES["server"].issuing.common_name}
    assert value("crl_next_update_timestamp_seconds", **crl) == TODAY + 30 * DAY
    assert not [key for key in found if key[0] == "pgops_tls_plaintext_sessions" and ("host", "db2") in key]


def test_the_cluster_of_a_server_is_a_label_of_all_its_metrics_and_of_no_others() -> None:
    results = {"db1": server(session("plaintext")), "db2": {"msg": "down"}, "db3": server()}
    learned = facts.Learned(results, {"app1": client()}, authorities(), [], {"db1": "shop", "db2": "shop", "db3": ""})
    data = facts.report(learned, report({"db2": server()}), TODAY)
    assert {host: one["cluster"] for host, one in data["servers"].items()} == {"db1": "shop", "db2": "shop", "db3": ""}
    samples = [dict(labels) for _name, labels in prometheus.parse(metrics.text(data))]
    found = {one["host"]: {other.get("cluster") for other in samples if other.get("host") == one["host"]}
             for one in samples if "host" in one}  # fmt: skip
    assert found == {"db1": {"shop"}, "db2": {"shop"}, "db3": {None}, "app1": {None}}
    assert not [one for one in samples if "cluster" in one and "host" not in one]
    moved = facts.report(learned._replace(clusters={"db1": "billing"}), data, TODAY)
    assert [one["cluster"] for one in moved["servers"].values()] == ["billing", "", ""]


def test_the_cluster_of_a_server_is_a_column_of_the_page_if_there_is_one() -> None:
    sessions = (session("plaintext"), session("old_certificate"))
    results = {"db1": server(*sessions), "db2": {"msg": "down"}, "db3": server()}
    plain = page.text(report(results, app1=client()))
    assert "cluster" not in plain
    clusters = {"db1": "<shop>", "db2": "<shop>"}
    data = facts.report(facts.Learned(results, {"app1": client()}, authorities(), [], clusters), {}, TODAY)
    text = page.text(data)
    heads = re.findall(r'<h2>([^<]*)</h2>\n<div class="table"><table>\n<thead><tr>(.*?)</tr>', text)
    assert [title for title, head in heads if "<th>cluster</th>" in head] == [
        "Hosts that were not looked at", "Plaintext", "Who was seen in plaintext", "Which applications use TLS",
        "Sessions on old certificates", "Certificates",
    ]  # fmt: skip
    cell = '<td class="name" data-of="cluster">&lt;shop&gt;</td>'
    assert text.count(cell) == 7, "db1 in all tables but the first one, db2 in the first two"
    assert "data-c=" not in plain, "there is nothing to choose from"


def test_the_end_of_a_certificate_stays_known_while_its_host_is_away() -> None:
    data = report({"db1": {"unreachable": True}}, report({"db1": server()}), TODAY + DAY)
    found = prometheus.parse(metrics.text(data))
    labels = frozenset({("host", "db1"), ("kind", "server")})
    assert found["pgops_tls_certificate_not_after_timestamp_seconds", labels] == TODAY + 89 * DAY
    assert found["pgops_tls_last_look_timestamp_seconds", labels] == TODAY


TOO_EARLY = ("0999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:61Z")
TOO_LARGE = (10**400, 10**4000, 2**53, -1, "9" * 400, "nan")


def certified(**changes: Any) -> dict[str, Any]:
    return {**server(), "certificate": {**server()["certificate"], **changes}}


def endpoint(**changes: Any) -> dict[str, Any]:
    one = {"id": "shop/app", "host": "rds", "port": 5432, "problem": "", "findings": [], **changes}
    return {"identities": [], "endpoints": [one]}


def connection(**changes: Any) -> dict[str, Any]:
    one = {"kind": "standby", "name": "standby", "conninfo": {}, "status": "", "since": None, "serial": None,
           "not_after": None, "findings": [], **changes}  # fmt: skip
    return server(replication={"application_name": "x", "connections": [one]})


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        *(("servers", certified(not_after=moment)) for moment in TOO_EARLY),
        ("servers", certified(renewal=TOO_EARLY[0])),
        ("servers", server(session("plaintext", since=TOO_EARLY[0]))),
        *(("servers", connection(**{name: TOO_EARLY[0]})) for name in ("since", "not_after")),
        ("clients", client(not_after=TOO_EARLY[0])),
        ("clients", client(renewal=TOO_EARLY[0])),
        *(("clients", endpoint(**{name: TOO_EARLY[0]})) for name in ("not_after", "root_not_after")),
        *(("servers", server(counts={"plaintext": number})) for number in TOO_LARGE),
        ("servers", server(counts={"TLSv1.3": 10**5000})),
        ("servers", server(server_version=10**5000)),
        ("servers", server(applications=[{**APPLICATION, "sessions": 10**5000}])),
        *(("clients", endpoint(**{name: 10**5000})) for name in ("port", "roots")),
    ],
)
def test_a_value_that_nobody_can_read_fails_its_own_host_and_no_other(kind: str, found: Any, tmp_path: Path) -> None:
    results: dict[str, Any] = {"servers": {"good": server()}, "clients": {"good": client()}}
    results[kind]["bad"] = found
    learned = facts.Learned(results["servers"], results["clients"], authorities(), [])
    for look in range(2):
        data = writing.write(str(tmp_path), learned, TODAY + look, is_dry=False)
    assert {host: one["status"] for host, one in data[kind].items()} == {"good": "ok", "bad": "failed"}
    assert "its answer has an unexpected form" in data[kind]["bad"]["message"]
    prometheus.parse((tmp_path / "report.prom").read_text())


def test_a_client_host_of_which_some_os_users_fail_is_not_well() -> None:
    half = {**client(), "not_asked": ["billing/clerk"], "code": "home_unusable", "msg": "Correct the home."}
    one = report({}, app1=half)["clients"]["app1"]
    assert (one["status"], one["message"]) == ("failed", "Correct the home.")


def test_odd_letters_in_a_label_are_escaped() -> None:
    odd = 'db\n1"\\n'
    found = prometheus.parse(metrics.text(report({odd: server()})))
    assert ("pgops_tls_plaintext_sessions", frozenset({("host", odd)})) in found


def test_an_identity_that_comes_twice_makes_no_sample_twice() -> None:
    twice = client()
    twice["identities"] *= 2
    prometheus.parse(metrics.text(report({}, app1=twice)))


class Reader(html.parser.HTMLParser):
    """Notes which elements and which text a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert not [name for name, _value in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_whatever_clients_call_themselves_stays_text() -> None:
    plain = dict.fromkeys(("role", "database", "address", "application", "subject", "serial"), HOSTILE)
    found = session("plaintext", "other_issuer", **plain)
    results = {"db1": server(found, reasons=(HOSTILE,)), "db2": {"msg": HOSTILE}}
    data = report(results, app1=client(id=HOSTILE, role=HOSTILE, serial=HOSTILE))
    text = page.text(data)
    reader = Reader()
    reader.feed(text.replace("<wbr>", ""))
    known = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "main"}
    known |= {"dl", "dt", "dd", "details", "summary", "figure", "svg", "g", "path", "rect", "line", "text"}
    assert reader.elements <= known | {"tr", "th", "td", "ul", "li", "div", "span"}
    shown = '"><script>alert(1)</script><!-- {{ 7 * 7 }} \\ \\u202e\\x1b[2J?'
    assert reader.cells.count(shown) >= 8
    assert all(one.isprintable() for one in text if one != "\n")
    text.encode()
    parsed = prometheus.parse(metrics.text(data))
    assert any("<script>" in value for _name, labels in parsed for _label, value in labels)


def test_words_are_broken_behind_separators_alone_and_names_and_dates_never() -> None:
    long = {"role": "billing_reporting", "address": "192.168.100.200", "application": "2001:db8:0:0:7::1"}
    data = report({"bouncer1.example.com": server(session("plaintext", **long))}, app1=client())
    text = page.text(data)
    assert '<td class="name" data-of="server">bouncer1.example.com</td>' in text
    assert ">billing_<wbr>reporting</td>" in text
    assert ">192.168.100.200</td>" in text
    assert ">2001:<wbr>db8:<wbr>0:<wbr>0:<wbr>7:<wbr>:<wbr>1</td>" in text
    assert f'<span class="when">{data["time"]}</span>' in text
    assert f">{clock.instant(TODAY + 89 * DAY)[:16].replace('T', ' ')}</td>" in text
    assert re.findall(r"(\S+) {[^}]*overflow-wrap: anywhere", text) == [".id"], "what is broken anywhere is no word"
    assert re.search(r"\.name, \.when { white-space: nowrap }", text)
    assert re.search(r'class="id" data-of="serial">2f<', text)


def test_the_first_line_says_what_to_do_or_that_all_is_well() -> None:
    text = page.text(report({"db1": server()}))
    assert '</h1>\n<p class="headline good">All is well: 1 server, 0 client hosts checked, next' in text
    text = page.text(report({"db1": server(), "<b>": {"msg": "x"}}))
    assert '<p class="headline bad">First find out why server &lt;b&gt; gave no answer: failed.</p>' in text


def test_a_table_has_an_end() -> None:
    crowd = [session("plaintext", application=str(number)) for number in range(600)]
    many = {f"db{number}": server(*crowd) for number in range(2)}
    text = page.text(report(many))
    assert text.count("<tr>") < 1100
    assert text.count("And 500 more, see report.json.") == 2


def test_files_are_written_and_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "reports"
    learned = facts.Learned({"db1": server(session("plaintext"))}, {}, {}, ["make the server CA"])
    assert writing.write(str(folder), learned, TODAY, is_dry=True)["servers"]
    assert not folder.exists()
    for look in range(3):
        writing.write(f"{folder}/", learned, TODAY + look, is_dry=False)
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.prom"]
    data = json.loads((folder / "report.json").read_text())
    assert data["servers"]["db1"]["plaintext"]["seen"][0]["looks"] == 3
    assert "make the server CA" in (folder / "report.html").read_text()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 2}', "null"])
def test_a_memory_that_cannot_be_read_stops_it_before_it_is_lost(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(TlsError, match="expected the last report, found something else"):
        writing.write(str(tmp_path), facts.Learned({}, {}, {}, []), TODAY, is_dry=False)
    assert (tmp_path / "report.json").read_text() == content


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(TlsError, match="expected an absolute path"):
        writing.write("reports", facts.Learned({}, {}, {}, []), TODAY, is_dry=False)


def test_a_text_is_one_line_and_has_an_end() -> None:
    assert answers.text("a\n b\ud800") == "a b?"
    assert len(answers.text("x" * 9999)) == 1503


@pytest.mark.parametrize(
    "text",
    ["a 1", "# TYPE a gauge\na 1\n", '# HELP a x\n# TYPE a gauge\na{b="c} 1\n',
     "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
     f"# HELP a x\n# TYPE a gauge\na {10**400}\n",
     '# HELP a x\n# TYPE a gauge\na{b="\\x"} 1\n', "# HELP a x\n# TYPE a gauge\nb 1\n"],
)  # fmt: skip
def test_the_reader_of_samples_is_strict(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        prometheus.parse(text)


def pooler(*due: str) -> dict[str, Any]:
    """Return a result of module pgbouncer in check mode, for a pooler that has both certificates."""
    own = {"not_after": clock.instant(TODAY + 80 * DAY), "renewal": clock.instant(TODAY + 50 * DAY), "names": []}
    requests = [{"id": one, "csr": "", "reasons": ["expires_in_5d"]} for one in due]
    return {"requests": requests, "certificates": {name: {**own, "serial": name, "sha256": "ab"} for name in BOTH}}


BOTH = ("front", "back")


def of_poolers(before: dict[str, Any] | None = None, **found: Any) -> dict[str, Any]:
    learned = facts.Learned({}, {}, authorities(), [], poolers=found)
    return facts.report(learned, json.loads(json.dumps(before or {})), TODAY)


def test_a_pooler_is_in_the_report_with_both_of_its_certificates() -> None:
    data = of_poolers(pool1=pooler("back"))
    assert [(one["host"], one["kind"], one["id"], one["reasons"]) for one in facts.certificates(data)] == [
        ("pool1", "pooler", "back", ["expires_in_5d"]),
        ("pool1", "pooler", "front", []),
    ]
    assert ">pool1</td>" in page.text(data)
    assert headline.of(data).text == "First run pgops.tls.site: the certificate of pool1 back is due."
    assert headline.of(of_poolers(pool1=pooler())).text.startswith("All is well: 0 servers, 1 pooler, 0 client hosts")
    labels = 'host="pool1",kind="pooler",identity="back"'
    assert f"pgops_tls_certificate_due{{{labels}}} 1" in metrics.text(data)
    assert 'pgops_tls_look_success{host="pool1",kind="pooler"} 1' in metrics.text(data)
    prometheus.parse(metrics.text(data))


def test_a_pooler_without_certificates_is_late_and_one_that_is_away_keeps_what_was_known() -> None:
    assert headline.of(of_poolers(pool1={"requests": [], "certificates": {}})).text.startswith(
        "First run pgops.tls.site: pool1 back has no certificate."
    )
    known = of_poolers(of_poolers(pool1=pooler()), pool1={"unreachable": True, "msg": "no route"})
    assert "find out why pooler pool1 gave no answer: unreachable" in headline.of(known).text
    assert len(facts.certificates(known)) == 2
    assert facts.not_looked_at(known)[0][:2] == ("pooler", "pool1")


def test_revoked_certificates_that_a_pooler_accepts_are_told_until_they_expire() -> None:
    learned = facts.Learned({}, {}, authorities(), [], poolers={"pool1": pooler(), "pool2": pooler()})
    data = facts.report(learned._replace(pooler_authorities={"pool1": "client"}), {}, TODAY)
    assert {host: one["accepted_revoked"] for host, one in data["poolers"].items()} == {"pool1": ["ff"], "pool2": []}
    told = "First check that the roles of 1 revoked certificate cannot log in to pooler pool1, which accepts them."
    assert headline.of(data).text == told
    assert "pool1: accepts revoked certificates: 1" in facts.summary(data)
    assert re.search(r"<h2>Revoked certificates that poolers accept</h2>.*?>pool1<.*?>ff<", page.text(data), re.DOTALL)
    found = prometheus.parse(metrics.text(data))
    name = "pgops_tls_pooler_accepted_revoked_certificates"
    assert [found[name, frozenset({("host", host)})] for host in ("pool1", "pool2")] == [1, 0]


def of_kits(**found: Any) -> dict[str, Any]:
    kits = {name: {"certificate": one} for name, one in found.items()}
    return facts.report(facts.Learned({}, {}, authorities(), [], kits=kits), {}, TODAY)


def kit(*reasons: str, **changes: Any) -> dict[str, Any]:
    """Return what module client_kit says of a kit in check mode."""
    ends = {"not_after": clock.instant(TODAY + 29 * DAY), "renewal": clock.instant(TODAY - DAY)}
    return {"name": "anna", "serial": "1f", "sha256": "ab", "reasons": list(reasons), **ends, **changes}


def test_a_kit_is_in_the_report_with_the_playbook_that_replaces_it() -> None:
    data = of_kits(anna=kit("expires_in_29d"))
    assert [(one["host"], one["kind"], one["reasons"]) for one in facts.certificates(data)] == [
        ("anna", "kit", ["expires_in_29d"])
    ]
    assert headline.of(data).text == "First run pgops.tls.client_kit: the certificate of kit anna is due."
    assert facts.summary(data)[0] == "1 certificates, 1 due to be renewed, next to end: kit anna in 29 days"
    assert ">anna</td>" in page.text(data)
    assert 'pgops_tls_certificate_due{host="anna",kind="kit"} 1' in metrics.text(data)
    assert headline.of(of_kits(anna=kit(renewal=clock.instant(TODAY + DAY)))).is_well
    prometheus.parse(metrics.text(data))


def test_a_kit_that_was_never_made_is_late() -> None:
    data = of_kits(anna=kit("no_kit", serial=None, sha256=None, not_after=None, renewal=None))
    assert headline.of(data).text == "First run pgops.tls.client_kit: kit anna has no certificate."
