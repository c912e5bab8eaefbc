"""A fleet of containers for the benchmark, and playbooks run on it with what they cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CREATE = ROOT / "extensions" / "molecule" / "default" / "create.yml"
SUITE = "trixie"
CLIENTS = ("app1", "app2")
IDENTITIES = [{"role": "app", "os_user": "web"}, {"role": "report", "os_user": "batch"}]
EXECUTIONS = "/var/log/remote-executions.log"
CREATE_ROLES = "CREATE ROLE app LOGIN; CREATE ROLE report LOGIN"


@dataclass
class Cost:
    """What a run cost: seconds of CPU on the controller and on all targets, seconds by the clock, remote executions."""

    controller: float
    targets: float
    wall: float
    executions: dict[str, int]

    @property
    def cpu(self) -> float:
        """Return the seconds of CPU on all machines."""
        return self.controller + self.targets


class Fleet:
    """So many servers and two client hosts; ``start`` makes them, the caller removes them."""

    def __init__(self, servers: int, state: Path) -> None:
        self.servers = [f"db{number}" for number in range(1, servers + 1)]
        self.hosts = [*self.servers, *CLIENTS]
        self.prefix = os.environ["TEST_PREFIX"]
        self.state = state
        self.inventory = state / "inventory.json"

    def start(self) -> None:
        """Start the containers, in place of those of an earlier fleet, and prepare them as a team would have them."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.inventory.write_text(json.dumps(self._inventory()), encoding="utf-8")
        self._playbook(CREATE)
        for server in self.servers:
            self._inside(server, "runuser", "-u", "postgres", "--", "psql", "-XAtqc", CREATE_ROLES)
        for client in CLIENTS:
            for identity in IDENTITIES:
                self._inside(client, "useradd", "--create-home", identity["os_user"])

    def run(self, playbook: Path, *options: str, **variables: Any) -> Cost:
        """Run a playbook as a nightly job would, without a connection that is open already, and measure it."""
        self._close_connections()
        executed, used, started = self._executions(), self._targets(), time.monotonic()
        controller = self._playbook(playbook, *options, **variables)
        wall, targets, executions = time.monotonic() - started, self._targets() - used, self._executions()
        return Cost(controller, targets, wall, {host: executions[host] - executed[host] for host in self.hosts})

    def _playbook(self, playbook: Path, *options: str, **variables: Any) -> float:
        """Run a playbook; return the seconds of CPU of it and of all its processes."""
        argv = ["ansible-playbook", *options, f"--inventory={self.inventory}", f"--extra-vars={json.dumps(variables)}"]
        settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORKS": "5"}
        before = _used()
        done = subprocess.run(
            [*argv, str(playbook)], capture_output=True, text=True, check=False, env={**os.environ, **settings}
        )
        if done.returncode:
            raise SystemExit(f"{playbook} failed:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        return _used() - before

    def _inventory(self) -> dict[str, Any]:
        ssh = "-F none -o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=no"
        ssh += " -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        ssh += ' -o ProxyCommand="podman exec -i %h /usr/sbin/sshd -i"'
        containers = {
            "ansible_host": f"{self.prefix}-{{{{ inventory_hostname }}}}",
            "ansible_user": "ops",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": os.environ["TEST_KEY"],
            "ansible_ssh_args": ssh,
            "test_suite": SUITE,
        }
        everywhere = {
            "test_prefix": self.prefix,
            "test_key": os.environ["TEST_KEY"],
            "postgres_ca_directory": str(self.state / "postgres-ca"),
            "postgres_ca_passphrase": "a passphrase of the benchmark",
            "postgres_client_identities": IDENTITIES,
        }
        groups: dict[str, dict[str, Any]] = {
            "postgres_servers": {"hosts": {name: {} for name in self.servers}},
            "postgres_clients": {"hosts": {name: {} for name in CLIENTS}},
        }
        return {"all": {"vars": everywhere, "children": {"containers": {"vars": containers, "children": groups}}}}

    def _container(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def _inside(self, host: str, *argv: str) -> str:
        command = ["podman", "exec", self._container(host), *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _close_connections(self) -> None:
        for socket in Path(os.environ["ANSIBLE_SSH_CONTROL_PATH_DIR"]).iterdir():
            subprocess.run(["ssh", "-O", "exit", "-S", socket, "any"], check=False, capture_output=True)

    def _executions(self) -> dict[str, int]:
        return {host: int(self._inside(host, "wc", "-l", EXECUTIONS).split()[0]) for host in self.hosts}

    def _targets(self) -> float:
        names = [self._container(host) for host in self.hosts]
        command = ["podman", "stats", "--no-stream", "--format={{.CPUNano}}", *names]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return sum(map(int, found)) / 1e9


def _used() -> float:
    """Return the seconds of CPU of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
