# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that collects the serial numbers of the certificates that clients have, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, serials
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables, with_servers


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the serial numbers by server and role."""
        groups = with_servers(variables["groups"], variables["ansible_play_hosts_all"])
        return {"changed": False, "serials": serials.client_serials(variables["hostvars"], groups)}
