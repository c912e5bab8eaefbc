# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New connections for replication without a restart of the server, each proven, or else taken back."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Callable, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY, Connection
from ansible_collections.pgops.tls.plugins.module_utils.replication.plan import Step

_PATIENCE = 20.0  # seconds beside wal_retrieve_retry_interval, which a server waits before it connects again
_PAUSE = 0.2  # seconds between looks
# Passwords may be in what is written, and are not to come into the server's log
_QUIET = "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;"
_RECEIVER = """
    SELECT json_build_object('pid', pid, 'status', status, 'conninfo', conninfo)
      FROM pg_stat_wal_receiver"""
_WORKER = """
    SELECT json_build_object('pid', pid, 'status', 'running')
      FROM pg_stat_subscription JOIN pg_subscription ON subid = oid JOIN pg_database ON pg_database.oid = subdbid
     WHERE datname || '/' || pg_subscription.subname = {name} AND relid IS NULL AND pid IS NOT NULL
       AND to_json(pg_stat_subscription)->>'leader_pid' IS NULL"""
_SETTLED = {STANDBY: "streaming"}


class Written(NamedTuple):
    """primary_conninfo before a change: by ALTER SYSTEM (None: not there), and how long a server waits to try again."""

    by_alter_system: str | None
    retry_interval: float


_WRITTEN = """
    SELECT json_build_object(
      'by_alter_system', (
        SELECT setting FROM pg_file_settings
         WHERE name = 'primary_conninfo' AND sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1),
      'retry_interval', (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'))"""


class Reconnecting:
    """Has one server connect anew."""

    def __init__(self, administrator: Administrator) -> None:
        self._administrator = administrator
        self._written = Written(**administrator.query(_WRITTEN))

    def make(self, step: Step) -> None:
        """Take a step, which a trial has shown to work. Raises TlsError where the new connection is not proven."""
        if step.is_new:
            self._rewrite(step)
        else:
            self._end(step.connection)
            self._prove(step)

    def _rewrite(self, step: Step) -> None:
        """Write primary_conninfo; without proof, restore it and say what came of that."""
        self._write(conninfo.render(step.parameters))
        try:
            self._prove(step)
        except TlsError as error:
            before = step.connection
            try:
                self._write(self._written.by_alter_system)
                if before.status == _SETTLED[STANDBY]:
                    self._prove(Step(before, before.given or {}, is_new=False), own=True)
            except TlsError as second:
                message = f"{error} primary_conninfo could NOT be restored with proof: {second}"
                raise TlsError(message, code=error.code, rolled_back=False) from error
            message = f"{error} primary_conninfo is what it was before."
            raise TlsError(message, code=error.code, rolled_back=True) from error

    def _write(self, text: str | None) -> None:
        what = "RESET primary_conninfo" if text is None else f"SET primary_conninfo = {literal(text)}"
        self._administrator.query(f"{_QUIET} ALTER SYSTEM {what}; SELECT to_json(pg_reload_conf());")

    def _end(self, one: Connection) -> None:
        """End the process of a connection: its server starts another one."""
        found = self._process(one)
        if found is None:
            return
        if one.kind != STANDBY:
            self._administrator.query(f"SELECT to_json(pg_terminate_backend({int(found['pid'])}))")
            return
        # pg_terminate_backend ends no walreceiver
        pid, account = int(found["pid"]), self._administrator.account
        with acting_as(account):
            try:
                if os.stat(f"/proc/{pid}").st_uid == account.uid:
                    os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return  # it has ended on its own
            except OSError as error:
                raise TlsError(
                    f"{one.in_words}: process {pid} could not be ended: {error.strerror}.", code="process_not_ended"
                ) from error

    def _prove(self, step: Step, *, own: bool = False) -> None:
        """Wait for another process than before that replicates with a step's parameters. Raises TlsError.

        ``own``: the process from before will do as well.
        """
        one = step.connection
        wanted = {name: value for name, value in conninfo.shown(step.parameters).items() if name.startswith("ssl")}

        def proven(found: dict[str, Any]) -> bool:
            if found["status"] != _SETTLED.get(one.kind, found["status"]) or (found["pid"] == one.pid and not own):
                return False
            used = conninfo.parse(found["conninfo"]) if found.get("conninfo") else wanted
            return all(used.get(name) == value for name, value in wanted.items())

        if not self._wait(one, proven):
            raise TlsError(
                f"{one.in_words}: no new connection for replication was seen within "
                f"{_PATIENCE + self._written.retry_interval:.0f} s, although a trial succeeded.",
                remedy="The server's log says why.",
                code="replication_not_seen",
            )

    def _wait(self, one: Connection, proven: Callable[[dict[str, Any]], bool]) -> bool:
        deadline = time.monotonic() + _PATIENCE + self._written.retry_interval
        while time.monotonic() < deadline:
            found = self._process(one)
            if found is not None and proven(found):
                return True
            time.sleep(_PAUSE)
        return False

    def _process(self, one: Connection) -> dict[str, Any] | None:
        query = _RECEIVER if one.kind == STANDBY else _WORKER.format(name=literal(one.name))
        found: dict[str, Any] | None = self._administrator.query(query)
        return found


def literal(text: str) -> str:
    """Return a text as a constant of SQL, whatever standard_conforming_strings is."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"E'{escaped}'"
