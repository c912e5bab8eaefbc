# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module server says of a server that replicates from others."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.replication import findings, look


def told(state: ServerState, now: int) -> tuple[dict[str, Any], list[str]]:
    """Return the facts about replication, and warnings. ``now`` is in Unix seconds. Raises TlsError."""
    account = processes.account_of(os.stat(state.value("data_directory")).st_uid)
    replication = state.replication or {}
    connections = look.connections(replication, account)
    return findings.result(replication, connections, account.name, now), findings.warnings(connections, now)
