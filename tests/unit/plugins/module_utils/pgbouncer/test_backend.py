# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the end of psql says of a way from PgBouncer to PostgreSQL, and what PgBouncer's log says."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Completed
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend, ini, log

WAY = backend.Way("db1", 5432, "shop", "app")
PREFIX = 'psql: error: connection to server at "db1" (192.0.2.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "app", SSL encryption', backend.ROLE_REFUSED),
        ('FATAL:  certificate authentication failed for user "app"', backend.ROLE_REFUSED),
        ("FATAL:  connection requires a valid client certificate", backend.ROLE_REFUSED),
        ("fe_sendauth: no password supplied", backend.ROLE_REFUSED),
        ("SSL error: certificate verify failed", backend.REFUSED),
        ('server certificate for "x" does not match host name "db1"', backend.REFUSED),
        ("server does not support SSL, but SSL was required", backend.REFUSED),
        ("SSL error: tlsv1 alert unknown ca", backend.REFUSED),
        ("SSL error: certificate verify failed\nFATAL:  of another address of the host", backend.REFUSED),
        ("SSL SYSCALL error: Connection reset by peer", backend.REFUSED),
        ('could not translate host name "db1" to address: Name or service not known', backend.UNREACHABLE),
        ("Connection refused\n\tIs the server running on that host?", backend.UNREACHABLE),
        ("timeout expired", backend.UNREACHABLE),
        ("You must install at least one postgresql-client-<version> package", backend.REFUSED),
        ("server closed the connection unexpectedly", backend.REFUSED),
    ],
)
def test_a_way_is_judged_by_tls_and_certificates_alone(words: str, verdict: str) -> None:
    assert backend.judged(WAY, Completed(2, "", PREFIX + words)).verdict == verdict


def test_a_login_shows_the_certificate_that_postgresql_saw() -> None:
    found = backend.judged(WAY, Completed(0, "4711\n", ""))
    backend.refuse_other_serial([found], 4711)
    with pytest.raises(TlsError, match="saw client certificate 4711, expected 4712"):
        backend.refuse_other_serial([found], 4712)


def test_only_what_works_now_can_be_broken() -> None:
    broken = [backend.Trial(WAY, backend.REFUSED, "SSL error: x")]
    for before in ({}, {WAY: backend.ROLE_REFUSED}, {WAY: backend.UNREACHABLE}):
        with pytest.raises(TlsError, match="its clients would hang: db1:5432: SSL error: x"):
            backend.refuse(broken, before)
    backend.refuse(broken, {WAY: backend.REFUSED})
    assert len(backend.warnings(broken, {WAY: backend.REFUSED})) == 1


def test_each_host_and_port_is_tried_once() -> None:
    databases = [
        ini.Database("a", ["db1", "db2"], 5432, "a", ""),
        ini.Database("b", ["db1"], 5432, "b", "x"),
        ini.Database("c", ["db1"], 5433, "c", "x"),
        ini.Database("d", [], 5432, "d", ""),
    ]
    found = backend.ways(databases, "pgbouncer")
    assert [(one.host, one.port, one.database, one.user) for one in found] == [
        ("db1", 5432, "a", "pgbouncer"),
        ("db2", 5432, "a", "pgbouncer"),
        ("db1", 5433, "c", "x"),
    ]


def test_only_lines_about_the_reload_leave_the_log_and_no_value_does() -> None:
    lines = [
        "2026-01-01 [1] LOG RELOAD command issued",
        '2026-01-01 [1] ERROR invalid value "host=a user=b" for parameter shop in configuration (/p.ini:2)',
        "2026-01-01 [1] ERROR invalid value password=SECRET in configuration",
        '2026-01-01 [1] ERROR TLS setup failed: failed to load private key file "/x": key values mismatch',
        "2026-01-01 [1] LOG C-0x1: shop/app@1.2.3.4 login attempt",
        "2026-01-01 [1] WARNING TLS handshake error: handshake failed: certificate verify failed",
    ]
    assert log.tells_of_reload(lines)
    found = log.refusals(lines)
    assert [line.split(" ")[2] for line in found] == ["invalid", "TLS"]
    assert not [line for line in found if "SECRET" in line or "user=b" in line]
    assert len(log.of_back(lines)) == 1
