# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real primary with a streaming standby, and the files that the standby's OS user has for replication."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, state
from ansible_collections.pgops.tls.plugins.module_utils.replication import convergence, server
from ansible_collections.pgops.tls.tests.clients import Clients
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server

SECRET = "never-to-be-seen-0815"
ROLE = "replicator"
# A plaintext standby still gets in by the rules of initdb, with a password
HBA = f"hostssl replication {ROLE} all cert\nhostssl all {ROLE} all cert\n"
_PROVEN = """
    SELECT coalesce(max(client_serial::text), '') FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)
     WHERE state = 'streaming'"""


def until(proven: Any, what: str) -> None:
    """Wait until something is as it should be."""
    deadline = time.monotonic() + 20
    while not proven():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def prepare(primary: Any) -> None:
    """Let a primary stream to a standby with a password."""
    primary.psql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD '{SECRET}'")


def conninfo(primary: Any, more: str = "sslmode=disable") -> str:
    return f"host=localhost port={primary.port} user={ROLE} password={SECRET} application_name=s2 {more}"


def copied(primary: Any, standby: Any, run_as: Any) -> None:
    """Replace the data of a running cluster by a base backup of a primary, and have it stream in plaintext."""
    standby.stop()
    shutil.rmtree(standby.data)
    where = ["-h", primary.socket_directory, "-p", primary.port, "-U", "postgres"]
    copy = [primary.programs / "pg_basebackup", *where, "-D", standby.data, "-c", "fast", "--no-sync"]
    run_as(primary.account, *copy)
    follow(standby, primary)


def follow(standby: Any, primary: Any) -> None:
    """Start a stopped cluster as a standby of a primary."""
    standby.write("standby.signal", "")
    with (standby.data / "postgresql.conf").open("a", encoding="utf-8") as stream:
        stream.write(f"primary_conninfo = '{conninfo(primary)}'\nwal_retrieve_retry_interval = '200ms'\n")
    standby.start(standby.port)
    until(lambda: streams(standby), "the standby streams")


def streams(standby: Any) -> bool:
    return bool(standby.psql("SELECT status FROM pg_stat_wal_receiver") == "streaming")


@dataclass
class Replica:
    """A managed primary, a standby that follows it, and the identity of the OS user that both run as."""

    primary: Server
    standby: Any
    home: Path

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "role": ROLE,
            "os_user": self.standby.account,
            "databases": ["replication"],
            "home": str(self.home),
            "default_files": False,
        }

    @property
    def clients(self) -> Clients:
        return Clients(
            {
                "identities": [self.identity],
                "key_type": "P-256",
                "roots": AUTHORITIES["server"].root.pem,
                "issuing": AUTHORITIES["client"].issuing.pem,
                "trusted_clients": AUTHORITIES["client"].issuing.pem + AUTHORITIES["client"].root.pem,
            }
        )

    def file(self, name: str) -> Path:
        return self.home / ".postgresql" / "pgops" / "current" / ROLE / name

    def converge(self, cluster: Any = None, *, check_mode: bool = False, **changes: Any) -> convergence.Outcome:
        """Call the module for the standby, or another cluster; it never says a password."""
        given = {
            "port": (cluster or self.standby).port,
            "login_unix_socket": (cluster or self.standby).socket_directory,
            "login_user": "postgres",
            "role": ROLE,
            "identities": [self.identity],
            **changes,
        }
        outcome = convergence.converge(given, TODAY, check_mode=check_mode)
        assert SECRET not in json.dumps([outcome.changes, outcome.replication])
        return outcome

    def told(self, cluster: Any = None) -> tuple[list[str], list[str]]:
        """Return the findings of module server about the standby, or another cluster, and its warnings."""
        of = cluster or self.standby
        found = state.inspect(psql.locate(of.port, of.socket_directory, "postgres"))
        if found.replication is None:
            return [], []
        facts, warnings = server.told(found, TODAY)
        assert SECRET not in json.dumps([facts, warnings])
        return [code for one in facts["connections"] for code in one["findings"]], warnings

    def serial(self) -> str:
        """Return the certificate's serial number (decimal) that the primary sees of a standby, '' for none."""
        return str(self.primary.cluster.psql(_PROVEN))

    def own_serial(self, result: dict[str, Any]) -> str:
        """Return the serial number of what module client has installed, as PostgreSQL writes it."""
        return str(int(result["identities"][0]["serial"], 16))

    def receiver(self) -> str:
        return str(self.standby.psql("SELECT pid FROM pg_stat_wal_receiver"))

    def written(self) -> str:
        return (self.standby.data / "postgresql.auto.conf").read_text(encoding="utf-8")


def give(path: Path, account: Any) -> None:
    """Give a directory to the OS user."""
    os.chown(path, account.pw_uid, account.pw_gid)
