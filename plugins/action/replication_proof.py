# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that compares what a host replicates with and what the other ends show, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, replication_proof
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "connections": {"type": "list", "elements": "dict", "required": True},
        "upstreams": {"type": "dict", "required": True},
        "assumed": {"type": "list", "elements": "str", "default": []},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Show what is proven. Raises TlsError for a connection whose other end shows something else."""
        given = self.options
        lines, warnings = replication_proof.proof(
            given["connections"], given["upstreams"], given["assumed"], variables["hostvars"]
        )
        shown = {"msg": lines, "_ansible_verbose_always": True}  # as module debug does it
        return {"changed": False, **shown, **({"warnings": warnings} if warnings else {})}
