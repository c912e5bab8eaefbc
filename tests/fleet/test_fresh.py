# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode says of a fleet that the collection has never touched, and that it touches nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.shared import FILES

SERVERS, CLIENTS = ("pg15", "pg17"), ("app1", "app2")


@pytest.fixture(scope="module")
def foreseen(fleet: Any) -> dict[str, Any]:
    """Run the job in check mode; return the run and a listing of every host's files before and after it."""

    def listing() -> dict[str, str]:
        return {host: fleet.output(host, "sh", "-c", FILES) for host in (*SERVERS, *CLIENTS)}

    before = listing()
    run = fleet.playbook("--check", "--diff")
    return {"run": run, "before": before, "after": listing()}


def test_check_mode_tells_of_changes_on_every_host(foreseen: dict[str, Any]) -> None:
    run = foreseen["run"]
    assert run.status == 0, run.output[-3000:]
    assert all(changed >= 1 for changed in run.changed.values()), run.changed


def test_check_mode_shows_the_very_lines_and_names_and_no_secret(foreseen: dict[str, Any]) -> None:
    output = foreseen["run"].output
    for line in (
        "+hostssl app app all cert",
        "+hostnossl all all all reject",
        "+ssl_cert_file = '/etc/postgresql/tls/5432/current/server.crt'",
        "include_if_exists '/etc/postgresql/tls/5432/current/ssl.conf'  # pgops.tls",
        "+to be issued, because: no_certificate",
    ):
        assert line in output
    assert "PRIVATE KEY" not in output
    assert "a passphrase of the test fleet" not in output


def test_check_mode_changes_no_file_on_any_host(foreseen: dict[str, Any]) -> None:
    assert foreseen["after"] == foreseen["before"]


def test_check_mode_makes_no_authority(foreseen: dict[str, Any]) -> None:
    assert foreseen["run"].status == 0
    assert not Path(os.environ["ANSIBLE_HOME"], "fleet-ca").exists()


def test_bad_input_is_refused_before_any_file_changes(fleet: Any, foreseen: dict[str, Any]) -> None:
    run = fleet.playbook("-e", '{"postgres_server_hba": [{"user": "app", "methd": "cert"}]}')
    assert run.status == 2
    assert "postgres_server_hba[0]: the rule has no method. Found user, methd; add method." in run.output
    run = fleet.playbook("-e", '{"postgres_server_names": ["data+base.example"]}')
    assert run.status == 2
    assert "names: 'data+base.example' is neither a DNS name nor an IP address" in run.output
    after = {host: fleet.output(host, "sh", "-c", FILES) for host in SERVERS}
    assert after == {host: foreseen["before"][host] for host in SERVERS}
