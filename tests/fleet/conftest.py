# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule fleet as its tests see it. Molecule starts these tests when the fleet runs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.tests.shared import RECAP

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "extensions" / "molecule" / "inventory"
SERVERS, CLIENTS = ("pg15", "pg17"), ("app1", "app2")
PASSPHRASE = "a passphrase of the test fleet"  # the one of the inventory's group_vars
EXECUTIONS = "/var/log/remote-executions.log"


@dataclass
class Run:
    """What a run of a playbook did: its exit status and output; per host what changed and what was executed there."""

    status: int
    output: str
    changed: dict[str, int] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)


class Fleet:
    """Runs commands in the containers, past SSH, and playbooks over SSH."""

    def container(self, host: str) -> str:
        return f"{os.environ['TEST_PREFIX']}-{host}"

    def command(self, host: str, *argv: str, user: str = "root") -> list[str]:
        """Return a command line that runs a command in a container."""
        return ["podman", "exec", "--interactive", f"--user={user}", self.container(host), *argv]

    def inside(self, host: str, *argv: str, user: str = "root", stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in a container."""
        command = self.command(host, *argv, user=user)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)

    def output(self, host: str, *argv: str, user: str = "root") -> str:
        """Return what a command in a container printed; it has to succeed."""
        done = self.inside(host, *argv, user=user)
        assert done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def psql(
        self, host: str, connection: str, sql: str = "SELECT 1", user: str = "web"
    ) -> subprocess.CompletedProcess[str]:
        """Connect from a client as an OS user, as a person at a terminal would."""
        return self.inside(host, "runuser", "-l", user, "-c", f"psql -XAtq '{connection}' -c '{sql}'")

    def playbook(self, *arguments: str, path: str = "playbooks/site.yml") -> Run:
        """Run a playbook on the fleet and count."""
        before = self.executed()
        argv = ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(ROOT / path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)
        after = self.executed()
        return Run(
            status=done.returncode,
            output=done.stdout + done.stderr,
            changed={host: int(changed) for host, changed, _unreachable, _failed in RECAP.findall(done.stdout)},
            executions={host: after[host] - before[host] for host in after},
        )

    def executed(self) -> dict[str, int]:
        """Return how many commands came over SSH to each host so far."""
        return {host: int(self.output(host, "wc", "-l", EXECUTIONS).split()[0]) for host in (*SERVERS, *CLIENTS)}

    def reloads(self) -> dict[str, int]:
        """Return how often each server was told to reload."""
        count = "cat /var/log/postgresql/*-main.log | grep -c 'received SIGHUP'"
        return {host: int(self.inside(host, "sh", "-c", count).stdout) for host in SERVERS}

    def keys(self) -> dict[str, str]:
        """Return inode and time of change of every private key."""
        places = "/etc/postgresql/tls/5432/current /home/*/.postgresql/pgops/current"
        find = f"find -L {places} -name '*.key' -printf '%p %i %T@\\n'"
        return {host: self.inside(host, "sh", "-c", find).stdout for host in (*SERVERS, *CLIENTS)}

    def served(self, server: str) -> str:
        """Return the fingerprint that a server shows to openssl."""
        connect = "openssl s_client -starttls postgres -connect 127.0.0.1:5432 </dev/null 2>/dev/null"
        return self.output(server, "sh", "-c", f"{connect} | openssl x509 -noout -fingerprint")


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """Give the fleet that Molecule has set up."""
    return Fleet()
