# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of servers that are in use: programs of OS users that connect as they always did, whatever changes."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST_RUN = 600  # rounds of a loop that nobody stops
WITHOUT_RULES = {"postgres_server_plaintext": "allow", "postgres_server_hba": []}
WITH_RULES = {"postgres_server_plaintext": "allow"}
REMOVE = [{"ansible.builtin.import_playbook": "pgops.tls.remove"}]
CLIENT_PLAYBOOK = [
    {
        "hosts": "postgres_clients",
        "gather_facts": False,
        "become": True,
        "roles": ["pgops.tls.postgres_ca", "pgops.tls.postgres_client"],
    }
]
CONFIGURATION_FILES = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")


@dataclass(frozen=True)
class Client:
    """A program: its name in messages, its OS user, how it connects. Plaintext is what is to be refused in the end."""

    name: str
    os_user: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def is_plaintext(self) -> bool:
        """Return whether it never uses TLS, although it connects by TCP."""
        return dict(self.parameters).get("sslmode") == "disable"

    @property
    def command(self) -> list[str]:
        """Return psql as that OS user."""
        quoted = (f"{name}='{value}'" for name, value in (*self.parameters, ("gssencmode", "disable")))
        return ["runuser", "-u", self.os_user, "--", "psql", "-XAtqw", " ".join(quoted)]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of psql, whose home has the files that libpq finds."""
        home = pwd.getpwnam(self.os_user).pw_dir
        return {"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C", "PGCONNECT_TIMEOUT": "20"}

    def connect(self) -> str:
        """Connect as that OS user; return '' if that works, else what psql says."""
        query = "IDENTIFY_SYSTEM" if "replication" in dict(self.parameters) else "SELECT 1"
        done = subprocess.run(
            [*self.command, "-c", query], capture_output=True, text=True, check=False, cwd="/", env=self.environment
        )
        return "" if done.returncode == 0 else done.stderr.strip() or f"psql ends with {done.returncode}"


def outcomes(clients: Sequence[Client]) -> dict[str, str]:
    """Return how each client fares, by its name."""
    return {client.name: client.connect() for client in clients}


@contextlib.contextmanager
def connecting(clients: Sequence[Client]) -> Iterator[Counter[str]]:
    """Let the clients connect again and again, one after the other; give what they said, '' for those let in."""
    stop, said = threading.Event(), Counter[str]()

    def work() -> None:
        for _round in range(LONGEST_RUN):
            for client in clients:
                if stop.is_set():
                    return
                message = client.connect()
                said[f"{client.name}: {message}" if message else ""] += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(60)


@contextlib.contextmanager
def from_address(address: str, port: int) -> Iterator[int]:
    """Give a port of ``address`` at which a server on 127.0.0.1 has clients that come from this address."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port), 10, (address, 0)) as server:
                back = threading.Thread(target=_pump, args=(server, self.request), daemon=True)
                back.start()
                _pump(self.request, server)
                back.join(10)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((address, 0), Forward) as forwarder:
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        try:
            yield int(forwarder.server_address[1])
        finally:
            forwarder.shutdown()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def give(user: str, path: str, content: bytes | str, mode: int = 0o600) -> Path:
    """Write a file below an OS user's home, as its own."""
    entry = pwd.getpwnam(user)
    full = Path(entry.pw_dir) / path
    full.parent.mkdir(exist_ok=True)
    full.write_bytes(content.encode() if isinstance(content, str) else content)
    full.chmod(mode)
    for one in (full, full.parent):
        os.chown(one, entry.pw_uid, entry.pw_gid)
    return full


def client_files(user: str, folder: str, pair: tuple[Path, Path], root: Path | None) -> dict[str, str]:
    """Give an OS user certificate, key and root in a directory of its home; return libpq's parameters for them."""
    sources: dict[str, Any] = {"sslcert": pair[0], "sslkey": pair[1], "sslrootcert": root}
    names = {"sslcert": "postgresql.crt", "sslkey": "postgresql.key", "sslrootcert": "root.crt"}
    return {
        option: str(give(user, f"{folder}/{names[option]}", source.read_bytes()))
        for option, source in sources.items()
        if source is not None
    }


@dataclass
class Adopted:
    """A server, its clients, and how these fared before anything was done."""

    site: Any
    clients: list[Client]
    roots: list[Path] = field(default_factory=list)  # files in which clients hold the root of the server
    variables: dict[str, Any] = field(default_factory=dict)  # of the inventory, in every run
    rules: dict[str, Any] = field(default_factory=dict)  # of the inventory, once clients log in by certificate

    def __post_init__(self) -> None:
        self.before = outcomes(self.clients)
        self.written = {name: (self.site.cluster.data / name).read_text() for name in CONFIGURATION_FILES}

    def remove(self) -> None:
        """Take the way out while the clients connect; at its end everything is as it was before."""
        files = self.site.files()
        self.step("--limit", "all", "--check", "--diff", playbook=REMOVE)
        assert self.site.files() == files
        self.step("--limit", "all", playbook=REMOVE, postgres_server_remove_directory=True)
        self.check()
        assert {name: (self.site.cluster.data / name).read_text() for name in CONFIGURATION_FILES} == self.written
        assert not (self.site.cluster.home / "tls").exists()
        assert not list(self.site.homes.rglob("*pgops*"))

    def step(self, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook while the clients connect; nobody may lose anything by it, or win."""
        refused = (
            variables.get("postgres_server_plaintext", "reject") == "reject"
            and variables.get("playbook") is not CLIENT_PLAYBOOK
        )
        worked = [one for one in self.clients if not self.before[one.name] and not (refused and one.is_plaintext)]
        with connecting(worked) as said:
            done: subprocess.CompletedProcess[str] = self.site.run(
                *options, inventory=self.inventory(), **{**self.variables, **variables}
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(said) == {""}, {one: count for one, count in said.items() if one}
        assert said[""] >= len(worked), "every client has connected while the playbook ran"
        return done

    def inventory(self) -> dict[str, Any]:
        """Return the inventory: the first OS user has an identity, the others' programs go on as they are."""
        found: dict[str, Any] = self.site.inventory()
        [identity] = found["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"]
        identity["databases"] = ["shop"]
        return found

    def check(self, *, plaintext: bool = True) -> None:
        """Compare how all clients fare with how they fared before, and what was written by hand with what is there."""
        lost = {one.name for one in self.clients if one.is_plaintext and not plaintext}
        now = outcomes(self.clients)
        told = {
            name: (before, now[name])
            for name, before in self.before.items()
            if bool(now[name]) != (bool(before) or name in lost)
        }
        assert told == {}, "clients that fare otherwise: before, now"
        for name, text in self.written.items():
            assert without_ours((self.site.cluster.data / name).read_text()) == text

    def foreseen(self, *options: str, **variables: object) -> None:
        """Run in check mode, which changes nothing, and for real: that changes the files that were told."""
        files = self.site.files()
        told = self.step(*options, "--check", "--diff", **variables)
        assert self.site.files() == files
        self.check()
        done = self.step(*options, "--diff", **variables)
        assert headers(told) == headers(done)
        assert headers(done), "there was something to change"


def without_ours(text: str) -> str:
    """Return the text of a configuration file without what the collection has added."""
    text = re.sub(r"^# BEGIN pgops\.tls\n(?:.*\n)*?# END pgops\.tls\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^include_if_exists .*# pgops\.tls\n", "", text, flags=re.MULTILINE)


def headers(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return which files the differences of a run are about."""
    return sorted(set(re.findall(r"^\+\+\+ after: (.*)$", done.stdout, re.MULTILINE)))


def adopt(adopted: Adopted) -> None:
    """Take the steps of the guide."""
    adopted.step("--tags", "always", **WITHOUT_RULES)
    new = (adopted.site.authorities / "server" / "0001" / "root.crt").read_text()
    for path in adopted.roots:  # as ansible.builtin.blockinfile writes it
        path.write_text(f"{path.read_text()}# BEGIN pgops.tls\n{new}# END pgops.tls\n")
    adopted.check()
    adopted.foreseen("--limit", "postgres_servers", **WITHOUT_RULES)
    adopted.check()
    adopted.step(playbook=CLIENT_PLAYBOOK)
    adopted.check()
    adopted.foreseen(**WITH_RULES, **adopted.rules)
    adopted.check()
    done = adopted.step(**adopted.rules)
    assert re.search(r"(\d\d) connections from 1 client hosts?: \1 as expected", done.stdout), done.stdout
    adopted.check(plaintext=False)


def start(cluster: Any, settings: str, rules: str, maps: str = "") -> None:
    """Start a cluster anew with more settings, on both loopback addresses, and rules and maps of its own."""
    cluster.stop("fast")
    cluster.append("postgresql.conf", f"listen_addresses = '127.0.0.1, ::1'\n{settings}")
    cluster.write("pg_hba.conf", rules)
    cluster.write("pg_ident.conf", maps)
    cluster.start()


def make_roles(cluster: Any) -> None:
    """Make the roles and databases that the clients use; every password is ``old``."""
    cluster.psql("SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD 'old'; CREATE ROLE staff")
    cluster.psql("SET password_encryption = 'scram-sha-256'; CREATE ROLE report LOGIN PASSWORD 'old' IN ROLE staff")
    cluster.psql("SET password_encryption = 'scram-sha-256'; CREATE ROLE standby LOGIN REPLICATION PASSWORD 'old'")
    cluster.psql("CREATE DATABASE shop OWNER app")


def client(cluster: Any, name: str, os_user: str, **parameters: str) -> Client:
    """Return a client of the database shop at 127.0.0.1, unless its parameters say otherwise."""
    usual = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(cluster.port), "dbname": "shop"}
    if "replication" in parameters:
        del usual["dbname"]
    merged = {**usual, **parameters}
    return Client(name, os_user, tuple((key, value) for key, value in merged.items() if value))


def refused(adopted: Adopted) -> list[str]:
    """Return who could not connect before."""
    return sorted(name for name, said in adopted.before.items() if said)
