# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL cluster per test, in a temporary directory; it needs root or an unprivileged user, never both."""

from __future__ import annotations

import contextlib
import datetime
import glob
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import fault_matrix
from ansible_collections.pgops.tls.tests.clients import Clients, User
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

SERVER_PROGRAMS = "/usr/lib/postgresql/*/bin"
# Who runs the cluster when the tests run as root: PostgreSQL refuses to
ACCOUNT = os.environ.get("SERVER_ACCOUNT", "postgres")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which faults were injected."""
    fault_matrix.print_table(terminalreporter)


def programs() -> Path:
    """Return the directory of the server programs: the one that is named, else the newest. Skip the test if none."""
    if "SERVER_PROGRAMS" in os.environ:
        return Path(os.environ["SERVER_PROGRAMS"])
    found = sorted(glob.glob(SERVER_PROGRAMS), key=lambda path: int(Path(path).parent.name.split(".")[0]))
    if not found:
        pytest.skip(f"no PostgreSQL server programs in {SERVER_PROGRAMS}")
    return Path(found[-1])


def cluster_account() -> str:
    """Return the OS user that runs clusters: the caller, unless it is root."""
    return ACCOUNT if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def run_as(account: str, *argv: object) -> str:
    """Run a command as an OS user, free of the caller's PG* variables, and return its output."""
    prefix = ["runuser", "-u", account, "--"] if os.geteuid() == 0 else []
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": pwd.getpwnam(account).pw_dir}
    finished = subprocess.run(
        [*prefix, *map(str, argv)], capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    assert finished.returncode == 0, f"{argv}: {finished.stdout}{finished.stderr}"
    return finished.stdout


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Cluster:
    """A running cluster. ``home`` (world-readable) holds its data, its socket and its log."""

    home: Path
    programs: Path
    account: str
    port: int = 0

    @property
    def data(self) -> Path:
        """Return the data directory; postgresql.conf, pg_hba.conf and pg_ident.conf are in it."""
        return self.home / "data"

    @property
    def socket_directory(self) -> str:
        return str(self.home)

    @property
    def log_path(self) -> Path:
        return self.home / "log"

    def log(self) -> str:
        """Return everything that the server has logged so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def psql(self, sql: str, user: str = "postgres", database: str = "postgres") -> str:
        """Run SQL over the Unix socket as the cluster's account; return unaligned rows without a closing line end."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket_directory, "-p", self.port]
        return run_as(self.account, *argv, "-U", user, "-d", database, "-c", sql).rstrip("\n")

    def write(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        """Write a file (a path in the data directory or an absolute one) that the cluster's account owns."""
        path = self.data / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        if path.is_symlink():  # to a file with its own owner and mode
            return path
        path.chmod(mode)
        if os.geteuid() == 0:
            shutil.chown(path, self.account, pwd.getpwnam(self.account).pw_gid)
        return path

    def append(self, name: str, text: str) -> None:
        """Add text to a file of the data directory."""
        with (self.data / name).open("a", encoding="utf-8") as stream:
            stream.write(text)

    def hba(self, *rules: str) -> None:
        """Replace pg_hba.conf: the management line over the socket, then ``rules``. Takes effect at the next reload."""
        self.write("pg_hba.conf", "\n".join(["local all all trust", *rules, ""]))

    def serve(self, certificate: Path, key: Path, trusted_clients: Path) -> None:
        """Switch TLS on with copies of these files."""
        self.write("server.crt", certificate.read_bytes())
        self.write("server.key", key.read_bytes())
        self.write("clients.crt", trusted_clients.read_bytes())
        self.append("postgresql.conf", "ssl = on\nssl_ca_file = 'clients.crt'\n")
        self.reload()
        assert "SSL configuration was not reloaded" not in self.log()

    def reload(self) -> None:
        """Ask for a reload and wait until the server has read its files (not until it liked them)."""
        before = self.log().count("received SIGHUP")
        assert self.psql("SELECT pg_reload_conf()") == "t"
        for _attempt in range(1000):
            if self.log().count("received SIGHUP") > before:
                break
            self.psql("SELECT 1")  # a round trip to the postmaster, which handles the signal before it forks
        else:
            pytest.fail("the server did not log the reload")
        self.psql("SELECT 1")

    def start(self, port: int = 0) -> None:
        """Start on this port, or on a free one; tries again when somebody else was faster to take it.

        With several listen_addresses a server starts as soon as it has one of them: without the others a test would be
        refused.
        """
        for _attempt in range(3):
            self.port = port or free_port()
            logged = self.log_path.stat().st_size if self.log_path.exists() else 0
            options = f"-p {self.port} -k {self.socket_directory}"
            argv = [self.programs / "pg_ctl", "-D", self.data, "-l", self.log_path, "-o", options, "-w"]
            with contextlib.suppress(AssertionError):
                run_as(self.account, *argv, "start")
                if b"already in use" not in self.log_path.read_bytes()[logged:]:
                    return
                self.stop()
        raise AssertionError(self.log())

    def stop(self, mode: str = "immediate") -> None:
        """Stop, if it runs."""
        with contextlib.suppress(AssertionError):
            run_as(self.account, self.programs / "pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")


def configuration() -> str:
    """Return what every cluster adds to the postgresql.conf of initdb."""
    return """
listen_addresses = '127.0.0.1'
logging_collector = off
log_line_prefix = ''
log_connections = on
fsync = off
max_connections = 40
shared_buffers = 16MB
max_wal_size = 64MB
"""


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """Make a data directory with initdb, once; clusters are copies of it."""
    account = cluster_account()
    home = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/tmp"))
    try:
        _give(home, account, 0o755)
        options = ["-U", "postgres", "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"]
        run_as(account, programs() / "initdb", "-D", home / "data", "--no-sync", *options)
        with (home / "data" / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write(configuration())
        yield home / "data"
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def running_cluster(template: Path) -> Iterator[Cluster]:
    """Run a cluster on a copy of a data directory; stop and remove it afterwards, whatever happens."""
    account = cluster_account()
    home = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    cluster = Cluster(home, programs(), account)
    try:
        _give(home, account, 0o755)
        run_as(account, "cp", "-a", template, cluster.data)
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def cluster(initialised: Path) -> Iterator[Cluster]:
    """Run a cluster without TLS, on 127.0.0.1 and a Unix socket, that this test alone uses."""
    with running_cluster(initialised) as running:
        yield running


@pytest.fixture
def second_cluster(initialised: Path) -> Iterator[Cluster]:
    """Run another cluster beside the first one."""
    with running_cluster(initialised) as running:
        yield running


@pytest.fixture(scope="module")
def shared_cluster(initialised: Path) -> Iterator[Cluster]:
    """Run a cluster without TLS for all tests of a module."""
    with running_cluster(initialised) as running:
        yield running


@pytest.fixture(scope="module")
def shared_second_cluster(shared_cluster: Cluster, initialised: Path) -> Iterator[Cluster]:
    """Run another cluster for all tests of a module, on the same port of 127.0.0.2, as if on another machine."""
    with running_cluster(initialised) as running:
        running.stop()
        running.append("postgresql.conf", "listen_addresses = '127.0.0.2'\n")
        running.start(shared_cluster.port)
        yield running


@pytest.fixture
def server(cluster: Cluster) -> Iterator[Server]:
    """Give a server that the collection has not seen yet."""
    cluster.psql("CREATE ROLE app LOGIN")
    directory = cluster.home / "tls"
    yield Server(cluster, directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def hardened(server: Server) -> Iterator[Server]:
    """Give a new server whose configuration files belong to root, in a directory that root alone can write."""
    if os.geteuid() != 0:
        pytest.skip("only root has files of root")
    directory = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt"))
    directory.chmod(0o755)
    try:
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            shutil.move(server.cluster.data / name, directory / name)
            (directory / name).chmod(0o640)
            os.chown(directory / name, 0, pwd.getpwnam(server.cluster.account).pw_gid)
            (server.cluster.data / name).symlink_to(directory / name)
        server.configuration = directory
        yield server
    finally:
        server.cluster.stop()
        shutil.rmtree(directory)


@pytest.fixture
def managed(server: Server) -> Server:
    """Give a server that was set up by a first run."""
    server.settle()
    return server


@pytest.fixture
def namesake(managed: Server) -> Server:
    """Give a managed server with a superuser who has the name of the OS user that runs it."""
    if managed.role != managed.cluster.account:
        managed.role = managed.cluster.account
        managed.cluster.psql(f'CREATE ROLE "{managed.role}" LOGIN SUPERUSER')
    return managed


@dataclass
class Authority:
    """A certificate authority made with the openssl command; paths below one directory."""

    directory: Path

    @classmethod
    def made(cls, directory: Path, name: str) -> Authority:
        """Make an authority of this common name."""
        directory.mkdir()
        authority = cls(directory)
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", authority.key, "-out", authority.root,
        )  # fmt: skip
        return authority

    @property
    def root(self) -> Path:
        return self.directory / "root.crt"

    @property
    def key(self) -> Path:
        return self.directory / "root.key"

    def issue(self, name: str, usage: str, names: str = "", days: int = 10) -> tuple[Path, Path]:
        """Return paths of a certificate (``names`` as openssl writes them: DNS:localhost) and its key."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / "request", self.directory / "extensions"
        extensions.write_text(f"extendedKeyUsage = {usage}\n" + (f"subjectAltName = {names}\n" if names else ""))
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
            "-subj", "/CN=" + re.sub(r"([+=/\\])", r"\\\1", name), "-keyout", key, "-out", request,
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.key, "-CAcreateserial",
            "-days", str(days), "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return certificate, key

    def revocation_list(self, *serials: int, days: int = 10) -> str:
        """Return a list (PEM) of revoked certificates."""
        key: Any = load_pem_private_key(self.key.read_bytes(), None)
        start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        builder = x509.CertificateRevocationListBuilder()
        builder = builder.issuer_name(x509.load_pem_x509_certificate(self.root.read_bytes()).subject)
        builder = builder.last_update(start).next_update(start + datetime.timedelta(days=days))
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _openssl(*argv: object) -> None:
    subprocess.run(["openssl", *map(str, argv)], capture_output=True, check=True)


@pytest.fixture(scope="session")
def server_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make the authority for servers' certificates."""
    return Authority.made(tmp_path_factory.mktemp("pki") / "server", "Test server CA")


@pytest.fixture(scope="session")
def client_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make the authority for clients' certificates."""
    return Authority.made(tmp_path_factory.mktemp("pki") / "client", "Test client CA")


@dataclass
class Client:
    """An OS user with a temporary home, and the server that it connects to."""

    name: str
    home: Path
    cluster: Cluster

    def give(self, path: Path, content: bytes, mode: int = 0o600) -> Path:
        """Write a file of this user."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        for one in (path, *path.parents):
            if one == self.home:
                break
            os.chown(one, pwd.getpwnam(self.name).pw_uid, pwd.getpwnam(self.name).pw_gid)
        return path

    def install(self, authority: Authority, role: str, roots: Path) -> None:
        """Put files where module client keeps them."""
        certificate, key = authority.issue(role, "clientAuth")
        current = self.home / ".postgresql" / "pgops" / "current"
        self.give(current / role / "postgresql.crt", certificate.read_bytes())
        self.give(current / role / "postgresql.key", key.read_bytes())
        self.give(current / "root.crt", roots.read_bytes())


@pytest.fixture
def os_user() -> Iterator[tuple[str, Path]]:
    """Make an OS user with a temporary home."""
    if os.geteuid() != 0:
        pytest.skip("making an OS user takes root")
    name, home = f"pgtls{os.getpid()}", Path(tempfile.mkdtemp(prefix="pgtls-home-", dir="/tmp"))
    try:
        subprocess.run(["useradd", "--no-create-home", "--home-dir", str(home), name], check=True)
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        yield name, home
    finally:
        subprocess.run(["userdel", name], check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def client(
    cluster: Cluster, os_user: tuple[str, Path], server_authority: Authority, client_authority: Authority
) -> Client:
    """Set a server and a client up the way the collection does: certificates only, roles app and other."""
    cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    cluster.hba("hostssl all all all cert", "host all all all reject")
    names = "DNS:localhost,IP:127.0.0.1"
    cluster.serve(*server_authority.issue("server", "serverAuth", names), client_authority.root)
    found = Client(*os_user, cluster)
    found.install(client_authority, "app", server_authority.root)
    return found


def _give(path: Path, account: str, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(path, account, pwd.getpwnam(account).pw_gid)


@pytest.fixture(scope="session")
def accounts() -> Iterator[list[User]]:
    """Make two OS users with homes in memory, where fsync costs nothing."""
    base = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    base.chmod(0o755)
    made = [User(f"pgtls{os.getpid()}{letter}", base / letter) for letter in "ab"]
    try:
        for user in made:
            command = ["useradd", "--no-create-home", "--home-dir", str(user.home), "--user-group", user.name]
            subprocess.run(command, check=True, capture_output=True)
        yield made
    finally:
        for user in made:
            subprocess.run(["userdel", user.name], check=False, capture_output=True)
        shutil.rmtree(base)


@pytest.fixture
def users(accounts: list[User]) -> list[User]:
    for user in accounts:
        shutil.rmtree(user.home, ignore_errors=True)
        user.home.mkdir(mode=0o755)
        shutil.chown(user.home, user.name, pwd.getpwnam(user.name).pw_gid)
    return accounts


@pytest.fixture
def alice(users: list[User]) -> User:
    return users[0]


@pytest.fixture
def bob(users: list[User]) -> User:
    return users[1]


@pytest.fixture
def clients(alice: User) -> Clients:
    return Clients(
        {
            "identities": [{"role": "app", "os_user": alice.name, "databases": ["shop"]}],
            "key_type": "P-256",
            "roots": AUTHORITIES["server"].root.pem,
            "issuing": AUTHORITIES["client"].issuing.pem,
            "trusted_clients": AUTHORITIES["client"].issuing.pem + AUTHORITIES["client"].root.pem,
        }
    )
