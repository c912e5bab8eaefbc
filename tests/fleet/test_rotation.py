# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both roots are replaced, everything is renewed and a client is revoked, while clients connect and a standby streams.

Each loop makes a new connection each time, with verify-full and its client certificate: by libpq, by pgjdbc, and by two
drivers for Go, directly and through a pooler that is not in the inventory. The standby has to connect anew every few
seconds, since its connection is ended again and again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTORY_OPTION = ("-i", str(ROOT / "extensions" / "molecule" / "rotation" / "inventory"))
LOOPS = Path(__file__).with_name("connecting.py")
GO = "/tmp/go"
CONNECTION_ATTEMPTS = 5000
PHASE_STATES = ("steady", "staged", "switched", "retiring")
# Who connects to whom by libpq: (container, OS user): [(role, server)]
LOAD = {
    ("app1", "web"): [("app", "pg15"), ("app", "pg17"), ("app", "app1"), ("app", "pooler"), ("report", "pg15")],
    ("app2", "web"): [("app", "pg15"), ("app", "pg17"), ("app", "app1")],
    ("app2", "alice"): [("alice", "pg17")],
    ("app2", "leaver"): [("leaver", "pg15")],
}
# Programs of tests/containers/drivers, what they connect by, and to whom; on app1, as OS user web and role app
DRIVERS = {
    ("java", "-cp", "/usr/local/lib/drivers:/usr/share/java/postgresql.jar", "Connecting"): ("pgjdbc",),
    ("/usr/local/lib/drivers/connecting-go",): ("lib/pq", "pgx"),
}
DRIVEN = ("pg15", "pg17", "pooler")
DRIVER_KINDS = [kind for kinds in DRIVERS.values() for kind in kinds]
LEAST_OF_KIND = 100  # connections of each loop of a driver
POOLER_TLS = Path("/etc/pgbouncer/tls")
POOLER_CONFIGURATION = f"""\
[databases]
app = host=pg15.example.test user=pooled password='a password of the test fleet' dbname=app
[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = cert
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = session
server_lifetime = 1
client_login_timeout = 300
ignore_startup_parameters = extra_float_digits
logfile = /var/log/postgresql/pgbouncer.log
pidfile = /var/run/postgresql/pgbouncer.pid
client_tls_sslmode = verify-full
client_tls_cert_file = {POOLER_TLS}/pooler.crt
client_tls_key_file = {POOLER_TLS}/pooler.key
client_tls_ca_file = {POOLER_TLS}/client.crt
server_tls_sslmode = verify-full
server_tls_ca_file = {POOLER_TLS}/server.crt
"""
STREAMING = "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'"
FIRST_LISTS = "gets lists of revoked certificates at libpq's default name"
LOST = "could not connect to the primary server"


@dataclass
class Load:
    """What the loops counted, and how often the standby streamed again, by the phase of the authorities."""

    counted: list[dict[str, Any]] = field(default_factory=list)
    streamed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    pooler_told: list[str] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str, *, leaver: bool = False) -> list[dict[str, Any]]:
        """Return what the loops or the sessions counted, without the one that is revoked, or of it alone."""
        return [one for one in self.counted if one["kind"] == kind and ("leaver" in one["conninfo"]) == leaver]


def psql(fleet: Any, sql: str) -> str:
    """Ask the primary."""
    return str(fleet.output("pg15", "psql", "-XAtqc", sql, user="postgres")).strip()


def phase() -> str:
    """Return the phase that the server CA is in, as its directory shows it."""
    folder = Path(os.environ["ANSIBLE_HOME"], "fleet-ca", "server")
    numbered = [path for path in folder.glob("[0-9]*") if path.is_dir()]
    if (folder / "staged").exists():
        return "staged"
    if len(numbered) > 1:
        return "switched"
    return "retiring" if list((folder / "retiring").glob("[0-9]*")) else "steady"


def replicate_anew(fleet: Any, load: Load) -> None:
    """End the standby's connection, and wait until it streams by another one."""
    before, during = psql(fleet, STREAMING), phase()
    # Not the verification's, which stream nothing: the playbook would take them for refused
    psql(fleet, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE state IN ('streaming', 'catchup')")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if psql(fleet, STREAMING) not in ("", before):
            load.streamed[during] += 1
            return
        time.sleep(0.2)
    load.faults.append(f"no replication after 30 s in phase {during}")


@contextlib.contextmanager
def replicating(fleet: Any, load: Load) -> Iterator[None]:
    """Have the standby connect again and again."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(2.0):
                replicate_anew(fleet, load)
        except AssertionError as error:  # the primary did not answer
            load.faults.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


@contextlib.contextmanager
def connecting(fleet: Any, load: Load) -> Iterator[None]:
    """Have all clients connect until the block is left."""
    for client in ("app1", "app2"):
        fleet.output(client, "sh", "-c", f"touch {GO} && chmod 666 {GO}")
    started = []
    for (client, os_user), targets in LOAD.items():
        conninfos = [
            f"{address(server)} user={role} dbname=app sslmode=verify-full connect_timeout=20 {own(role, server)}"
            for role, server in targets
        ]
        with LOOPS.open() as script:
            command = fleet.command(client, "python3", "-", GO, *conninfos, user=os_user)
            started.append(subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, text=True))
    driven = [f"{address(server)} user=app dbname=app" for server in DRIVEN]
    for program in DRIVERS:
        command = fleet.command("app1", *program, GO, *driven, user="web")
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        yield
    finally:
        for client in ("app1", "app2"):
            fleet.output(client, "rm", "-f", GO)
        for process in started:
            lines = process.communicate(timeout=300)[0].splitlines()
            load.counted += [json.loads(line) for line in lines]


def address(server: str) -> str:
    """Return parameters by which clients reach a server, or the pooler, which has a certificate of its own making."""
    if server == "pooler":
        return f"host=app1.example.test port=6432 sslrootcert={POOLER_TLS}/pooler.crt"
    return f"host={server}.example.test"


@contextlib.contextmanager
def pooling(fleet: Any, load: Load) -> Iterator[None]:
    """Have a pooler in front of a server, which no run knows: a person tells it of new authorities."""
    subject = "-subj /CN=pooler -addext subjectAltName=DNS:app1.example.test"
    make = (
        f'mkdir -p {POOLER_TLS}; cat > /etc/pgbouncer/pgbouncer.ini; echo \'"app" ""\' > /etc/pgbouncer/userlist.txt;'
        f"openssl req -x509 -newkey rsa:2048 -nodes {subject} "
        f"-keyout {POOLER_TLS}/pooler.key -out {POOLER_TLS}/pooler.crt;"
        f"chown -R postgres: {POOLER_TLS}; chmod 755 /etc/pgbouncer"
    )
    done = fleet.inside("app1", "sh", "-ec", make, stdin=POOLER_CONFIGURATION)
    assert done.returncode == 0, done.stderr
    tell_pooler(fleet)
    fleet.output("app1", "systemctl", "start", "pgbouncer")
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            if phase() == "staged":
                tell_pooler(fleet)
                fleet.output("app1", "systemctl", "reload", "pgbouncer")
                load.pooler_told.append(phase())
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def tell_pooler(fleet: Any) -> None:
    """Copy the authorities as they are to the pooler."""
    for name in ("server", "client"):
        folder = Path(os.environ["ANSIBLE_HOME"], "fleet-ca", name)
        found = sorted(path for path in folder.glob("*/*.crt") if path.name in ("root.crt", "issuing.crt"))
        text = "".join(path.read_text() for path in found)
        done = fleet.inside("app1", "sh", "-c", f"cat > {POOLER_TLS}/{name}.crt", stdin=text)
        assert done.returncode == 0, done.stderr


def own(role: str, server: str) -> str:
    """Return libpq's parameters for an identity whose files have no default names, or for whom no run manages."""
    if server == "pooler":
        return "sslcrl=/dev/null"  # as the run advises that brings the first lists
    if role != "report":
        return ""
    folder = "/home/web/.postgresql/pgops/current/report"
    return f"sslcert={folder}/postgresql.crt sslkey={folder}/postgresql.key"


def attempts(load: Load) -> int:
    return sum(sum(one["counts"].values()) for one in load.of("loop"))


@pytest.fixture(scope="module")
def without_leaver(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return options of a run for whose inventory the leaver has left, and is to be let in no more."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "hosts.yml").write_text('{"all": {"vars": {"postgres_ca_revoked": [{"role": "leaver"}]}}}')
    (folder / "host_vars").mkdir()
    stays = [{"role": "app", "os_user": "web", "databases": ["app"]}]
    stays += [{"role": "alice", "os_user": "alice", "databases": ["app"]}]
    (folder / "host_vars" / "app2.yml").write_text(json.dumps({"postgres_client_identities": stays}))
    return ("-i", str(folder), "-e", "postgres_server_on_lockout=allow")  # which the leaver's session needs


@pytest.fixture(scope="module")
def load(fleet: Any, without_leaver: tuple[str, ...], request: pytest.FixtureRequest) -> Load:
    """Roll over, renew and revoke under load; everything else looks at what became of it."""
    found = Load()
    renew = ("-e", "postgres_server_renew=true", "-e", "postgres_client_renew=true")
    with pooling(fleet, found), connecting(fleet, found), replicating(fleet, found):
        found.runs["rollover"] = fleet.playbook(*INVENTORY_OPTION, path="playbooks/rotate_ca.yml")
        found.runs["renewal"] = fleet.playbook(*INVENTORY_OPTION, *renew)
        found.runs["second renewal"] = fleet.playbook(*INVENTORY_OPTION, *renew)
        found.runs["revocation"] = fleet.playbook(*INVENTORY_OPTION, *without_leaver)
        found.runs["after"] = fleet.playbook(*INVENTORY_OPTION, *without_leaver)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join(report(found)))
    return found


def report(load: Load) -> list[str]:
    """Return what was counted, for whoever reads the output of the tests."""
    lines = []
    for one in sorted(load.counted, key=lambda one: (one["kind"], one["conninfo"])):
        number, who = sum(one["counts"].values()), one["conninfo"].split(" dbname")[0]
        failed = {fault: count for fault, count in one["counts"].items() if fault}
        lines.append(f"{one['kind']:8} {number:6} attempts, {sum(failed.values())} failed: {who}")
        lines += [f"         {count:6} {fault}" for fault, count in failed.items()]
    failures = attempts(load) - sum(one["counts"].get("", 0) for one in load.of("loop"))
    lines.append(f"{attempts(load)} new connections of unrevoked clients, {failures} failed")
    return [*lines, f"new replication connections by phase: {dict(load.streamed)}; failed: {load.faults}"]


@pytest.mark.parametrize("run", ["rollover", "renewal", "second renewal", "revocation", "after"])
def test_every_run_ends_well(load: Load, run: str) -> None:
    assert load.runs[run].status == 0, load.runs[run].output[-6000:]


def test_no_connection_of_an_unrevoked_client_fails(load: Load) -> None:
    assert len(load.of("loop")) == sum(map(len, LOAD.values())) - 1
    assert [one for one in load.of("loop") if set(one["counts"]) != {""}] == []
    assert attempts(load) >= CONNECTION_ATTEMPTS


@pytest.mark.parametrize("kind", DRIVER_KINDS)
def test_no_connection_without_libpq_fails_either(load: Load, kind: str) -> None:
    found = load.of(kind)
    reached = [one["conninfo"].partition(" ")[0] for one in found]
    assert sorted(reached) == sorted(address(one).partition(" ")[0] for one in DRIVEN)
    assert [one for one in found if set(one["counts"]) != {""}] == []
    assert min(one["counts"][""] for one in found) >= LEAST_OF_KIND


def test_the_first_revocation_warns_of_lists_that_libpq_reads_at_the_pooler_too(load: Load) -> None:
    told = {run: " ".join(done.output.split()).count(FIRST_LISTS) for run, done in load.runs.items()}
    assert {run for run, count in told.items() if count} == {"revocation"}


def test_the_pooler_was_given_the_new_authorities_before_they_issued(load: Load) -> None:
    assert load.pooler_told == ["staged"]


def test_no_session_is_dropped(load: Load) -> None:
    sessions = load.of("session") + load.of("session", leaver=True)
    assert len(sessions) == sum(map(len, LOAD.values()))
    assert [one for one in sessions if set(one["counts"]) != {""}] == []


def test_the_revoked_client_is_refused_from_its_revocation_on(load: Load) -> None:
    (loop,) = load.of("loop", leaver=True)
    faults = {fault: count for fault, count in loop["counts"].items() if fault}
    assert loop["last_success"] < loop["first_fault"]
    assert sum(faults.values()) > 10
    assert any("revoked" in fault for fault in faults), faults


def test_the_standby_replicates_by_new_connections_in_every_phase(load: Load, fleet: Any) -> None:
    assert load.faults == []
    assert set(load.streamed) == set(PHASE_STATES), load.streamed
    log = "cat /var/log/postgresql/postgresql-15-main.log"
    text = fleet.output("app1", "sh", "-c", log)
    begun = text.rindex("started streaming WAL") if "started streaming WAL" in text else 0
    first = text.index("started streaming WAL")
    assert LOST not in text[first:begun], "since it replicated for the first time"


def test_both_roots_are_other_ones_everywhere(load: Load, fleet: Any) -> None:
    assert load.runs["rollover"].status == 0
    folder = Path(os.environ["ANSIBLE_HOME"], "fleet-ca")
    for name, path in (("server", "/home/web/.postgresql/root.crt"), ("client", None)):
        (root,) = (folder / name).glob("[0-9]*/root.crt")
        text = root.read_text()
        if path:
            assert [fleet.output(client, "cat", path) for client in ("app1", "app2")] == [text, text]
        else:
            trusted = "/etc/postgresql/tls/5432/current/trusted-clients.crt"
            assert all(fleet.output(one, "cat", trusted).endswith(text) for one in ("pg15", "pg17", "app1"))
