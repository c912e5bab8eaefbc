# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slot synchronization of PostgreSQL 17 and later: a worker of a standby that connects with primary_conninfo, too.

Its connection is one of a client, to the database in dbname. Without dbname there is no worker.
"""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.replication import trial
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY
from ansible_collections.pgops.tls.plugins.module_utils.replication.plan import Step

_END = """
    SELECT to_json(count(pg_terminate_backend(pid)))
      FROM pg_stat_activity WHERE backend_type = 'slotsync worker'"""


class SlotSync:
    """The worker of one server, if there is one."""

    def __init__(self, administrator: Administrator, *, is_on: bool) -> None:
        self._administrator = administrator
        self._is_on = is_on
        self._is_to_end = False

    def try_with(self, step: Step) -> list[str]:
        """Try a step's parameters as the worker would use them; return warnings. Raises TlsError for new ones.

        With those from before, the worker keeps a connection that it could not make again.
        """
        database = step.parameters.get("dbname")
        if not self._is_on or step.connection.kind != STANDBY or not database:
            return []
        done = trial.connect(step.parameters, "SELECT 1", self._administrator)
        if done.status == 0:
            self._is_to_end = not step.is_new  # with new parameters, the server starts another one by itself
            return []
        words = (
            f"{step.connection.in_words}: slot synchronization (sync_replication_slots) also connects to database "
            f"{database} there, and a new connection would fail: {trial.words_of(done)}."
        )
        remedy = (
            f"Add {database} to databases of this role in {option('replication.identities')}, or a rule for it on the "
            "other server."
        )
        if step.is_new:
            raise TlsError(f"{words} Nothing was changed.", remedy=f"{remedy} Then rerun.", code="slot_sync_refused")
        return [f"{words} The connection that it has continues. {remedy}"]

    def reconnect(self) -> None:
        """Have the worker connect with the certificate in use now: the server starts another one within 10 s."""
        if self._is_to_end:
            self._administrator.query(_END)
