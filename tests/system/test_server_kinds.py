# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of every kind: standbys, other superusers, linked files; two runs at once; check mode against the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.faults import dying
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, Server


def test_a_standby_is_managed_like_any_server(server: Server) -> None:
    server.cluster.psql("SELECT 1")
    (server.cluster.data / "standby.signal").touch()
    os.chown(server.cluster.data / "standby.signal", server.cluster.data.stat().st_uid, -1)
    server.restart()
    assert server.cluster.psql("SELECT pg_is_in_recovery()") == "t"
    server.settle()
    server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert server.converge(hba="# another\n" + HBA).plan.reasons == []
    assert server.settle(renew=True, hba="# another\n" + HBA).plan.reasons == ["forced"]
    server.restart()
    assert server.converge(hba="# another\n" + HBA).changes == []


def test_another_superuser_may_manage_what_leaves_its_own_connection_alone(server: Server) -> None:
    server.cluster.psql("CREATE ROLE boss SUPERUSER LOGIN")
    server.role = "boss"
    server.settle()
    disk = server.disk()
    changes: list[dict[str, Any]] = [{"hba_mode": "replace"}, {"hba": "local all app md5\n" + HBA}]
    for change in changes:
        with pytest.raises(TlsError, match="login_user is 'boss', but the server runs as OS user"):
            server.converge(**change)
    assert server.disk() == disk


def test_a_linked_configuration_file_stays_a_link(server: Server) -> None:
    elsewhere = server.cluster.home / "etc"
    elsewhere.mkdir()
    os.chown(elsewhere, server.cluster.data.stat().st_uid, -1)
    for name in ("postgresql.conf", "pg_hba.conf"):
        (server.cluster.data / name).rename(elsewhere / name)
        (server.cluster.data / name).symlink_to(Path("../etc") / name)
    server.settle()
    assert (server.cluster.data / "pg_hba.conf").is_symlink()
    assert "BEGIN pgops.tls" in (elsewhere / "pg_hba.conf").read_text()
    server.restart()
    assert server.converge().changes == []


def test_two_runs_at_once_come_one_after_the_other(managed: Server) -> None:
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                managed.converge(hba=f"# run {number}\n" + HBA)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert (managed.cluster.data / "pg_hba.conf").read_text().count("# run ") == 1
    assert not (managed.directory / "journal.json").exists()


def _interrupted(server: Server, method: str, **changes: Any) -> None:
    with dying(method):
        server.settle(**changes)


SITUATIONS: dict[str, Callable[[Server], Any]] = {
    "nothing": lambda server: server.settle(),
    "new": lambda _server: None,
    "settings": lambda server: (server.settle(), server.ssl.update(ssl_min_protocol_version="TLSv1.3")),
    "trust": lambda server: (server.settle(), server.options.update(trusted_clients=AUTHORITIES["client"].root.pem)),
    "rules": lambda server: (server.settle(), server.options.update(hba="# another\n" + HBA, ident="a b c\n")),
    "mode": lambda server: server.settle(hba_mode="replace"),
    "permissions": lambda server: (server.settle(), (server.directory / "current/server.key").chmod(0o644)),
    "damage": lambda server: (server.settle(), (server.directory / "current/server.crt").write_text("x")),
    "first set-up, interrupted": lambda server: _interrupted(server, "commit"),
    "renewal, interrupted": lambda server: (server.settle(), _interrupted(server, "commit", renew=True)),
    "rules, interrupted": lambda server: (
        server.settle(),
        _interrupted(server, "commit", hba="# another\n" + HBA),
        server.options.update(hba="# another\n" + HBA),
    ),
    "settings, interrupted before the switch": lambda server: (
        server.settle(),
        server.ssl.update(ssl_min_protocol_version="TLSv1.3"),
        _interrupted(server, "switch"),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_check_mode_tells_what_the_run_then_does(server: Server, situation: str) -> None:
    SITUATIONS[situation](server)
    disk = server.disk()
    told = server.converge(check_mode=True)
    assert server.disk() == disk
    outcome = server.converge()
    assert told.changes == outcome.changes
    assert told.plan.reasons == outcome.plan.reasons
