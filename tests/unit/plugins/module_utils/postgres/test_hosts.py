# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hosts
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState, Setting


def state(**values: str) -> ServerState:
    settings = {
        name: Setting(value, "string", None, "sighup", "configuration file", None, None)
        for name, value in values.items()
    }
    return ServerState(190000, settings, None, [], [], [], [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file with a line."""
    found = tmp_path / "pg_hosts.conf"
    found.write_text("# names\n\ndb.example.com  db.crt db.key\n")
    return found


def test_a_file_with_lines_is_told_with_its_first(path: Path) -> None:
    told = hosts.in_use(state(ssl_sni="on", hosts_file=str(path), ssl_cert_file="/tls/current/server.crt"))
    assert f"{path} line 3 names a certificate" in told
    assert "(/tls/current/server.crt and so on)" in told


def test_without_ssl_sni_without_lines_and_before_19_there_is_nothing_to_tell(path: Path) -> None:
    assert hosts.in_use(state(ssl_sni="off", hosts_file=str(path))) == ""
    assert hosts.in_use(state(ssl_sni="on", hosts_file=f"{path}.gone")) == ""
    assert hosts.in_use(state(ssl="on")) == ""
    path.write_text("# names\n")
    assert hosts.in_use(state(ssl_sni="on", hosts_file=str(path))) == ""


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "cannot be read (" in hosts.in_use(state(ssl_sni="on", hosts_file=str(tmp_path)))
