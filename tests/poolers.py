# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PgBouncer as the tests of its transaction see it: what the module is told, and what there is afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.pooler import convergence, roll_back, target, transaction
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, is_running
from cryptography import x509

ACCOUNT = "postgres"
LOOPBACK = ["localhost", "127.0.0.1"]
SECRET = "never-to-be-seen-0815"
HBA = "hostssl all app all cert map=pooler\nhostnossl all all all reject\nhostnossl replication all all reject\n"
IDENT = "pooler pgbouncer app\n"


def version() -> tuple[int, ...]:
    """Return the version of PgBouncer on this machine, such as (1, 24, 1)."""
    done = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()[1].split(".")))


def sign(
    name: str,
    request: str,
    *,
    names: list[str] | None = None,
    role: str = "pgbouncer",
    start: int = TODAY - 300,
    days: int = 90,
) -> str:
    """Return the chain that is issued for a request of the front or the back."""
    is_front = name == "front"
    authority = AUTHORITIES["server" if is_front else "client"]
    public_key: Any = x509.load_pem_x509_csr(request.encode()).public_key()
    usage = certificate.SERVER_AUTH if is_front else certificate.CLIENT_AUTH
    alternative = tuple(parse_all(names or LOOPBACK, "names")) if is_front else ()
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        usage,
        issuing.Holder("" if is_front else role, alternative),
        public_key,
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


@dataclass
class Pooler:
    """One running PgBouncer in front of a cluster, and the options that the module would get."""

    home: Path
    cluster: Any
    port: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.home / "tls"

    @property
    def ini(self) -> Path:
        return self.home / "pgbouncer.ini"

    def log(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8", errors="replace")

    def write_ini(self, *, database: str = "", before: str = "", after: str = "") -> None:
        """Write the configuration: a database with a password in its line, and more lines before and after ours."""
        way = database or f"host=127.0.0.1 port={self.cluster.port} dbname=postgres user=app"
        text = f"""[databases]
shop = {way} password='{SECRET}'
[pgbouncer]
logfile = {self.home}/log
pidfile = {self.home}/pid
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir = {self.home}
auth_type = trust
auth_file = {self.home}/users
server_login_retry = 1
{before}
; a comment at the end

[users]
app = pool_mode=transaction
{after}"""
        self.give("pgbouncer.ini", text)

    def give(self, name: str, text: str, mode: int = 0o640) -> Path:
        """Write a file of the OS user."""
        path = self.home / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, pwd.getpwnam(ACCOUNT).pw_uid, pwd.getpwnam(ACCOUNT).pw_gid)
        return path

    def start(self) -> None:
        """Start, and wait for the socket."""
        command = ["runuser", "-u", ACCOUNT, "--", "pgbouncer", "-q", "-d", str(self.ini)]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr
        for _attempt in range(200):
            pid, is_there = self.home / "pid", (self.home / f".s.PGSQL.{self.port}").exists()
            if is_there and pid.exists() and pid.read_text().strip():  # else a stop at once would find no process
                return
            time.sleep(0.02)
        raise AssertionError(self.log())

    def pid(self) -> int:
        return int((self.home / "pid").read_text())

    def stop(self) -> None:
        """End it at once, if it runs: which signal it would obey at once depends on its version."""
        with contextlib.suppress(OSError, ValueError):
            pid = self.pid()
            os.kill(pid, signal.SIGKILL)
            while is_running(pid):
                time.sleep(0.005)
        for name in ("pid", f".s.PGSQL.{self.port}"):
            (self.home / name).unlink(missing_ok=True)

    def restart(self) -> None:
        """Restart: a state that was only half right would be fatal now."""
        self.stop()
        self.start()

    def all_options(self, **changes: Any) -> dict[str, Any]:
        """Return what the module would be called with."""
        server, client = AUTHORITIES["server"], AUTHORITIES["client"]
        return {
            "port": self.port,
            "login_unix_socket": str(self.home),
            "config_file": str(self.ini),
            "directory": str(self.directory),
            "names": LOOPBACK,
            "role": "pgbouncer",
            "client_tls_sslmode": "require",
            "settings": {},
            "key_type": "P-256",
            "renew_before": None,
            "roots": server.root.pem,
            "server_issuing": server.issuing.pem,
            "server_revoked": [],
            "trusted_clients": client.issuing.pem + client.root.pem,
            "client_issuing": client.issuing.pem,
            "client_revoked": [],
            "certificates": {},
            "renew": False,
            "on_lockout": "refuse",
            **self.options,
            **changes,
        }

    def converge(
        self,
        *,
        check_mode: bool = False,
        now: int = TODAY,
        kind: type[transaction.Transaction] = transaction.Transaction,
        **changes: Any,
    ) -> transaction.Outcome:
        """Call the transaction once."""
        given = self.all_options(**changes)
        wanted = target.read(given)
        place = given["port"], given["login_unix_socket"]
        return convergence.converge(wanted, *place, now, now, check_mode=check_mode, kind=kind)

    def settle(self, *, start: int = TODAY - 300, **changes: Any) -> transaction.Outcome:
        """Converge with the second call, if certificates are needed."""
        outcome = self.converge(**changes)
        if not outcome.requests:
            return outcome
        names = changes.get("names", LOOPBACK)
        chains = {name: sign(name, csr, names=names, start=start) for name, csr in outcome.requests.items()}
        return self.converge(**changes, certificates=chains)

    def roll_back(self, **changes: Any) -> transaction.Outcome:
        return self.converge(kind=roll_back.RollBack, **changes)

    def served(self) -> str:
        """Return the fingerprint of the leaf that clients see."""
        return wire.observe(wire.Endpoint("127.0.0.1", self.port)).leaf.sha256

    def serial(self, database: str = "shop") -> str:
        """Return which client certificate PostgreSQL sees of a connection through the pooler, '' for none."""
        answer = self.query("SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()", database)
        return answer.decode().strip()

    def query(self, sql: str, database: str = "shop", context: ssl.SSLContext | None = None) -> bytes:
        """Return the value of a query through the pooler, over TLS. Raises AssertionError for an error."""
        with wire.encrypted(wire.Endpoint("127.0.0.1", self.port, 20.0), context) as session:
            return _asked(session, sql, database)

    def plain(self) -> bytes:
        """Return the value of a query through the pooler without TLS. Raises AssertionError for an error."""
        with wire.connected(wire.Endpoint("127.0.0.1", self.port, 20.0)) as session:
            return _asked(session, "SELECT 1", "shop")

    def disk(self) -> dict[str, tuple[Any, ...]]:
        """Return everything of the collection, and the configuration file."""
        found = faults.everything(self.directory) if self.directory.exists() else {}
        found = {name: one for name, one in found.items() if not name.startswith("pending")}
        return {**found, "ini": (self.ini.stat().st_mode, self.ini.stat().st_uid, 0, self.ini.read_bytes())}

    def leaves(self) -> tuple[bytes, bytes]:
        current = self.directory / "current"
        return (current / "server.crt").read_bytes(), (current / "client.crt").read_bytes()


def declare(inventory: dict[str, Any], pooler: Pooler, **variables: object) -> dict[str, Any]:
    """Return an inventory with a pooler in it, pool1."""
    own = {
        "postgres_pooler_port": pooler.port,
        "postgres_pooler_login_unix_socket": str(pooler.home),
        "postgres_pooler_config_file": str(pooler.ini),
        "postgres_pooler_directory": str(pooler.directory),
        "postgres_pooler_names": LOOPBACK,
        **variables,
    }
    return {**inventory, "postgres_poolers": {"hosts": {"pool1": own}}}


def _asked(session: Any, sql: str, database: str) -> bytes:
    options = f"user\0app\0database\0{database}\0\0".encode()
    session.sendall(struct.pack("!ii", len(options) + 8, 196608) + options)
    value = b""
    for step in ("login", "query"):
        if step == "query":
            session.sendall(b"Q" + struct.pack("!i", len(sql) + 5) + sql.encode() + b"\0")
        kind = b""
        while kind != b"Z":
            kind, size = _exactly(session, 1), struct.unpack("!i", _exactly(session, 4))[0]
            body = _exactly(session, size - 4)
            assert kind != b"E", body
            if kind == b"D":
                value = body[6:]
    return value


def _exactly(session: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = session.recv(size - len(data))
        assert part, "closed"
        data += part
    return data


@contextlib.contextmanager
def running(cluster: Any) -> Iterator[Pooler]:
    """Run a PgBouncer without TLS in front of a cluster; stop and remove it afterwards, whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/tmp"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    pooler = Pooler(home, cluster, port)
    try:
        home.chmod(0o755)
        shutil.chown(home, ACCOUNT, pwd.getpwnam(ACCOUNT).pw_gid)
        pooler.give("users", f'"app" "{SECRET}"\n')
        pooler.write_ini()
        pooler.start()
        yield pooler
    finally:
        pooler.stop()
        shutil.rmtree(home, ignore_errors=True)
