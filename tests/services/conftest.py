# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with Patroni, PgBouncer and a synchronous standby as its tests see it, and the figures that they print."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests import fleets
from ansible_collections.pgops.tls.tests.clusters import edges

HERE = Path(__file__).resolve().parent
INVENTORY, FILES = HERE / "inventory.yml", HERE / "files"
MEMBERS, NODES, POOLERS = ("shop1", "shop2", "shop3"), ("billing1", "billing2"), ("pool1", "pool2")
CLIENTS = ("app1", "app2", "app3")
HOSTS = (*MEMBERS, *NODES, *POOLERS, *CLIENTS)  # of the inventory
PROXY = "proxy1"
VERSIONS = dict.fromkeys(MEMBERS, "17") | dict.fromkeys(NODES, "15")  # of PostgreSQL
CLUSTERS = {"shop": MEMBERS, "billing": NODES}
PATRONI = "/etc/patroni/config.yml"
# Who replicates by which certificate, and by which line of the history
STREAMING = (
    "SELECT application_name, client_serial FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) "
    "WHERE state = 'streaming' ORDER BY 1"
)
TIMELINE = "SELECT timeline_id FROM pg_control_checkpoint()"
OWN_FILES = "/var/lib/postgresql/.postgresql/pgops/current"
SERIAL = f"openssl x509 -noout -serial -in {OWN_FILES}/replicator/postgresql.crt"
CURRENT = "/etc/postgresql/tls/5432/current"
LINES: list[str] = []  # what is printed at the end


@dataclass
class Cluster:
    """A cluster at some moment: who can be written to, on which timeline, and who streams by which certificate."""

    leader: str
    timeline: str
    streaming: dict[str, str] = field(default_factory=dict)


class Fleet(fleets.Fleet):
    """The containers, and what their inventory promises."""

    def __init__(self, folder: Path) -> None:
        self.declared = self.declaration()
        super().__init__(folder, self.declared)

    @property
    def graph(self) -> Any:
        """Return what the inventory promises."""
        return edges.graph(self.declared)

    def declaration(self) -> dict[str, Any]:
        """Return the inventory."""
        declared: dict[str, Any] = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))
        declared["all"]["children"]["containers"]["vars"] = fleets.molecule_variables("containers")
        declared["all"]["vars"] = fleets.molecule_variables("all")
        return declared

    def start(self) -> None:
        """Start the containers, and prepare them as a team would have them before TLS."""
        super().start()
        self.prepare()

    def prepare(self) -> None:
        """Make of the containers what their teams have."""
        self.start_patroni()
        self._start_billing()
        self._start_poolers()
        for client in CLIENTS:
            self.inside(client, "systemctl", "stop", "postgresql")
        for client, os_user in dict.fromkeys((one.client, one.os_user) for one in self.graph.identities):
            if os_user != "postgres":
                self.inside(client, "useradd", "--create-home", os_user)

    def site(self, *options: str, **variables: Any) -> fleets.Run:
        """Run the whole job, and count what it executes on each machine."""
        before = self.executed(HOSTS)
        run = super().site(*options, **variables)
        run.executions = {host: number - before[host] for host, number in self.executed(HOSTS).items()}
        return run

    def sql(self, host: str, statements: str, database: str = "postgres") -> str:
        """Return what a server answers its superuser."""
        command = ["psql", "-XAtq", "--set=ON_ERROR_STOP=1", f"--dbname={database}", "--command", statements]
        return self.inside(host, *command, user="postgres").strip()

    def leader(self, cluster: str) -> str:
        """Return who can be written to; fails unless it is one alone."""
        found: list[str] = []

        def one_leads() -> bool:
            found[:] = [host for host in CLUSTERS[cluster] if self._leads(host)]
            return len(found) == 1

        until(one_leads, lambda: f"{cluster} is led by {found}")
        return found[0]

    def _leads(self, host: str) -> bool:
        asked = ["psql", "-XAtqc", "SELECT NOT pg_is_in_recovery()"]
        return self.execute(host, *asked, user="postgres").stdout.strip() == "t"

    def cluster(self, name: str) -> Cluster:
        """Return how a cluster is now."""
        leader = self.leader(name)
        rows = [row.split("|") for row in self.sql(leader, STREAMING).splitlines()]
        return Cluster(leader, self.sql(leader, TIMELINE), dict(rows))

    def standbys(self, name: str) -> list[str]:
        """Return who has to stream."""
        leader = self.leader(name)
        return [host for host in CLUSTERS[name] if host != leader]

    def replicate_anew(self, name: str) -> dict[str, str]:
        """End the connections of all standbys, and wait until they stream again; return their certificates' serials."""
        leader = self.leader(name)
        expected = sorted(self.standbys(name))
        self.sql(leader, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE state = 'streaming'")
        until(lambda: sorted(self.cluster(name).streaming) == expected, lambda: f"streaming: {self.cluster(name)}")
        return self.cluster(name).streaming

    def own_serials(self, name: str) -> dict[str, str]:
        """Return the serial numbers of the certificates that standbys have to show, as PostgreSQL writes them."""
        lines = {host: self.inside(host, "sh", "-c", SERIAL) for host in self.standbys(name)}
        return {host: str(int(line.partition("=")[2], 16)) for host, line in lines.items()}

    def replicated(self, name: str) -> dict[str, str]:
        """Write a line on the primary; return the last one that each host of the cluster comes to know."""
        leader = self.leader(name)
        self.sql(leader, "INSERT INTO lines DEFAULT VALUES")
        last = self.sql(leader, "SELECT max(number) FROM lines")
        known: dict[str, str] = {}

        def arrived() -> bool:
            known.update({host: self.sql(host, "SELECT max(number) FROM lines") for host in CLUSTERS[name]})
            return set(known.values()) == {last}

        until(arrived, lambda: f"{name}: {known}, expected {last}")
        return known

    def secure_replication(self) -> None:
        """Have the members of Patroni replicate with the certificates that a run has given them."""
        files = {
            "sslcert": "replicator/postgresql.crt",
            "sslkey": "replicator/postgresql.key",
            "sslrootcert": "root.crt",
        }
        lines = ["sslmode: verify-full", *(f"{key}: {OWN_FILES}/{name}" for key, name in files.items())]
        more = "".join(f"\\n      {line}" for line in lines)
        for host in MEMBERS:
            self.inside(host, "sed", "-i", f"s|^      username: replicator$|&{more}|", PATRONI)
            self.inside(host, "systemctl", "reload", "patroni")
        expected = self.own_serials("shop")
        until(lambda: self.cluster("shop").streaming == expected, lambda: f"{self.cluster('shop')}, not {expected}")

    def patronictl(self, *arguments: str) -> str:
        """Run patronictl on a member."""
        return self.inside(MEMBERS[0], "patronictl", "-c", PATRONI, *arguments, user="postgres")

    def switch_over(self) -> str:
        """Make another member of shop the leader, and wait until all others follow it; return which."""
        before = self.leader("shop")
        to = MEMBERS[(MEMBERS.index(before) + 1) % len(MEMBERS)]
        self.patronictl("switchover", "shop", "--force", "--candidate", to)
        self.all_follow(to)
        return to

    def all_follow(self, leader: str) -> None:
        """Wait until a member of shop leads, and all others stream from it."""
        others = sorted(set(MEMBERS) - {leader})

        def followed() -> bool:
            return self._leads(leader) and sorted(self.cluster("shop").streaming) == others

        until(followed, lambda: self.patronictl("list"))

    def start_patroni(self) -> None:
        """Start the store, the members one after the other, and what leads clients to the leader."""
        self.inside(PROXY, "systemctl", "stop", "postgresql")
        store = (
            "printf '%s\\n' ETCD_NAME=default ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379 "
            f"ETCD_ADVERTISE_CLIENT_URLS=http://{PROXY}.example.test:2379 ETCD_UNSAFE_NO_FSYNC=true "
            "> /etc/default/etcd; systemctl start etcd"
        )
        self.inside(PROXY, "sh", "-ec", store)
        template = (FILES / "patroni.yml").read_text(encoding="utf-8")
        for host in MEMBERS:
            text = template.replace("MEMBER", host).replace("VERSION", VERSIONS[host])
            start = (
                f"for cluster in main second; do pg_dropcluster --stop {VERSIONS[host]} $cluster; done; "
                f"cat > {PATRONI}; chown postgres: {PATRONI}; chmod 640 {PATRONI}; systemctl start patroni"
            )
            self.inside(host, "sh", "-ec", start, stdin=text)
            if host == MEMBERS[0]:
                until(lambda: self._leads(MEMBERS[0]), lambda: self._journal(MEMBERS[0]))
        until(lambda: self.sql(MEMBERS[0], COUNT_STREAMING) == "2", lambda: self._journal(MEMBERS[1]))
        self._create("shop", "report", "leaver", "app", "migrations")
        script = (FILES / "relay.py").read_text(encoding="utf-8")
        relay = "cat > /usr/local/bin/relay.py; systemd-run --quiet --unit=relay python3 /usr/local/bin/relay.py"
        self.inside(PROXY, "sh", "-ec", f"{relay} {' '.join(MEMBERS)}", stdin=script)

    def _journal(self, host: str) -> str:
        return self.inside(host, "journalctl", "--no-pager", "--unit=patroni", "--lines=60")

    def _start_billing(self) -> None:
        """Let the standby copy its primary in plaintext, and have commits wait for it."""
        primary, standby = NODES
        version = VERSIONS[primary]
        data, configuration = f"/var/lib/postgresql/{version}/main", f"/etc/postgresql/{version}/main"
        self._create("billing", "report", "invoices")
        self.sql(primary, "CREATE ROLE replicator LOGIN REPLICATION")
        rule = "host replication replicator samenet trust"
        self.inside(primary, "sh", "-c", f"echo '{rule}' >> {configuration}/pg_hba.conf")
        self.sql(primary, "SELECT pg_reload_conf()")
        copy = (
            f"pg_ctlcluster {version} main stop; rm -rf {data}; runuser -u postgres -- pg_basebackup --pgdata={data} "
            f"--checkpoint=fast --wal-method=stream --dbname='host={primary}.example.test user=replicator' "
            f"--write-recovery-conf; pg_ctlcluster {version} main start"
        )
        settings = "wal_retrieve_retry_interval = '200ms'\n"
        self.inside(standby, "sh", "-ec", f"cat > {configuration}/conf.d/standby.conf; {copy}", stdin=settings)
        conninfo = f"host={primary}.example.test user=replicator application_name={standby} sslmode=disable"
        self.sql(standby, f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        self.sql(standby, "SELECT pg_reload_conf()")
        until(lambda: self.sql(primary, COUNT_STREAMING) == "1", lambda: self.sql(primary, COUNT_STREAMING))
        self.sql(primary, f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        self.sql(primary, "SELECT pg_reload_conf()")

    def _create(self, cluster: str, *roles: str) -> None:
        """Make the database of a cluster, its roles, and two tables."""
        primary = CLUSTERS[cluster][0]
        for role in roles:
            self.sql(primary, f"CREATE ROLE {role} LOGIN")
        self.sql(primary, f"CREATE DATABASE {cluster}")
        self.sql(primary, "CREATE TABLE lines (number serial)")
        self.sql(primary, "CREATE TABLE load (at timestamptz DEFAULT now()); GRANT INSERT ON load TO PUBLIC", cluster)

    def _start_poolers(self) -> None:
        """Start the poolers, and say from which address PostgreSQL sees them: what leads to the leader has its own."""
        hba, configuration = "hostssl all all 0.0.0.0/0 cert", (FILES / "pgbouncer.ini").read_text(encoding="utf-8")
        start = (
            'systemctl stop postgresql; cd /etc/pgbouncer; cat > pgbouncer.ini; echo \'"app" ""\' > userlist.txt; '
            f"echo '{hba}' > hba.conf; systemctl start pgbouncer"
        )
        for host in POOLERS:
            self.inside(host, "sh", "-ec", start, stdin=configuration)
        address = self.inside(PROXY, "hostname", "--all-ip-addresses").split()[0]
        self.declared["all"]["children"]["postgres_poolers"]["vars"]["postgres_pooler_address"] = address
        self.declare(self.declared)


COUNT_STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


def until(holds: Callable[[], Any], what: Callable[[], str], seconds: float = 60.0) -> None:
    """Wait until something holds, else fail with what is there."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.3)


@dataclass
class Begun:
    """The runs that set the fleet up."""

    foreseen: fleets.Run
    first: fleets.Run
    closing: fleets.Run
    second: fleets.Run


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Start the fleet; the caller of these tests removes its containers."""
    made = Fleet(tmp_path_factory.mktemp("services"))
    made.start()
    return made


@pytest.fixture(scope="session")
def begun(fleet: Fleet) -> Begun:
    """Set the fleet up: plaintext is refused once everybody has certificates, and replicates with them."""
    foreseen = fleet.site("--check", postgres_server_plaintext="allow")
    first = fleet.site(postgres_server_plaintext="allow")
    assert first.status == 0, first.output[-8000:]
    fleet.secure_replication()
    closing = fleet.site()
    assert closing.status == 0, closing.output[-8000:]
    return Begun(foreseen, first, closing, fleet.site())


@pytest.fixture(scope="session")
def printed() -> list[str]:
    """Give the lines that are printed at the end, to be filled."""
    return LINES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the graph, and the figures."""
    if not LINES:
        return
    terminalreporter.section("who connects where, and what was counted")
    for line in [*edges.drawn(edges.graph(yaml.safe_load(INVENTORY.read_text(encoding="utf-8")))), "", *LINES]:
        terminalreporter.write_line(line)
