# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says which identities each server of the inventory has to let in, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, identity_rules
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables, with_servers


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {"hosts": {"type": "list", "elements": "str", "default": []}}

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return rules and identities by server. Raises TlsError for an identity that cannot be."""
        groups = with_servers(variables["groups"], variables["ansible_play_hosts_all"])
        found = identity_rules.access(variables["hostvars"], groups, self.options["hosts"])
        return {
            "changed": False,
            "servers": found,
            "warnings": identity_rules.undeclared(variables["hostvars"], groups),
        }
