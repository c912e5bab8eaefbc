# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that shows the sessions which use what was replaced, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.report import tables
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Show a line for each session."""
        hosts, hostvars = variables["ansible_play_hosts_all"], variables["hostvars"]
        lines = tables.session_lines({host: results.sessions(hostvars[host]) for host in hosts})
        return {"msg": lines, "_ansible_verbose_always": True}  # shown as module debug does it
