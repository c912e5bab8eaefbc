# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that use the fleet while something happens to it, and what they counted."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.tests.services.conftest import CLUSTERS, Cluster, Fleet, until

LOOPS = Path(__file__).resolve().parents[1] / "fleet" / "connecting.py"
GO = "/tmp/go"
LEAST = 130  # connections of each loop in each phase
# Who connects to what: a loop of new connections, and a session that stays, for each
ALIAS = "host=shop.example.test dbname=shop"
LOAD = {
    ("app1", "shop"): ["service=app@pool1", "service=app@pool2"],
    ("app1", "deploy"): [f"{ALIAS} user=migrations", "service=migrations@shop1"],
    ("app2", "shop"): ["service=app@pool2"],
    ("app2", "invoices"): ["service=invoices@billing1"],
    ("app3", "report"): ["service=report@shop2", "service=report_billing@billing1"],
}
COPY = "/home/leaver/copy"  # of the files of somebody whose own ones will be removed
LEAVER = (
    f"host=shop3.example.test dbname=shop user=leaver sslcert={COPY}/postgresql.crt sslkey={COPY}/postgresql.key "
    f"sslrootcert={COPY}/root.crt"
)
MORE = "sslmode=verify-full connect_timeout=20"
# Who writes: pgbench through a pooler that follows the leader, and directly to a primary that waits for its standby
WRITERS = {("app1", "shop", "17"): "service=app@pool1", ("app2", "invoices", "15"): "service=invoices@billing1"}
WRITE = "INSERT INTO load DEFAULT VALUES;\n"
ROUNDS, SECONDS, RATE = (
    60,
    20,
    10,
)  # of pgbench: at most so many rounds, of so many seconds, with so many writes a second
CLIENTS_OF_PGBENCH = 2
PGBENCH = f"""
cd /tmp; cat > /tmp/write.sql
for round in $(seq {ROUNDS}); do
    [ -e {GO} ] || break
    /usr/lib/postgresql/$1/bin/pgbench -n -c {CLIENTS_OF_PGBENCH} -R {RATE} -T {SECONDS} -f /tmp/write.sql "$2" 2>&1
done
"""


@dataclass
class Written:
    """What pgbench says that it has written, and what is there."""

    rounds: int
    processed: int
    aborted: list[str]
    found: int

    @property
    def shown(self) -> str:
        return f"{self.processed} written in {self.rounds} rounds, {self.found} found, {len(self.aborted)} complaints"


@dataclass
class Phase:
    """What happened to the fleet, and what its users have seen meanwhile."""

    name: str
    done: Any = None
    counted: list[dict[str, Any]] = field(default_factory=list)
    written: dict[str, Written] = field(default_factory=dict)
    before: dict[str, Cluster] = field(default_factory=dict)
    after: dict[str, Cluster] = field(default_factory=dict)
    streamed: dict[str, Counter[int]] = field(default_factory=dict)  # samples by the number of standbys that stream
    shown: dict[str, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    replicated: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, kind: str, *, leaver: bool = False) -> list[dict[str, Any]]:
        """Return what the loops or the sessions counted, without who leaves, or of that one alone."""
        return [one for one in self.counted if one["kind"] == kind and ("leaver" in one["conninfo"]) == leaver]

    @property
    def attempts(self) -> int:
        return sum(sum(one["counts"].values()) for one in self.of("loop"))

    @property
    def faults(self) -> Counter[str]:
        """Return how often new connections failed, by the words of the failure."""
        found: Counter[str] = Counter()
        for one in self.of("loop"):
            found.update({fault: count for fault, count in one["counts"].items() if fault})
        return found

    @property
    def dropped(self) -> list[str]:
        """Return why sessions that were to stay have ended."""
        return [fault for one in self.of("session") for fault in one["counts"] if fault]

    @property
    def longest_gap(self) -> float:
        """Return for how long, in seconds, some loop had no new connection at most."""
        return max(float(one["longest_gap"]) for one in self.of("loop"))

    def lines(self) -> list[str]:
        """Return what is printed."""
        written = ", ".join(f"{name}: {one.shown}" for name, one in self.written.items())
        samples = ", ".join(f"{name} {dict(sorted(one.items()))}" for name, one in self.streamed.items())
        sessions, faults = self.of("session"), [(fault, str(count)) for fault, count in self.faults.most_common()]
        faults += [(fault, "session") for fault in self.dropped]
        first = f"{self.attempts} new connections, {self.faults.total()} failed, {len(self.dropped)} of {len(sessions)}"
        return [
            f"{self.name}: {first} sessions dropped; no new connection for {self.longest_gap:.1f} s at most",
            f"    pgbench, {written}",
            f"    samples by the number of standbys that stream: {samples}",
            *(f"    {count:>7}  {' '.join(fault.split())[:160]}" for fault, count in faults),
        ]


def under_load(fleet: Fleet, name: str, work: Callable[[], Any], leaver: str = "") -> Phase:
    """Do something while programs use the fleet; ``leaver`` is a connection of somebody who may be refused then."""
    phase = Phase(name, before={one: fleet.cluster(one) for one in CLUSTERS})
    rows = {one: _rows(fleet, one) for one in CLUSTERS}
    with _loops(fleet, phase, leaver), _writers(fleet, phase), _samples(fleet, phase):
        phase.done = work()
    for one in CLUSTERS:
        phase.written[one].found = _rows(fleet, one) - rows[one]
        phase.shown[one] = fleet.replicate_anew(one), fleet.own_serials(one)
        phase.replicated[one] = fleet.replicated(one)
    phase.after = {one: fleet.cluster(one) for one in CLUSTERS}
    return phase


def _rows(fleet: Fleet, cluster: str) -> int:
    return int(fleet.sql(fleet.leader(cluster), "SELECT count(*) FROM load", cluster))


@contextlib.contextmanager
def _loops(fleet: Fleet, phase: Phase, leaver: str) -> Iterator[None]:
    """Have all clients connect until the block is left, and at least ``LEAST`` times."""
    load = {**LOAD, **({("app3", "leaver"): [leaver]} if leaver else {})}
    hosts = sorted({client for client, _os_user in load})
    for client in hosts:
        fleet.inside(client, "sh", "-c", f"touch {GO} && chmod 666 {GO}")
    started = []
    for (client, os_user), targets in load.items():
        with LOOPS.open() as script:
            conninfos = [f"{one} {MORE}" for one in targets]
            argv = ["env", f"LEAST_CONNECTIONS={LEAST}", "python3", "-", GO, *conninfos]
            command = fleet.command(client, *argv, user=os_user)
            started.append(subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, text=True))
    try:
        yield
    finally:
        for client in hosts:
            fleet.inside(client, "rm", "-f", GO)
        for process in started:
            phase.counted += [json.loads(line) for line in process.communicate(timeout=600)[0].splitlines()]


@contextlib.contextmanager
def _writers(fleet: Fleet, phase: Phase) -> Iterator[None]:
    """Have pgbench write until the block is left."""
    started = {}
    for (client, os_user, version), target in WRITERS.items():
        command = fleet.command(client, "sh", "-c", PGBENCH, "-", version, f"{target} {MORE}", user=os_user)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(WRITE)
        process.stdin.close()
        process.stdin = None
        started["billing" if "billing" in target else "shop"] = process
    try:
        yield
    finally:
        for client, _os_user, _version in WRITERS:
            fleet.inside(client, "rm", "-f", GO)
        for name, process in started.items():
            phase.written[name] = _written(process.communicate(timeout=180)[0])


def _written(output: str) -> Written:
    processed = [int(number) for number in re.findall(r"transactions actually processed: (\d+)", output)]
    aborted = [line for line in output.splitlines() if "error:" in line or "FATAL" in line or "aborted" in line]
    return Written(len(processed), sum(processed), aborted, 0)


@contextlib.contextmanager
def _samples(fleet: Fleet, phase: Phase) -> Iterator[None]:
    """Look again and again how many standbys stream."""
    stop = threading.Event()
    phase.streamed = {one: Counter() for one in CLUSTERS}

    def work() -> None:
        while not stop.wait(1.0):
            for one, found in phase.streamed.items():
                with contextlib.suppress(AssertionError):  # while roles swap, nobody or nobody alone leads
                    found[len(fleet.cluster(one).streaming)] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def steal(fleet: Fleet) -> str:
    """Copy the files of who leaves; return the connection that uses the copy."""
    fleet.inside("app3", "sh", "-ec", f"rm -rf {COPY}; cp -rL /home/leaver/.postgresql {COPY}", user="leaver")
    return LEAVER


def wait_for_a_switch(fleet: Fleet, hosts: tuple[str, ...], path: str) -> None:
    """Wait until a run has switched one of these hosts to a new generation."""
    before = {host: fleet.inside(host, "readlink", path) for host in hosts}

    def switched() -> bool:
        return any(fleet.inside(host, "readlink", path) != link for host, link in before.items())

    until(switched, lambda: f"no switch on {hosts}", 180.0)
