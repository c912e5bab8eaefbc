# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say of a server that replicates from others."""

from __future__ import annotations

import os
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.replication import findings, look


class Replication(NamedTuple):
    """What a server has said (see postgres/state.py), the connections by which it replicates, and who runs it."""

    found: Mapping[str, Any]
    connections: Sequence[findings.Connection]
    os_user: str

    @classmethod
    def of(cls, found: Mapping[str, Any], account: Account) -> Replication:
        """Return the replication of a server that ``account`` runs. Raises TlsError."""
        return cls(found, look.connections(found, account), account.name)

    def facts(self, now: int) -> dict[str, Any]:
        """Return it for a result. ``now`` is in Unix seconds."""
        return findings.result(self.found, self.connections, self.os_user, now)


def told(state: ServerState, now: int) -> tuple[dict[str, Any], list[str]]:
    """Return the facts about replication, and warnings. ``now`` is in Unix seconds. Raises TlsError."""
    account = processes.account_of(os.stat(state.value("data_directory")).st_uid)
    replication = Replication.of(state.replication or {}, account)
    return replication.facts(now), findings.warnings(replication.connections, now)
