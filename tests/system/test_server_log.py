# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof by the server's log, where the certificate stays the same: wherever it goes, and whatever else is in it."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator, LogMark
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, rehearsal
from ansible_collections.pgops.tls.tests.servers import HBA, Server

CONTRADICTION = {"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "TLSv1.2"}
COLLECTOR = "logging_collector = on\nlog_directory = 'journal'\n"


def unrehearsed(patch: pytest.MonkeyPatch) -> None:
    """Let a range of protocols with nothing in it come as far as the server."""
    patch.setattr(settings, "refuse_protocols", lambda *_arguments: None)
    patch.setattr(rehearsal, "_set_protocols", lambda *_arguments: None)


def refused_and_undone(server: Server) -> None:
    """Check that a setting which only the server finds wrong is undone, with the server's own reason."""
    served, disk = server.served(), server.disk()
    server.ssl = CONTRADICTION
    with pytest.MonkeyPatch.context() as patch:
        unrehearsed(patch)
        with pytest.raises(TlsError, match="could not set SSL protocol version range") as failure:
            server.converge()
    assert failure.value.details["rolled_back"] is True
    assert (server.served(), server.disk()) == (served, disk)
    server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert server.converge().plan.reasons == []


def test_a_setting_that_the_server_refuses_is_undone_though_the_leaf_is_the_same(managed: Server) -> None:
    refused_and_undone(managed)


@pytest.mark.parametrize("destination", ["stderr", "csvlog", "jsonlog"])
def test_a_refusal_is_read_from_what_the_collector_writes(managed: Server, destination: str) -> None:
    if destination == "jsonlog" and int(managed.cluster.psql("SHOW server_version_num")) < 150000:
        pytest.skip("jsonlog came with PostgreSQL 15")
    managed.cluster.append("postgresql.conf", f"{COLLECTOR}log_destination = '{destination}'\n")
    managed.restart()
    assert managed.converge().changes == ["postgresql.conf: changed"]  # our line is the last again
    refused_and_undone(managed)


@pytest.mark.parametrize("line", ["log_destination = 'syslog'", "log_min_messages = fatal"])
def test_a_log_that_would_not_tell_gives_no_proof(managed: Server, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    managed.cluster.append("postgresql.conf", line + "\n")
    managed.cluster.psql("SELECT pg_reload_conf()")
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.converge(check_mode=True).plan.reasons == ["reload_not_observable"]
    assert managed.settle().plan.reasons == ["reload_not_observable"]
    assert managed.converge().changes == []


def test_a_log_in_another_language_gives_no_proof(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    monkeypatch.setattr(Administrator, "mark_log", lambda *_arguments: LogMark(None, "stderr", is_english=False))
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.converge().plan.reasons == ["reload_not_observable"]


def test_a_reload_that_the_log_does_not_tell_of_is_undone(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = managed.disk()
    monkeypatch.setattr(proof.log, "tells_of_reload", lambda _lines: False)
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    with pytest.raises(TlsError, match=r"does not mention the reload.*Rerun with renew: true") as failure:
        managed.converge()
    assert failure.value.details["rolled_back"] is True
    assert managed.disk() == disk


def test_a_setting_that_waits_for_a_restart_does_not_count_as_a_refusal(managed: Server) -> None:
    text = (managed.cluster.data / "postgresql.conf").read_text()
    managed.cluster.write("postgresql.conf", "max_connections = 41\n" + text.replace("max_connections = 40", ""))
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.converge(hba="# another\n" + HBA).plan.reasons == []
    assert "unaffected changes were applied" in managed.cluster.log()
    assert managed.converge().changes == ["pg_hba.conf: changed"]


@pytest.mark.parametrize("line", ["nonsense without an end", "no_such_setting = 1"])
def test_a_line_for_which_the_server_takes_no_reload_is_named_before_anything_changes(
    managed: Server, line: str
) -> None:
    text = (managed.cluster.data / "postgresql.conf").read_text()
    managed.cluster.write("postgresql.conf", f"{line}\n{text}")
    disk = managed.disk()
    with pytest.raises(TlsError, match=r"postgresql\.conf line 1: .*Fix that first"):
        managed.converge(hba="# another\n" + HBA)
    assert managed.disk() == disk
    assert managed.converge().changes == [], "nothing needs a reload"


def test_a_broken_ssl_conf_is_replaced(managed: Server) -> None:
    (managed.directory / "current" / "ssl.conf").write_text("nonsense without an end\n")
    assert managed.converge().plan.reasons == []
    managed.restart()
    assert managed.converge().changes == []


def test_a_password_in_a_statement_beside_a_refusal_is_not_told(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.cluster.psql("ALTER SYSTEM SET log_statement = 'all'")
    managed.cluster.reload()
    reload = Administrator.reload

    def beside(administrator: Administrator) -> None:
        managed.cluster.psql("ALTER ROLE app PASSWORD 'sesame'")
        reload(administrator)
        managed.cluster.psql("ALTER ROLE app PASSWORD 'sesame'")

    monkeypatch.setattr(Administrator, "reload", beside)
    managed.ssl = CONTRADICTION
    unrehearsed(monkeypatch)
    with pytest.raises(TlsError, match="could not set SSL protocol version range") as failure:
        managed.converge()
    assert "sesame" in managed.cluster.log()
    assert "sesame" not in str(failure.value.as_result())
