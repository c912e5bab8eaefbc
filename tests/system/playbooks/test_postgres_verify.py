# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role postgres_verify, run by Ansible against a real server; the client hosts are this machine under several names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VERIFY_PLAYBOOK = [{"hosts": "postgres_clients", "gather_facts": False, "roles": ["pgops.tls.postgres_verify"]}]


class Fleet:
    """An inventory with one server (the cluster) and client hosts, all of them this machine."""

    def __init__(self, directory: Path, settings: dict[str, str], client: Any) -> None:
        self.directory = directory
        self.settings = settings
        self.port = client.cluster.port
        self.identities = [{"role": "app", "os_user": client.name, "databases": ["all"]}]
        self.server: dict[str, Any] | None = {
            "postgres_server_port": self.port,
            "postgres_server_names": ["{{ own_name }}"],
        }
        self.clients: dict[str, dict[str, Any]] = {"client1": {}}

    def run(self, *arguments: str, variables: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the role on all client hosts."""
        hosts = {
            name: {"ansible_connection": "local", "postgres_client_identities": self.identities, **given}
            for name, given in self.clients.items()
        }
        inventory = {
            "postgres_servers": {
                "hosts": {"db1": {"ansible_connection": "local", "own_name": "localhost", **self.server}}
                if self.server
                else {}
            },
            "postgres_clients": {"hosts": hosts},
            "all": {"vars": {"ansible_python_interpreter": sys.executable, **(variables or {})}},
        }
        (self.directory / "inventory.yml").write_text(json.dumps(inventory))
        (self.directory / "site.yml").write_text(json.dumps(VERIFY_PLAYBOOK))
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "site.yml", *arguments],
            cwd=self.directory,
            env=self.settings,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def fleet(tmp_path: Path, settings_in: Callable[[Path], dict[str, str]], client: Any) -> Fleet:
    """Give the client the files that the collection would make, and an inventory."""
    folder = client.home / ".postgresql"
    for name, target in {"postgresql.crt": "app/", "postgresql.key": "app/", "root.crt": ""}.items():
        (folder / name).symlink_to(f"pgops/current/{target}{name}")
    current = folder / "pgops" / "current"
    service = f"[app]\nuser=app\nsslcert={current}/app/postgresql.crt\nsslkey={current}/app/postgresql.key\n"
    service += f"sslrootcert={current}/root.crt\nsslmode=verify-full\n"
    client.give(client.home / ".pg_service.conf", service.encode())
    return Fleet(tmp_path, settings_in(tmp_path), client)


def table(output: str) -> list[list[str]]:
    """Return the cells of the table in Ansible's output."""
    lines = [line.strip().strip('",') for line in output.splitlines()]
    return [
        [cell.strip() for cell in line.split("  ") if cell]
        for line in lines
        if line.startswith(("CLIENT ", "client")) and "ok=" not in line
    ]


def test_a_sound_fleet_passes_and_shows_every_connection(fleet: Fleet) -> None:
    fleet.server.update(postgres_server_extra_names=["127.0.0.1", "*.example.com"])
    fleet.clients["client2"] = {"postgres_client_identities": []}
    done = fleet.run()
    assert done.returncode == 0, done.stdout
    rows = table(done.stdout)
    assert [row[4] for row in rows[1:]] == [
        "accepted",
        "accepted",
        "accepted, service",
        "accepted, default files",
        "refused: plaintext",
        "refused: no client certificate",
        "refused: certificate of a foreign CA",
        "refused: another role's certificate (app)",
        "refused: wrong host name",
        "refused: foreign root at the client",
        "accepted",
    ]
    assert [row[5] for row in rows[1:]] == [*["ok"] * 10, "skipped"]
    assert "11 connections from 2 client hosts: 10 as expected, 1 skipped" in done.stdout


def test_a_deviation_is_in_the_table_and_fails_only_the_host_that_saw_it(fleet: Fleet, client: Any) -> None:
    client.cluster.hba("hostssl all all all cert", "host all all all trust")
    client.cluster.reload()
    fleet.clients["client2"] = {"postgres_client_identities": []}
    done = fleet.run(variables={"postgres_verify_show": "problems"})
    assert done.returncode != 0
    (row,) = table(done.stdout)[1:]
    assert [row[0], row[2], row[4], row[5], row[-1]] == [
        "client1",
        "db1",
        "refused: plaintext",
        "DEVIATION",
        "was accepted (without TLS)",
    ]
    assert (
        f"Client client1, OS user {client.name} as role app to server db1 by name localhost, port {fleet.port}: "
        "expected refused: plaintext; it was accepted (without TLS)." in done.stdout
    )
    recap = {line.split()[0]: line for line in done.stdout.splitlines() if "failed=" in line}
    assert "failed=1" in recap["client1"]
    assert "failed=0" in recap["client2"]


def test_a_host_that_cannot_verify_is_a_fault_that_the_others_survive(fleet: Fleet) -> None:
    fleet.clients["client2"] = {"ansible_connection": "ssh", "ansible_host": "no-such-host.invalid"}
    fleet.clients["client3"] = {"postgres_client_identities": [{"role": "app", "os_user": "nobody-here"}]}
    done = fleet.run()
    assert done.returncode != 0
    assert "nothing verified on client2, client3" in done.stdout
    assert "Client client2: nothing was verified" in done.stdout
    assert "there is no OS user 'nobody-here' on this host" in done.stdout
    assert [row[0] for row in table(done.stdout)].count("client1") == 9


def test_a_server_that_is_down_is_one_cause_with_a_hint_whatever_follows_from_it(fleet: Fleet) -> None:
    fleet.server.update(postgres_server_port=1, postgres_server_extra_names=["127.0.0.1"])
    done = fleet.run()
    assert done.returncode == 2, done.stdout
    (said,) = re.findall(r'fatal: \[client1\].*"msg": "(.*)"', done.stdout)
    assert said.count("Connection refused") == 1, said
    assert re.search(
        r"The same with 3 more .* Check that the server is running.* listen_addresses .* firewall", said
    ), said
    assert said.endswith(" For that, 6 refusals are unproven."), said
    assert [row[5] for row in table(done.stdout)[1:]].count("UNPROVEN") == 6


def test_a_name_that_no_client_resolves_is_told_with_the_variable_and_the_server_that_it_comes_from(
    fleet: Fleet,
) -> None:
    fleet.server.update(postgres_server_extra_names=["no-such-host.invalid"])
    done = fleet.run(variables={"postgres_verify_refusals": []})
    assert done.returncode == 2, done.stdout
    assert "It comes from postgres_server_extra_names of db1. If no client uses the name, remove it" in done.stdout


def test_identities_without_a_server_are_an_error(fleet: Fleet) -> None:
    fleet.server = None
    done = fleet.run()
    assert done.returncode != 0
    assert "postgres_servers: expected the group of the PostgreSQL servers in the inventory" in done.stdout


def test_check_mode_says_that_nothing_is_verified(fleet: Fleet) -> None:
    done = fleet.run("--check")
    assert done.returncode == 0, done.stdout
    assert "Connections are not verified in check mode" in done.stdout


def test_a_kind_that_nobody_knows_is_refused_before_anything_runs(fleet: Fleet) -> None:
    done = fleet.run(variables={"postgres_verify_refusals": ["everything"]})
    assert done.returncode != 0
    assert "postgres_verify_refusals" in done.stdout
    assert "Show what was verified" not in done.stdout
