# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that lists the names of all servers of the inventory, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the names in one text: each host gets it, and Ansible would look at each element of a list."""
        hosts = [variables["hostvars"][host] for host in variables["groups"].get(SERVERS, ())]
        return {"changed": False, "servers": ",".join(fleet.known_names(hosts))}
