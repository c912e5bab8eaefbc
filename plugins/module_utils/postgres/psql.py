# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to a PostgreSQL server as its administrator: psql over the Unix socket, as the server's own OS user."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import stat
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, UnreachableError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.files import read
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, account_of, find, run

# Where packages put the socket. PostgreSQL's own default, /tmp, is not searched: anybody could put a socket there while
# the server is down, and would be given the server's certificate.
SOCKET_DIRECTORIES = ("/var/run/postgresql", "/run/postgresql")
CONNECT_TIMEOUT = 10  # seconds that a server may take to let a session in
# How the modules that ask a server reach it; doc fragment login describes these options
LOGIN_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "port": {"type": "int", "default": 5432},
    "login_unix_socket": {"type": "path"},
    "login_user": {"type": "str"},
}


# A session's own statement is logged as LOG, like a refused reload, whatever statements the server is to log. Which
# language the log has is seen in the description of a setting: locales without texts speak English, and C.UTF-8 may
# speak any language. A session whose role or database has a language of its own shows nothing of the main process.
_MARK = """
    SET log_statement = 'all';
    SELECT json_build_object('file', pg_current_logfile(), 'destination', current_setting('log_destination'),
             'is_english', (
               SELECT bool_and(CASE name WHEN 'ssl' THEN short_desc = 'Enables SSL connections.'
                                    ELSE source NOT IN ('database', 'user', 'database user', 'client') END)
                 FROM pg_settings WHERE name IN ('ssl', 'lc_messages')))
      FROM (VALUES ('{mark}')) AS pgops_tls (mark)"""


class LogMark(NamedTuple):
    """What the session that marked the log saw: the collector's file (None: there is none), and where else it goes.

    ``is_english``: what the log says can be recognized by its words.
    """

    file: str | None
    destination: str
    is_english: bool


class Administrator(NamedTuple):
    """How to reach a server: socket directory, port, role, the OS user that the server runs as, psql and process id."""

    socket_directory: str
    port: int
    role: str
    account: Account
    psql: str
    pid: int

    @property
    def target(self) -> str:
        """Return what the server is called in messages."""
        return f"the PostgreSQL server on port {self.port} (socket in {self.socket_directory})"

    def again(self) -> Administrator:
        """Return the same server as it may be after a restart, with another process id."""
        return self._replace(pid=_postmaster(os.path.join(self.socket_directory, f".s.PGSQL.{self.port}")))

    def query(self, sql: str) -> Any:
        """Return the value of a query that gives one JSON value (None for NULL). Raises TlsError."""
        output = self._psql(sql).strip()
        return json.loads(output) if output else None

    def reload(self) -> None:
        """Ask the server to read its files again. That it was asked proves nothing: see server.proof."""
        self._psql("SELECT to_json(pg_reload_conf())")

    def signal_reload(self) -> None:
        """Tell the server to read its files again by a signal: rules that lock this module out cannot stop that."""
        try:
            if os.stat(f"/proc/{self.pid}").st_uid != self.account.uid:  # the lock file that names it may be old
                raise ProcessLookupError(errno.ESRCH, "it is not the server's process")
            os.kill(self.pid, signal.SIGHUP)
        except OSError as error:
            raise TlsError(
                f"{self.target}: process {self.pid} could not be reloaded: {error.strerror}.",
                remedy="Reload it by hand.",
                code="reload_failed",
            ) from error

    def try_to_signal(self) -> None:
        """Tell the server to read its files again, if there is one: who starts later reads them anyway."""
        with contextlib.suppress(TlsError):
            self.signal_reload()

    def mark_log(self, mark: str) -> LogMark:
        """Have a line with ``mark`` written to the server's log, behind all that it said before. Raises TlsError."""
        found = json.loads(self._psql(_MARK.format(mark=mark), language=""))
        return LogMark(**found)

    def _psql(self, sql: str, language: str = "-c lc_messages=C") -> str:
        done = run(
            [
                self.psql, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password",
                "--set=ON_ERROR_STOP=1", f"--host={self.socket_directory}", f"--port={self.port}",
                f"--username={self.role}", "--dbname=postgres",
            ],
            user=self.account,
            stdin=sql,
            environment={
                "PGAPPNAME": "pgops.tls",
                "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
                "PGOPTIONS": f"-c statement_timeout=30s {language}",
            },
            timeout=60.0,
        )  # fmt: skip
        if done.status != 0:
            raise UnreachableError(
                f"{self.target}: psql as OS user {self.account.name!r} and role {shown(self.role)} failed: "
                f"{_last_line(done.errors)}.",
                remedy="The server must be running, and pg_hba.conf must let this role in over the "
                f"socket (local ... peer); {option('login_user')} and {option('login_unix_socket')} choose "
                "another way.",
                code="login_failed",
            )
        return done.output


def locate(port: int, socket_directory: str | None, role: str | None) -> Administrator:
    """Find the server that listens on ``port`` by its Unix socket.

    The owner of the socket is the OS user that the server runs as; ``role`` defaults to its name. Raises TlsError
    when there is no such socket.
    """
    for directory in [socket_directory] if socket_directory else SOCKET_DIRECTORIES:
        path = os.path.join(directory, f".s.PGSQL.{port}")
        try:
            found = os.stat(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            continue
        if stat.S_ISSOCK(found.st_mode):
            account = account_of(found.st_uid)
            pid = _postmaster(path)
            return Administrator(directory, port, role or account.name, account, _psql_path(pid, account), pid)
    searched = shown(socket_directory) if socket_directory else ", ".join(SOCKET_DIRECTORIES)
    remedy = (
        f"Something listens on port {port} of this host, so the server may have its socket elsewhere, or none "
        "(unix_socket_directories = ''); this module talks to a server over its socket alone. Name the directory of "
        f"the socket in {option('login_unix_socket')}, or set unix_socket_directories and restart the server."
        if _listens(port)
        else "Start the server, correct the port, or name the directory of its socket in "
        f"{option('login_unix_socket')}."
    )
    raise UnreachableError(
        f"No PostgreSQL server was found on port {port}: there is no socket .s.PGSQL.{port} in {searched}.",
        remedy=remedy,
        code="server_not_found",
    )


def _listens(port: int) -> bool:
    """Return whether somebody takes TCP connections on this port of this host."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0):
            return True
    except OSError:
        return False


def _postmaster(socket_path: str) -> int:
    """Return the process id of the server, from the lock file beside its socket; 0 when it cannot be read."""
    try:
        return int((read(f"{socket_path}.lock") or b"0").split(b"\n", 1)[0])
    except (OSError, ValueError):
        return 0


def _psql_path(pid: int, account: Account) -> str:
    """Return the psql beside the server's own executable (it fits the server, and is no wrapper script).

    A container's root is not allowed to read that link; the user who runs the server is.
    """
    try:
        with acting_as(account) if os.geteuid() == 0 else contextlib.nullcontext():
            beside = os.path.join(os.path.dirname(os.readlink(f"/proc/{pid}/exe")), "psql")
    except OSError:
        beside = ""
    return beside if beside and os.access(beside, os.X_OK) else find("psql", "to ask the PostgreSQL server")


def _last_line(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip() and not line[0].isspace()]  # no explanations
    reason = next((line for line in lines if "ERROR" in line or "FATAL" in line), lines[-1] if lines else "no message")
    return reason.rstrip(".")
