# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says which cluster each server of the inventory is in, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, clusters
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the clusters by server; none where Ansible does not let see its inventory."""
        inventory = variables["hostvars"].inventory
        servers = inventory.groups.get(SERVERS) if inventory is not None else None
        return {"changed": False, "clusters": clusters.of_servers(servers) if servers is not None else {}}
