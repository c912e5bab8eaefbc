# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of hosts that do not exist, and what runs on it cost the controller.

Ansible itself, the authorities and everything on the controller are real. In place of Python, hosts have a program that
swallows a module and prints the module's answer: see answers.py. Connections are local, so no SSH adds to the costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".ansible" / "collections"
SITE = ROOT / "playbooks" / "site.yml"
HERE = Path(__file__).resolve().parent
CLUSTER = 4  # servers in a cluster, and clients that use them
FORKS = 5  # as Ansible has it


@dataclass
class Cost:
    """What a run cost: seconds of CPU of all its processes, MB of the largest, seconds by the clock, executions.

    ``executions`` counts the modules that each host ran.
    """

    cpu: float
    memory: float
    wall: float
    executions: Counter[str]


@contextlib.contextmanager
def running(servers: int) -> Iterator[Fleet]:
    """Make a fleet with so many servers, and as many client hosts, and end it."""
    with tempfile.TemporaryDirectory(prefix="pgops-scale-", dir="/tmp") as directory:  # short, for the socket
        fleet = Fleet(servers, Path(directory) / "fleet")
        fleet.prepare()
        answers = subprocess.Popen(
            [sys.executable, str(HERE / "answers.py"), str(fleet.directory)], env=fleet.environment
        )
        try:
            while not (fleet.directory / "socket").exists():
                if answers.poll() is not None:
                    raise RuntimeError("what answers for the hosts did not start")
                time.sleep(0.05)
            yield fleet
        finally:
            answers.kill()
            answers.wait()


class Fleet:
    """So many servers, and as many client hosts. ``running`` makes it."""

    def __init__(self, servers: int, directory: Path) -> None:
        self.servers = [f"db{number}.example.com" for number in range(1, servers + 1)]
        self.clients = [f"app{number}.example.com" for number in range(1, servers + 1)]
        self.directory = directory
        self.inventory = directory / f"inventory-{servers}.yml"

    def prepare(self) -> None:
        """Write the inventory, and put a link to the stand-in in place of Python for each host."""
        (self.directory / "bin").mkdir(parents=True)
        program = (HERE / "standin.pl").read_text(encoding="utf-8")
        (self.directory / "standin").write_text(f"#!/usr/bin/perl\n{program}", encoding="utf-8")
        (self.directory / "standin").chmod(0o755)
        for host in (*self.servers, *self.clients):
            (self.directory / "bin" / host).symlink_to("../standin")
        self.write_inventory()

    def part(self, servers: int) -> Fleet:
        """Return the same fleet with only the first servers and clients in its inventory."""
        found = Fleet(servers, self.directory)
        found.write_inventory()
        return found

    def write_inventory(self) -> None:
        """Write the inventory."""
        self.inventory.write_text(json.dumps(self._inventory()), encoding="utf-8")

    def first(self) -> Cost:
        """Run site.yml for the first time, without asking hosts whether they have TLS from other authorities."""
        return self.site("--extra-vars=postgres_ca_lost=true")

    def site(self, *options: str) -> Cost:
        """Run site.yml."""
        return self._playbook(SITE, *options)

    def floor(self, executions: Counter[str]) -> Cost:
        """Run plays with as many modules on the same hosts, which do nothing: the least that Ansible costs."""
        path = self.directory / "floor.yml"
        path.write_text(json.dumps(self._floor(executions)), encoding="utf-8")
        return self._playbook(path)

    def _playbook(self, path: Path, *options: str) -> Cost:
        executed, started = self._executions(), time.monotonic()
        argv = [sys.executable, "-m", "ansible", "playbook", f"-i{self.inventory}", str(path)]
        with (self.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [*argv, *options], cwd=self.directory, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
            _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{path} failed:\n{self.output[-5000:]}")
        wall, memory = time.monotonic() - started, used.ru_maxrss / 1024
        return Cost(used.ru_utime + used.ru_stime, memory, wall, self._executions() - executed)

    @property
    def output(self) -> str:
        """Return what the last run printed."""
        return (self.directory / "output").read_text(encoding="utf-8")

    def _executions(self) -> Counter[str]:
        lines = (self.directory / "executions").read_text(encoding="utf-8").splitlines()
        return Counter(line.split()[0] for line in lines)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of Ansible, and of what answers."""
        return {
            **os.environ,
            "ANSIBLE_BECOME": "0",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_FORKS": str(FORKS),
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "PYTHONPATH": os.pathsep.join([str(COLLECTIONS), os.environ.get("PYTHONPATH", "")]),
        }

    def _inventory(self) -> dict[str, Any]:
        everywhere = {
            "ansible_become": False,
            "ansible_connection": "local",
            "postgres_ca_directory": str(self.directory / "postgres-ca"),
        }
        clusters, clients = {}, {}
        for first in range(0, len(self.servers), CLUSTER):
            name = f"cluster{first // CLUSTER + 1}"
            clusters[name] = {"hosts": {host: self._host(host) for host in self.servers[first : first + CLUSTER]}}
            identity = {"role": "app", "os_user": "shop", "databases": ["shop"], "servers": [name]}
            for host in self.clients[first : first + CLUSTER]:
                clients[host] = {**self._host(host), "postgres_client_identities": [identity]}
        groups = {"postgres_servers": {"children": clusters}, "postgres_clients": {"hosts": clients}}
        return {"all": {"vars": everywhere, "children": groups}}

    def _host(self, name: str) -> dict[str, Any]:
        return {"ansible_python_interpreter": str(self.directory / "bin" / name)}

    def _floor(self, executions: Counter[str]) -> list[dict[str, Any]]:
        counts = {"localhost": 1}
        for group, hosts in (("postgres_servers", self.servers), ("postgres_clients", self.clients)):
            found = {executions[host] for host in hosts}
            if len(found) != 1:
                raise RuntimeError(f"hosts of {group} ran different numbers of modules: {sorted(found)}")
            counts[group] = found.pop()
        return [
            {
                "name": f"Do nothing on {group}",
                "hosts": group,
                "gather_facts": False,
                "tasks": [{"name": f"Do nothing, {number}", "ansible.builtin.ping": {}} for number in range(count)],
            }
            for group, count in counts.items()
        ]
