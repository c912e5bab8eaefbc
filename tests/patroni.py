# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Patroni with etcd and two members on this machine, all on loopback ports and as one OS user."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ACCOUNT = "postgres"
PREFIX = "pgtls-patroni-"
SECRET = "never-to-be-seen-4711"
RULES = """\
  pg_hba:
  # who may do what
  - local   all             all                                     trust
  - 'host   replication     replicator      127.0.0.1/32            trust'
  - "host   all             postgres        127.0.0.1/32            trust"
#  - host    all             all             10.0.0.0/8              md5
"""
CONFIG = """\
scope: shop
name: {name}
restapi:
  listen: 127.0.0.1:{api}
  connect_address: 127.0.0.1:{api}
etcd3:
  hosts: 127.0.0.1:{etcd}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    postgresql:
      use_pg_rewind: false
  initdb:
  - encoding: UTF8
  - locale: C
  - no-sync
postgresql:
  # one machine, several members
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  use_unix_socket: true
  data_dir: {home}/data # of this member alone
  bin_dir: {programs}
  pgpass: {home}/pgpass
  authentication:
    replication:
      username: replicator
      password: "{secret}"
    superuser:
      username: postgres
{rules}  parameters:
    unix_socket_directories: {home}
    fsync: 'off'
    max_connections: 40
    shared_buffers: 16MB
    log_line_prefix: ''
"""


def ports(number: int) -> list[int]:
    """Return TCP ports of 127.0.0.1 that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _number in range(number)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def until(holds: Callable[[], Any], what: Callable[[], str], seconds: float = 60.0) -> None:
    """Wait until something holds, else fail with what is there."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@dataclass
class Supervised:
    """A program and all that it starts; it ends with the tests, however they end."""

    log_path: Path
    processes: list[Any] = field(default_factory=list)

    def run(self, *command: object) -> None:
        reaper = Path(__file__).with_name("reaper.py")
        argv = [sys.executable, str(reaper), "setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups"]
        with self.log_path.open("ab") as log:
            started = subprocess.Popen(
                [*argv, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/nonexistent"},
            )
        self.processes.append(started)

    def end(self) -> None:
        """Kill everything that runs."""
        for one in self.processes:
            one.terminate()
            one.wait()
        self.processes.clear()


@dataclass
class Member:
    """One PostgreSQL and its Patroni; has what tests ask of a cluster."""

    name: str
    home: Path
    programs: Path
    port: int
    api: int
    etcd: int
    account: str = ACCOUNT
    supervised: Supervised = field(init=False)

    def __post_init__(self) -> None:
        self.supervised = Supervised(self.log_path)
        self.home.mkdir()
        self.give(self.home, 0o755)
        self.log_path.touch()
        self.configure(self.text())

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def config(self) -> Path:
        return self.home / f"{self.name}.yml"

    @property
    def socket_directory(self) -> str:
        return str(self.home)

    @property
    def log_path(self) -> Path:
        return self.home / "log"

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def text(self, rules: str = RULES) -> str:
        """Return patroni.yml as it is before anything is managed."""
        programs, secret = self.programs, SECRET
        given = {"name": self.name, "home": self.home, "port": self.port, "api": self.api, "etcd": self.etcd}
        return CONFIG.format(**given, programs=programs, secret=secret, rules=rules)

    def give(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        os.chown(path, pwd.getpwnam(ACCOUNT).pw_uid, pwd.getpwnam(ACCOUNT).pw_gid)

    def configure(self, text: str) -> None:
        """Write patroni.yml as Debian does: of the OS user, and of nobody else's business."""
        self.config.write_text(text, encoding="utf-8")
        self.give(self.config, 0o660)

    def start(self) -> None:
        self.supervised.run("patroni", self.config)

    def stop(self) -> None:
        """Kill Patroni and PostgreSQL, if they run."""
        self.supervised.end()

    def start_again(self) -> None:
        """Restart Patroni alone; PostgreSQL continues, and so does a leader, whose key lives longer than that takes."""
        with contextlib.suppress(ValueError):
            pid = self.pid()
            os.kill(pid, signal.SIGKILL)
            until(lambda: not Path(f"/proc/{pid}").exists(), self.log)
        self.start()
        until(self.is_running, self.log)

    def pid(self) -> int:
        """Return the process of Patroni."""
        command = f"\0{self.config}\0".encode()
        found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _content(path).endswith(command)]
        return min(int(path.parent.name) for path in found if b"reaper" not in _content(path))

    def ask(self, path: str = "patroni", **changes: Any) -> dict[str, Any]:
        """Return what the REST API says, {} if it does not answer; ``changes`` go into the cluster's configuration."""
        connection = self._connection()
        with contextlib.closing(connection), contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("PATCH" if changes else "GET", f"/{path}", json.dumps(changes) if changes else None)
            return dict(json.loads(connection.getresponse().read()))
        return {}

    def _connection(self) -> http.client.HTTPConnection:
        """Return a connection as patroni.yml has it, with TLS or without, and with the client certificate there."""
        found = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        if not found["restapi"].get("certfile"):
            return http.client.HTTPConnection("127.0.0.1", self.api, timeout=10)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        ctl = found.get("ctl") or {}
        with contextlib.suppress(OSError, KeyError):
            context.load_cert_chain(ctl["certfile"], ctl["keyfile"])
        return http.client.HTTPSConnection("127.0.0.1", self.api, timeout=10, context=context)

    def is_running(self) -> bool:
        return bool(self.ask().get("state") == "running")

    def is_leader(self) -> bool:
        return self.is_running() and self.ask()["role"] in ("master", "primary", "leader")

    def reload(self) -> None:
        """Have Patroni read its file, and wait until it has had PostgreSQL reload."""
        before = self.log().count("received SIGHUP")
        os.kill(self.pid(), signal.SIGHUP)
        until(lambda: self.log().count("received SIGHUP") > before, self.log)

    def psql(self, sql: str, user: str = "postgres") -> str:
        argv = ["runuser", "-u", ACCOUNT, "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket_directory]
        argv += ["-p", str(self.port), "-U", user, "-d", "postgres", "-c", sql]
        done = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def patronictl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["patronictl", "-c", str(self.config), *arguments], capture_output=True, text=True, cwd="/", check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass
class Team:
    """The members, and the etcd that they share."""

    home: Path
    members: list[Member]

    @property
    def leader(self) -> Member:
        until(lambda: any(one.is_leader() for one in self.members), self.told)
        return next(one for one in self.members if one.is_leader())

    @property
    def replica(self) -> Member:
        leader = self.leader
        return next(one for one in self.members if one is not leader)

    def told(self) -> str:
        return "\n".join(f"{one.name}: {one.log()[-9000:]}" for one in self.members)

    def switch_over(self) -> None:
        """Make the replica the leader, and wait until the other one follows it."""
        old, new = self.leader, self.replica
        old.patronictl("switchover", "shop", "--force", "--candidate", new.name)
        until(lambda: new.is_leader() and old.is_running() and not old.is_leader(), self.told)


def _content(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _sweep() -> None:
    """Remove what an interrupted run left: its processes ended with it."""
    for path in Path("/tmp").glob(f"{PREFIX}*"):
        number = re.match(rf"{PREFIX}(\d+)-", path.name)
        if number and not Path(f"/proc/{number[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Team]:
    """Run etcd and two members; stop and remove them afterwards, whatever happens."""
    _sweep()
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    home.chmod(0o755)
    client, peer, *others = ports(6)
    etcd = Supervised(home / "etcd.log")
    (home / "etcd").mkdir()
    shutil.chown(home / "etcd", ACCOUNT)
    (home / "etcd").chmod(0o700)
    members = [Member(name, home / name, programs, *others[at : at + 2], client) for name, at in (("a", 0), ("b", 2))]
    team = Team(home, members)
    try:
        urls = {"client": f"http://127.0.0.1:{client}", "peer": f"http://127.0.0.1:{peer}"}
        etcd.run(
            "etcd", f"--data-dir={home}/etcd", f"--listen-client-urls={urls['client']}",
            f"--advertise-client-urls={urls['client']}", f"--listen-peer-urls={urls['peer']}",
            f"--initial-advertise-peer-urls={urls['peer']}", f"--initial-cluster=default={urls['peer']}",
        )  # fmt: skip
        until(lambda: "ready to serve client requests" in etcd.log_path.read_text(), etcd.log_path.read_text)
        members[0].start()
        until(members[0].is_leader, team.told)
        members[1].start()
        until(members[1].is_running, team.told)
        yield team
    finally:
        for one in members:
            one.stop()
        etcd.end()
        shutil.rmtree(home, ignore_errors=True)
