# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of servers that are in use: programs of OS users that connect as they always did, whatever changes."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 600  # rounds of a loop that nobody stops


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

    def connect(self) -> str:
        """Connect as that OS user, whose files libpq finds; return '' if that works, else what psql says."""
        home = pwd.getpwnam(self.os_user).pw_dir
        quoted = (f"{name}='{value}'" for name, value in (*self.parameters, ("gssencmode", "disable")))
        query = "IDENTIFY_SYSTEM" if "replication" in dict(self.parameters) else "SELECT 1"
        done = subprocess.run(
            ["runuser", "-u", self.os_user, "--", "psql", "-XAtqw", " ".join(quoted), "-c", query],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C", "PGCONNECT_TIMEOUT": "20"},
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
        for _round in range(LONGEST):
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
        yield int(forwarder.server_address[1])
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
