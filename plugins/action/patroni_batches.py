# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says which members of Patroni clusters have something to change, and in which order."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, patroni_members
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the batches."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        found = patroni_members.batches(hostvars, groups, variables["ansible_play_hosts_all"])
        return {"changed": False, "batches": [one._asdict() for one in found]}
