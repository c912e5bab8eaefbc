# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets of containers over SSH that tests start themselves. The caller of these tests removes the containers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import yaml
from ansible_collections.pgops.tls.tests.containers.running import SSHD, WITHOUT_SYSTEMD
from ansible_collections.pgops.tls.tests.shared import RECAP, ROOT, SITE

MOLECULE = ROOT / "extensions" / "molecule"
EXECUTIONS = "/var/log/remote-executions.log"  # the containers' SSH server writes a line for each command
# Where the image does not say who runs its server, and where the socket is, both are Debian's
_PSQL = """
exec runuser -u "${SERVER_ACCOUNT:-postgres}" -- \\
  psql -XAtq -h "${SERVER_SOCKET:-/var/run/postgresql}" -d postgres -c "$0"
"""
_SETTINGS = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_INJECT_FACT_VARS": "0",
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=auto -o ControlPersist=60s",
}


@dataclass
class Run:
    """What a run of a playbook did: its exit status and output, and what changed on each host."""

    status: int
    output: str
    changed: dict[str, int]
    executions: dict[str, int] = field(default_factory=dict)  # remote ones on each machine that was asked for


class Fleet:
    """Containers, and playbooks on them. The inventory's group ``containers`` says which there are."""

    def __init__(self, folder: Path, inventory: dict[str, Any]) -> None:
        self.folder = folder
        self.inventory = folder / "inventory.json"
        self.declare(inventory)

    def declare(self, inventory: dict[str, Any]) -> None:
        """Have the next runs use this inventory."""
        self.inventory.write_text(json.dumps(inventory), encoding="utf-8")

    def start(self) -> None:
        """Start the containers, in place of those that an interrupted run left."""
        made = self.playbook(MOLECULE / "default" / "create.yml")
        assert made.status == 0, made.output

    def execute(
        self, host: str, *argv: str, user: str = "root", home: str = "", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container, past SSH."""
        command = self.command(host, *argv, user=user, home=home)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)

    def command(self, host: str, *argv: str, user: str = "root", home: str = "") -> list[str]:
        """Return a command line that runs a command in a container."""
        options = ["--interactive", f"--user={user}", *([f"--env=HOME={home}"] if home else [])]
        return ["podman", "exec", *options, f"{os.environ['TEST_PREFIX']}-{host}", *argv]

    def inside(self, host: str, *argv: str, user: str = "root", stdin: str = "") -> str:
        """Return what a command in a container printed; it has to succeed."""
        done = self.execute(host, *argv, user=user, stdin=stdin)
        assert done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def psql(self, host: str, sql: str) -> str:
        """Return what SQL printed on the server of a container, as its superuser."""
        return self.inside(host, "sh", "-c", _PSQL, sql)

    def executed(self, machines: Sequence[str]) -> dict[str, int]:
        """Return how many commands came over SSH to each of these machines so far."""
        return {one: int(self.inside(one, "wc", "-l", EXECUTIONS).split()[0]) for one in machines}

    def playbook(self, path: Path, *options: str, **variables: Any) -> Run:
        """Run a playbook."""
        given = [f"--inventory={self.inventory}", f"--extra-vars={json.dumps(variables)}", *options]
        argv = ["ansible-playbook", *given, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=2400, env=environment())
        return Run(done.returncode, done.stdout + done.stderr, _changed(done.stdout))

    def site(self, *options: str, **variables: Any) -> Run:
        """Run the whole job."""
        return self.playbook(SITE, *options, **variables)

    def jobs(self, limits: Sequence[str], **variables: Any) -> list[Run]:
        """Run the whole job for several parts of the fleet at once, each in a process of ansible-runner.

        What ansible-runner keeps of a job is in ``folder``, below the number of the job.
        """
        folders = [self.folder / f"job{number}" for number in range(len(limits))]
        jobs = []
        for limit, folder in zip(limits, folders):
            (folder / "env").mkdir(parents=True)
            (folder / "env" / "extravars").write_text(json.dumps(variables), encoding="utf-8")
            argv = ["ansible-runner", "run", str(folder), "--ident=job", f"--inventory={self.inventory}"]
            argv += [f"--limit={limit}", f"--playbook={SITE}"]
            jobs.append(subprocess.Popen(argv, stdout=PIPE, stderr=STDOUT, text=True, env=environment()))
        outputs = [job.communicate(timeout=2400)[0] for job in jobs]
        return [Run(job.returncode, output, _changed(output)) for job, output in zip(jobs, outputs)]


def environment() -> dict[str, str]:
    return {**os.environ, **_SETTINGS}


def _changed(output: str) -> dict[str, int]:
    return {host: int(number) for host, number, _unreachable, _failed in RECAP.findall(output)}


def hosts_of(suites: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the variables of hosts, given the suite of each."""
    return {
        host: {"test_suite": suite, **({"test_first_process": SSHD} if suite in WITHOUT_SYSTEMD else {})}
        for host, suite in suites.items()
    }


def grid(corner: str, cells: Mapping[tuple[str, str], str], rows: Iterable[str], columns: Sequence[str]) -> list[str]:
    """Return cells as lines, one for each row."""
    lines = [[corner, *columns], *([row, *(cells.get((row, one), "not tried") for one in columns)] for row in rows)]
    widths = [max(16, *map(len, column)) for column in zip(*lines)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def molecule_variables(group: str) -> Any:
    """Return the variables that a group of the Molecule scenarios' inventory has."""
    return yaml.safe_load((MOLECULE / "inventory" / "group_vars" / f"{group}.yml").read_text(encoding="utf-8"))
