# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's console: found by its Unix socket, asked in PostgreSQL's protocol as the OS user of the process.

That user is the administrator of its own process without a password, whatever ``auth_type`` says. No client program is
needed.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import struct
from typing import Mapping, NamedTuple, Tuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, UnreachableError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, account_of
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire

# Where packages put the socket. /tmp, PgBouncer's own default, is not searched: anybody could put a socket there while
# it is down, and would be given its certificates.
SOCKET_DIRECTORIES = ("/var/run/postgresql", "/run/postgresql", "/var/run/pgbouncer", "/run/pgbouncer")
OLDEST = (1, 18)
TIMEOUT = 10.0  # seconds for an answer
_STARTUP = b"user\0pgbouncer\0database\0pgbouncer\0\0"
_PROTOCOL_3 = 196608
_CLOSED = "it closed the connection"
_OWN = "pgbouncer"  # the console's database
_IDENTITY = ("ptr", "connect_time", "remote_pid")  # what tells connections to PostgreSQL apart
_SETTLED = ("active", "idle", "used", "tested")  # states of one that has logged in

Row = Mapping[str, str]  # of an answer, by its columns
Connection = Tuple[str, ...]


class Place(NamedTuple):
    """Where a PgBouncer is: its socket, its port, and the OS user that owns the socket."""

    path: str
    port: int
    account: Account

    def __str__(self) -> str:
        """Return what it is called in messages."""
        return f"PgBouncer on port {self.port} (socket {self.path})"


def locate(port: int, socket_directory: str | None) -> Place:
    """Find the PgBouncer that listens on ``port`` by its Unix socket. Raises TlsError when there is none."""
    for directory in [socket_directory] if socket_directory else SOCKET_DIRECTORIES:
        path = os.path.join(directory, f".s.PGSQL.{port}")
        with contextlib.suppress(OSError, ValueError):  # ValueError: a NUL in the path
            found = os.stat(path)
            if stat.S_ISSOCK(found.st_mode):
                return Place(path, port, account_of(found.st_uid))
    searched = shown(socket_directory) if socket_directory else ", ".join(SOCKET_DIRECTORIES)
    raise UnreachableError(
        f"No PgBouncer was found on port {port}: there is no socket .s.PGSQL.{port} in {searched}.",
        remedy=f"Start it, correct {option('port')}, or name the directory in unix_socket_dir of its configuration in "
        f"{option('login_unix_socket')}.",
        code="pooler_not_found",
    )


class Console:
    """One session with the console; it is opened with the effective ids of that time, which must be the process's."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._connection: socket.socket | None = None

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def directory(self) -> str:
        """Return the working directory of the process, '' if that is not known: relative paths begin there."""
        with contextlib.suppress(OSError):
            connection = self._connection or self._connect()
            size = struct.calcsize("3i")
            pid, _uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            if os.stat(f"/proc/{pid}").st_uid == self.place.account.uid:  # else it is who made the socket for it
                return os.readlink(f"/proc/{pid}/cwd")
        return ""

    def rows(self, command: str) -> list[dict[str, str]]:
        """Return what a command answers, a dictionary for each row. Raises TlsError."""
        try:
            connection = self._connection or self._connect()
            connection.sendall(_message(b"Q", command.encode() + b"\0"))
            return self._answer(connection, command)
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        except TlsError:
            self.close()
            raise

    def version(self) -> tuple[int, int]:
        """Return the version, as (1, 24). Raises TlsError for one that is too old."""
        text = " ".join(value for row in self.rows("SHOW VERSION") for value in row.values())
        found = re.search(r"PgBouncer (\d+)\.(\d+)", text)
        if found is None or (int(found[1]), int(found[2])) < OLDEST:
            raise TlsError(
                f"{self.place}: SHOW VERSION says {shown(text)}, expected PgBouncer 1.18 or later.",
                remedy=f"Upgrade PgBouncer, or correct {option('port')} if this is something else.",
                code="pooler_version_unsupported",
            )
        return int(found[1]), int(found[2])

    def config(self) -> dict[str, str]:
        """Return all settings in force; they are all that this version knows."""
        return {row.get("key", ""): row.get("value", "") for row in self.rows("SHOW CONFIG")}

    def reload(self) -> str:
        """Ask for a reload; return what is wrong with it, where PgBouncer says so (from 1.25). Raises TlsError."""
        try:
            self.rows("RELOAD")
        except TlsError as error:
            if error.code != "pooler_console_refused":
                raise
            return error.fault
        return ""

    def try_to_reload(self) -> None:
        """Ask for a reload, if there is a PgBouncer: what starts later reads the files anyway."""
        with contextlib.suppress(TlsError):
            self.reload()

    def servers(self) -> dict[Connection, Row]:
        """Return the connections to PostgreSQL."""
        return {tuple(row.get(name, "") for name in _IDENTITY): row for row in self.rows("SHOW SERVERS")}

    def waiting(self) -> int:
        """Return how many clients wait for a connection to PostgreSQL."""
        rows = [row for row in self.rows("SHOW POOLS") if row.get("database") != _OWN]
        return sum(int(row.get("cl_waiting") or 0) for row in rows)

    def connected(self) -> list[str]:
        """Return the databases with connections to PostgreSQL."""
        rows = [row for row in self.rows("SHOW DATABASES") if row["name"] != _OWN]
        return [row["name"] for row in rows if row.get("current_connections", "0") not in ("", "0")]

    def reconnect(self, database: str) -> None:
        """Have the connections of a database replaced, those in use when their transaction or session ends."""
        self.rows('RECONNECT "{}"'.format(database.replace('"', '""')))

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        self._connection = connection
        connection.settimeout(TIMEOUT)
        connection.connect(self.place.path)
        connection.sendall(struct.pack("!ii", len(_STARTUP) + 8, _PROTOCOL_3) + _STARTUP)
        self._answer(connection, "the login")
        return connection

    def _answer(self, connection: socket.socket, what: str) -> list[dict[str, str]]:
        names: list[str] = []
        found, fault = [], ""
        while True:
            kind, body = _received(connection)
            if kind == b"T":
                names = _names(body)
            elif kind == b"D":
                found.append(dict(zip(names, _values(body))))
            elif kind == b"E":
                fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
                fault = fields.get(b"M", "an error without a message")
            if kind == b"Z" or (kind == b"E" and what == "the login"):
                break
            if kind == b"R" and body[:4] != b"\0\0\0\0":
                fault = "it asks for a password, expected none for the OS user of its process"
                break
        if fault:
            raise UnreachableError(
                f"{self.place}: {what} as OS user {self.place.account.name!r} failed: {fault}.",
                remedy="The console must accept user pgbouncer over the Unix socket from the OS user that runs it.",
                code="pooler_console_refused",
            )
        return found

    def _unreachable(self, error: OSError) -> TlsError:
        return UnreachableError(
            f"{self.place}: the console gives no answer: {error.strerror or error}.",
            remedy="PgBouncer must be running and not be stopped or suspended. Then rerun.",
            code="pooler_not_answering",
        )


def is_plain(row: Row) -> bool:
    """Return whether a connection to PostgreSQL has logged in without TLS over TCP."""
    return row.get("state") in _SETTLED and not row.get("tls") and row.get("addr", "") not in ("", "unix")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _received(connection: socket.socket) -> tuple[bytes, bytes]:
    head = wire.exactly(connection, 5, _CLOSED)
    return head[:1], wire.exactly(connection, max(0, struct.unpack("!i", head[1:])[0] - 4), _CLOSED)


def _names(body: bytes) -> list[str]:
    """Return the names in a RowDescription: each ends with a zero, and 18 bytes about the column follow."""
    names, at = [], 2
    while at < len(body):
        end = body.index(b"\0", at)
        names.append(body[at:end].decode("utf-8", "replace"))
        at = end + 19
    return names


def _values(body: bytes) -> list[str]:
    """Return the values in a DataRow, '' for NULL."""
    values, at = [], 2
    while at < len(body):
        size = struct.unpack("!i", body[at : at + 4])[0]
        values.append(body[at + 4 : at + 4 + max(0, size)].decode("utf-8", "replace"))
        at += 4 + max(0, size)
    return values
