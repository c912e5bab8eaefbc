# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that the whole job has set up, client hosts with psql of many versions, and one with many drivers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import fleets

SERVER, DRIVERS = "pg17", "drivers"
SUITES = {SERVER: "trixie", "psql13": "bullseye", "psql14": "pg14", "psql15": "bookworm", "psql16": "pg16"}
SUITES |= {DRIVERS: "clients", "psql18": "sid", "psql19": "experimental"}
ALIAS = "elsewhere.example.test"  # leads to the server, and is not in its certificate
FORMATS = ["pem", "pk8", "pkcs12", "truststore", "environment"]
OLD = "/home/web/revoked"  # a copy of a certificate that is revoked then
JAVA = Path(__file__).parents[1] / "java" / "Connect.java"
CELLS: dict[tuple[str, str], str] = {}  # driver, case -> what is shown of it


def inventory() -> dict[str, Any]:
    """Return the inventory; its groups have the variables of the Molecule scenarios."""
    hosts = fleets.hosts_of(SUITES)
    hosts[SERVER]["test_aliases"] = [ALIAS]
    groups: dict[str, Any] = {"containers": hosts, "postgres_servers": {SERVER: None}}
    groups["postgres_clients"] = dict.fromkeys(host for host in SUITES if host != SERVER)
    found = {
        name: {"vars": fleets.molecule_variables(name), "hosts": dict.fromkeys(own)} for name, own in groups.items()
    }
    web = {"os_user": "web", "databases": ["app"], "default_files": False, "formats": FORMATS}
    web["strict_services"] = True  # so the verification shows whether libpq of each version takes its services
    found["postgres_clients"]["vars"] = {
        "postgres_client_identities": [{"role": one, **web} for one in ("app", "gone")]
    }
    return {"all": {"vars": fleets.molecule_variables("all"), "hosts": hosts, "children": found}}


class Fleet(fleets.Fleet):
    """The containers, and connections from them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, inventory())

    def start(self) -> None:
        """Start the containers, and prepare them as a team would have them before TLS."""
        super().start()
        for statement in ("CREATE ROLE app LOGIN; CREATE ROLE gone LOGIN", "CREATE DATABASE app OWNER app"):
            self.psql(SERVER, statement)
        for host in SUITES:
            self.inside(host, "useradd", "--create-home", "web")
        other = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
        made = subprocess.run([*other, "/CN=other", "-keyout", "/dev/null"], capture_output=True, text=True, check=True)
        for host in SUITES:
            self.inside(host, "tee", "/home/web/other.crt", stdin=made.stdout)
        self.inside(DRIVERS, "tee", "/usr/local/lib/drivers/Connect.java", stdin=JAVA.read_text())
        self.inside(DRIVERS, "javac", "/usr/local/lib/drivers/Connect.java")

    def keep(self) -> None:
        """Have a copy of what is revoked then."""
        for host in SUITES:
            if host != SERVER:
                copy = f"cp -pr ~/.postgresql/pgops/current/gone {OLD}"
                self.inside(host, "runuser", "-l", "web", "-c", copy)

    def serial(self, host: str, role: str) -> int:
        """Return the serial number of a certificate on disk."""
        path = f"/home/web/.postgresql/pgops/current/{role}/postgresql.crt"
        return int(self.inside(host, "openssl", "x509", "-in", path, "-noout", "-serial").strip().partition("=")[2], 16)

    def connect(self, host: str, argv: Sequence[str]) -> str:
        """Run a program as the OS user that holds the files; return the line that it prints."""
        done = self.execute(host, *argv, user="web", home="/home/web")
        return " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Start the fleet; the caller of these tests removes its containers."""
    made = Fleet(tmp_path_factory.mktemp("drivers"))
    made.start()
    return made


@pytest.fixture(scope="session")
def cells() -> dict[tuple[str, str], str]:
    """Give the cells of the grid, to be filled."""
    return CELLS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the grid."""
    terminalreporter.section("what each client did with the files on disk")
    clients, cases = (dict.fromkeys(one) for one in zip(*CELLS)) if CELLS else ((), ())
    for line in fleets.grid("client", CELLS, clients, list(cases)):
        terminalreporter.write_line(line)
