# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that shows the sessions which use what was replaced, or all applications, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.module_utils.report import tables
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables

LINES = {"old_sessions": tables.session_lines, "applications": tables.application_lines}


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "show": {"type": "str", "choices": list(LINES), "default": "old_sessions"},
        "servers": {"type": "dict"},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Show a line for each session, or for each application."""
        servers = self.options["servers"]
        if servers is None:
            hosts, hostvars = variables["ansible_play_hosts_all"], variables["hostvars"]
            servers = {host: results.sessions(hostvars[host]) for host in hosts}
        lines = LINES[self.options["show"]](servers)
        return {"msg": lines, "_ansible_verbose_always": True}  # shown as module debug does it
