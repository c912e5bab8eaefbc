# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions as lines for a person."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.report import tables

REPORTED_SESSION: dict[str, Any] = {
    "role": "app", "database": "shop", "address": "192.0.2.10", "application": "web",
    "since": "2026-11-21T11:02:03Z", "findings": ["old_certificate"],
}  # fmt: skip


def test_the_findings_that_are_asked_for_are_lines() -> None:
    plain = {**REPORTED_SESSION, "findings": ["plaintext"]}
    standby = {**REPORTED_SESSION, "database": None, "application": "", "findings": ["other_issuer", "old_certificate"]}
    results = {"db1": {"sessions": [REPORTED_SESSION, plain]}, "db2": {"sessions": [standby]}}
    assert tables.session_lines(results) == [
        "SERVER  ROLE  DATABASE     ADDRESS     APPLICATION  SINCE                 FINDINGS",
        "db1     app   shop         192.0.2.10  web          2026-11-21T11:02:03Z  old_certificate",
        "db2     app   replication  192.0.2.10  -            2026-11-21T11:02:03Z  other_issuer, old_certificate",
        "2 sessions on 2 servers",
    ]
    assert len(tables.session_lines(results, ["plaintext"])) == 3


def test_without_findings_there_is_one_line() -> None:
    assert tables.session_lines({"db1": {"sessions": []}}) == ["0 sessions on 1 servers"]


def test_a_server_that_was_not_asked_is_named() -> None:
    results = {"db1": {"msg": "no route\nto host", "unreachable": True}, "db2": {}}
    assert tables.session_lines(results) == [
        "db1: not asked: no route\\nto host",
        "db2: not asked: it gave no result",
        "0 sessions on 0 servers",
    ]


def test_what_a_client_calls_itself_steers_nothing() -> None:
    hostile = {**REPORTED_SESSION, "application": '\x1b[2J\n"a\u202eb' + "x" * 100, "role": "ré"}
    (_heading, line, _count) = tables.session_lines({"db1": {"sessions": [hostile]}})
    assert line.isprintable()
    assert "ré" in line
    assert "\\x1b[2J\\n'a\\u202eb" in line
    assert len(line) < 200


def test_a_line_for_each_application() -> None:
    row = {
        "application": 'we"b\n', "role": "app", "database": "", "address": "192.0.2.10", "sessions": 2, "tls": "all",
        "protocols": ["TLSv1.3"], "ciphers": ["x"], "client_certificate": "none", "serials": [], "issuers": [],
    }  # fmt: skip
    lines = tables.application_lines({"db1": {"applications": [row]}, "db2": {"msg": "No server"}, "db3": {}})
    assert [line.split() for line in lines[:2]] == [
        ["SERVER", "APPLICATION", "ROLE", "DATABASE", "ADDRESS", "SESSIONS", "TLS", "CIPHER", "CLIENT", "CERTIFICATE",
         "ISSUED", "BY", "VERIFIES", "SERVER"],
        ["db1", "we'b\\n", "app", "-", "192.0.2.10", "2", "TLSv1.3", "x", "none", "-", "not", "visible"],
    ]  # fmt: skip
    assert lines[2:] == [
        "db2: not asked: No server",
        "db3: not asked: it gave no result",
        "1 applications on 1 servers",
    ]
