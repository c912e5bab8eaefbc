# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker for slots: which connection is tried, and when its process has to end."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Completed
from ansible_collections.pgops.tls.plugins.module_utils.replication import slot_sync, trial
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY, SUBSCRIPTION, Connection
from ansible_collections.pgops.tls.plugins.module_utils.replication.plan import Step

GIVEN = {"host": "db1.example.com", "user": "replicator", "dbname": "shop"}


class Server:
    """What a server is asked, and what another one answers to a trial."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> None:
        self.tried: list[tuple[Any, str]] = []
        self.queries: list[str] = []
        self._status = status
        monkeypatch.setattr(trial, "connect", self._connect)

    def _connect(self, parameters: Any, command: str, _administrator: Any) -> Completed:
        self.tried.append((parameters, command))
        return Completed(self._status, "", "no pg_hba.conf entry\n")

    def query(self, sql: str) -> int:
        self.queries.append(sql)
        return 1

    def call(self, kind: str = STANDBY, *, is_on: bool = True, is_new: bool = False, **changes: str) -> list[str]:
        given: Any = {**GIVEN, **changes}
        step = Step(Connection(kind, kind, given, given), given, is_new)
        slots: Any = slot_sync.SlotSync(self, is_on=is_on)  # type: ignore[arg-type]
        warnings: list[str] = slots.try_with(step)
        slots.reconnect()
        return warnings


def test_the_worker_s_connection_is_tried_and_after_a_renewal_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    assert server.call() == []
    assert server.tried == [(GIVEN, "SELECT 1")]
    (query,) = server.queries
    assert "pg_terminate_backend(pid)" in query
    assert "backend_type = 'slotsync worker'" in query


def test_with_new_parameters_the_server_starts_another_worker_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    assert server.call(is_new=True) == []
    assert (len(server.tried), server.queries) == (1, [])


@pytest.mark.parametrize("changes", [{"is_on": False}, {"dbname": ""}, {"kind": SUBSCRIPTION}])
def test_where_there_is_no_worker_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, changes: Any) -> None:
    server = Server(monkeypatch, 2)
    assert server.call(**changes) == []
    assert (server.tried, server.queries) == ([], [])


def test_a_refusal_stops_new_parameters_and_keeps_the_worker_of_a_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, 2)
    with pytest.raises(TlsError, match=r"no pg_hba\.conf entry\. Nothing was changed") as failure:
        server.call(is_new=True)
    assert failure.value.code == "slot_sync_refused"
    [warning] = server.call()
    assert "database shop there, and a new connection would fail: no pg_hba.conf entry. The connection that" in warning
    assert server.queries == []
