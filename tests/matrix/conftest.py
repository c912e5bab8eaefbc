# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with a host of every PostgreSQL version, each of them a server and a client host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import fleets

SUITE_OF_SERVER = {"pg13": "bullseye", "pg14": "pg14", "pg15": "bookworm", "pg16": "pg16", "pg17": "trixie"}
SUITE_OF_SERVER |= {"pg18": "sid", "pg19": "experimental"}
PREPARATION = "CREATE ROLE app LOGIN; CREATE ROLE report LOGIN"
CELLS: dict[tuple[str, str], str] = {}  # server, client host -> what is shown of them


class Fleet(fleets.Fleet):
    """Playbooks on the fleet, and what they found."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, inventory())

    def start(self) -> None:
        """Start the containers, and prepare them as a team would have them before TLS."""
        super().start()
        for host in SUITE_OF_SERVER:
            for statement in (PREPARATION, "CREATE DATABASE app OWNER app"):
                self.psql(host, statement)
            self.inside(host, "useradd", "--create-home", "web")

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
    hosts = fleets.hosts_of(SUITE_OF_SERVER)
    for host in ("pg14", "pg16"):
        hosts[host]["postgres_server_login_unix_socket"] = "/run/dba"  # which a distribution would not choose
    names = ("containers", "postgres_servers", "postgres_clients")
    groups = {name: {"vars": fleets.molecule_variables(name), "hosts": dict.fromkeys(hosts)} for name in names}
    return {"all": {"vars": fleets.molecule_variables("all"), "hosts": hosts, "children": groups}}


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
    return fleets.grid("server \\ client", cells, hosts, hosts)
