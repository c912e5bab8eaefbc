# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says which servers standbys and subscribers replicate from, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, replicas
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the servers by host and connection."""
        servers = variables["groups"].get(SERVERS, ())
        return {"changed": False, "replication": replicas.of_report(variables["hostvars"], servers)}
