# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with a host of every PostgreSQL version, each of them a server and a client host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests.containers.running import SSHD, WITHOUT_SYSTEMD
from ansible_collections.pgops.tls.tests.shared import RECAP

ROOT = Path(__file__).resolve().parents[2]
MOLECULE = ROOT / "extensions" / "molecule"
SUITE_OF_SERVER = {"pg13": "bullseye", "pg15": "bookworm", "pg17": "trixie", "pg18": "sid", "pg19": "experimental"}
PREPARATION = "CREATE ROLE app LOGIN; CREATE ROLE report LOGIN"
CELLS: dict[tuple[str, str], str] = {}  # server, client host -> what is shown of them


@dataclass
class Run:
    """What a run of a playbook did: its exit status and output, and what changed on each host."""

    status: int
    output: str
    changed: dict[str, int]


class Fleet:
    """Playbooks on the fleet, and what they found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory.json"
        self.inventory.write_text(json.dumps(inventory()), encoding="utf-8")

    def start(self) -> None:
        """Start the containers, and prepare them as a team would have them before TLS."""
        made = self.playbook(MOLECULE / "default" / "create.yml")
        assert made.status == 0, made.output
        for host in SUITE_OF_SERVER:
            for statement in (PREPARATION, "CREATE DATABASE app OWNER app"):
                self.inside(host, "runuser", "-u", "postgres", "--", "psql", "-XAtqc", statement)
            self.inside(host, "useradd", "--create-home", "web")

    def inside(self, host: str, *argv: str) -> str:
        """Return what a command in a container printed; it has to succeed."""
        command = ["podman", "exec", f"{os.environ['TEST_PREFIX']}-{host}", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def playbook(self, path: Path, **variables: Any) -> Run:
        """Run a playbook."""
        argv = ["ansible-playbook", f"--inventory={self.inventory}", f"--extra-vars={json.dumps(variables)}", str(path)]
        settings = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_INJECT_FACT_VARS": "0",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=auto -o ControlPersist=60s",
        }
        environment = {**os.environ, **settings}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900, env=environment)
        changed = {host: int(number) for host, number, _unreachable, _failed in RECAP.findall(done.stdout)}
        return Run(done.returncode, done.stdout + done.stderr, changed)

    def site(self, **variables: Any) -> Run:
        """Run the whole job."""
        return self.playbook(ROOT / "playbooks" / "site.yml", **variables)

    def pairs(self) -> dict[str, list[dict[str, Any]]]:
        """Connect from every host to every host, and return the checks of each as a client host."""
        for host in SUITE_OF_SERVER:
            run = self.playbook(
                Path(__file__).with_name("pairs.yml"), matrix_client=host, matrix_results=str(self.folder)
            )
            assert run.status == 0, run.output
        found = {
            host: json.loads((self.folder / f"{host}.json").read_text(encoding="utf-8")) for host in SUITE_OF_SERVER
        }
        assert all("checks" in one for results in found.values() for one in results), found
        return {host: [check for one in results for check in one["checks"]] for host, results in found.items()}


def inventory() -> dict[str, Any]:
    """Return the inventory; but for its hosts it is the one of the Molecule scenarios."""
    hosts: dict[str, dict[str, Any]] = {
        host: {"test_suite": suite, **({"test_first_process": SSHD} if suite in WITHOUT_SYSTEMD else {})}
        for host, suite in SUITE_OF_SERVER.items()
    }
    names = ("containers", "postgres_servers", "postgres_clients")
    groups = {name: {"vars": _variables(name), "hosts": dict.fromkeys(hosts)} for name in names}
    return {"all": {"vars": _variables("all"), "hosts": hosts, "children": groups}}


def _variables(group: str) -> Any:
    path = MOLECULE / "inventory" / "group_vars" / f"{group}.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Start the fleet; the caller of these tests removes its containers."""
    made = Fleet(tmp_path_factory.mktemp("matrix"))
    made.start()
    return made


@pytest.fixture(scope="session")
def cells() -> dict[tuple[str, str], str]:
    """Give the cells of the grid, to be filled."""
    return CELLS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the grid."""
    terminalreporter.section("connections accepted + refused as they have to be (skipped)")
    for line in grid(CELLS, list(SUITE_OF_SERVER)):
        terminalreporter.write_line(line)


def grid(cells: Mapping[tuple[str, str], str], hosts: Sequence[str]) -> list[str]:
    """Return a line for each server and a column for each client host."""
    rows = [["server \\ client", *hosts]]
    rows += [[server, *(cells.get((server, client), "not tried") for client in hosts)] for server in hosts]
    return ["  ".join(cell.ljust(16) for cell in row).rstrip() for row in rows]
