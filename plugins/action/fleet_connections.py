# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says who connects to which servers and poolers of the inventory, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, connections
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the connections, those of holders with the same servers together."""
        return {"changed": False, "connections": connections.of_fleet(variables["hostvars"], variables["groups"])}
