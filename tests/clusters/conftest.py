# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of three clusters as its tests see it, and the counts that they print."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from ansible_collections.pgops.tls.tests import fleets
from ansible_collections.pgops.tls.tests.clusters import edges

INVENTORY = Path(__file__).with_name("inventory.yml")
PRIMARY, STANDBY = "shop1", "shop2"
VERSION = "17"  # of PostgreSQL on both of them
PORTS = {"shop1": 5432, "billing1": 5432, "analytics1": 5433}  # where each cluster can be written to
DATABASES = {"shop1": "shop", "billing1": "billing", "analytics1": "analytics"}
WITH_PASSWORD = {"clerk", "auditor", "payments"}
WITH_PASSFILE = {"clerk", "payments"}
STREAMING = (
    "SELECT client_serial FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) "
    "WHERE state = 'streaming' AND client_dn = '/CN=standby'"
)
# Prints a line for each certificate in use: its path, its serial number, its issuer
CERTIFICATES = (
    "find -L /etc/postgresql/tls/*/current ~postgres/.postgresql/pgops/current /home/*/.postgresql/pgops/current "
    "\\( -name server.crt -o -name postgresql.crt \\) 2>/dev/null | sort | while read path; do "
    'echo "$path $(openssl x509 -in $path -noout -serial -issuer | tr "\\n" " ")"; done'
)
CA_HOST, CA_DIRECTORY = "ca1", "/home/ops/postgres-ca"  # of Ansible's login user there
LINES: list[str] = []  # what is printed at the end


class Replication(NamedTuple):
    """The serial number that the primary sees of its standby, the one in the standby's file, and how it connects."""

    used: int
    current: int
    conninfo: str


class Fleet(fleets.Fleet):
    """The containers, and what their inventory promises."""

    def __init__(self, folder: Path) -> None:
        declared = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))
        self.graph = edges.graph(declared)
        self.machines = edges.groups(declared)["containers"]
        children = declared["all"]["children"]
        reached = {"children": {"containers": None, "postgres_servers": None}}
        children["over_ssh"] = {**reached, "vars": fleets.molecule_variables("containers")}
        authorities = {"postgres_ca_host": CA_HOST, "postgres_ca_directory": CA_DIRECTORY}
        declared["all"]["vars"] = fleets.molecule_variables("all") | authorities
        super().__init__(folder, declared)

    def start(self) -> None:
        """Start the containers, and prepare them as a team would have them before TLS."""
        super().start()
        self.inside("billing1", "pg_ctlcluster", "15", "second", "start")
        for host, database in DATABASES.items():
            found = [one.role for one in self.graph.identities if host in [server.host for server in one.servers]]
            statements = [_create(role) for role in dict.fromkeys(found)]
            self.sql(host, "; ".join(statements))
            self.sql(host, f"CREATE DATABASE {database}")
        for client, os_user in dict.fromkeys((one.client, one.os_user) for one in self.graph.identities):
            if os_user != "postgres":
                self.inside(client, "useradd", "--create-home", os_user)
        for one in self.graph.identities:
            if one.role in WITH_PASSFILE:
                line = f"{one.servers[0].own_name}:{one.database}:{one.role}:{_password(one.role)}\n"
                keep = "umask 077; cat > ~/.pgpass"
                self.inside(one.client, "runuser", "-l", one.os_user, "-c", keep, stdin=line)
        self._make_standby()

    def _make_standby(self) -> None:
        """Let the standby copy its primary in plaintext; it replicates with its own certificate and nothing else."""
        configuration = f"/etc/postgresql/{VERSION}/main"
        data, rule = f"/var/lib/postgresql/{VERSION}/main", "host replication standby samenet trust"
        self.sql(PRIMARY, "CREATE TABLE lines (number serial)")
        self.inside(PRIMARY, "sh", "-c", f"echo '{rule}' >> {configuration}/pg_hba.conf")
        self.sql(PRIMARY, "SELECT pg_reload_conf()")
        copy = (
            f"pg_ctlcluster {VERSION} main stop; rm -rf {data}; runuser -u postgres -- pg_basebackup --pgdata={data} "
            f"--checkpoint=fast --wal-method=stream --dbname='host={PRIMARY}.example.test user=standby sslmode=disable'"
        )
        self.inside(STANDBY, "sh", "-ec", copy)
        self.inside(PRIMARY, "sed", "-i", f"/^{rule}$/d", f"{configuration}/pg_hba.conf")
        self.sql(PRIMARY, "SELECT pg_reload_conf()")
        settings = (
            f"primary_conninfo = 'host={PRIMARY}.example.test user=standby sslmode=verify-full'\n"
            "wal_retrieve_retry_interval = '200ms'\n"
        )
        start = (
            f"cat > {configuration}/conf.d/standby.conf; runuser -u postgres -- touch {data}/standby.signal; "
            f"pg_ctlcluster {VERSION} main start"
        )
        self.inside(STANDBY, "sh", "-ec", start, stdin=settings)

    def sql(self, host: str, statements: str) -> str:
        """Return what a cluster answers its superuser."""
        server = self.graph.servers[host]
        command = ["psql", "-XAtq", "--set=ON_ERROR_STOP=1", f"--port={server.port}", "--command", statements]
        return self.inside(server.machine, *command, user="postgres").strip()

    def connect(self, client: str, os_user: str, target: str) -> tuple[str, str]:
        """Connect as a program of an OS user does; return what the server says, and libpq's message."""
        home = self.inside(client, "getent", "passwd", os_user).split(":")[5]
        command = ["psql", "-XAtqc", "SELECT current_user, inet_server_port()", f"{target} sslmode=verify-full"]
        done = self.execute(client, *command, user=os_user, home=home)
        return done.stdout.strip(), done.stderr

    def certificates(self) -> dict[str, str]:
        """Return serial number and issuer of each certificate in use, by its path on its machine."""
        lines = {machine: self.inside(machine, "sh", "-c", CERTIFICATES).splitlines() for machine in self.machines}
        pairs = [(machine, *line.split(" ", 1)) for machine, found in lines.items() for line in found]
        return {f"{machine}:{path}": shown for machine, path, shown in pairs}

    def trusted(self) -> dict[str, str]:
        """Return which client certificates each server trusts."""
        path = "/etc/postgresql/tls/{}/current/trusted-clients.crt"
        servers = self.graph.servers.values()
        return {one.host: self.inside(one.machine, "cat", path.format(one.port)) for one in servers}

    def issued(self) -> list[int]:
        """Return the serial numbers in the ledger, in the order in which certificates were signed."""
        lines = self.inside(CA_HOST, "cat", f"{CA_DIRECTORY}/ledger.jsonl").splitlines()
        return [int(json.loads(line)["serial"], 16) for line in lines]

    def replication(self) -> Replication:
        """Return what the standby replicates with, as a run has left it."""
        until = time.monotonic() + 30
        while not (serial := self.sql(PRIMARY, STREAMING)):
            assert time.monotonic() < until, "no replication after 30 s"
            time.sleep(0.2)
        (shown,) = [
            shown
            for path, shown in self.certificates().items()
            if path.startswith(f"{STANDBY}:") and "/standby/" in path
        ]
        return Replication(int(serial), serial_of(shown), self.sql(STANDBY, "SHOW primary_conninfo"))

    def replicated(self) -> tuple[str, str]:
        """Write a line on the primary; return its number, and the one that the standby comes to know."""
        last = "SELECT max(number), pg_is_in_recovery() FROM lines"
        self.sql(PRIMARY, "INSERT INTO lines DEFAULT VALUES")
        written, until = self.sql(PRIMARY, last).replace("|f", "|t"), time.monotonic() + 30
        while (read := self.sql(STANDBY, last)) != written and time.monotonic() < until:
            time.sleep(0.2)
        return written, read


def serial_of(shown: str) -> int:
    """Return the serial number that a line about a certificate shows."""
    return int(shown.partition("serial=")[2].split()[0], 16)


def _password(role: str) -> str:
    return f"the password of {role}"


def _create(role: str) -> str:
    own = {role: f"PASSWORD '{_password(role)}'" for role in WITH_PASSWORD} | {"standby": "REPLICATION"}
    return f"CREATE ROLE {role} LOGIN {own.get(role, '')}"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Start the fleet; the caller of these tests removes its containers."""
    made = Fleet(tmp_path_factory.mktemp("clusters"))
    made.start()
    return made


@pytest.fixture(scope="session")
def printed() -> list[str]:
    """Give the lines that are printed at the end, to be filled."""
    return LINES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the graph, and what was tried beside what follows from it."""
    if not LINES:
        return
    terminalreporter.section("who connects where, and connections tried / counted from the inventory")
    for line in [*edges.drawn(edges.graph(yaml.safe_load(INVENTORY.read_text(encoding="utf-8")))), "", *LINES]:
        terminalreporter.write_line(line)
