# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that sums up a run of the playbook of this collection, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pgops.tls.plugins.plugin_utils import failures, serials

OPTIONS = {"is_verified": {"type": "bool", "default": True}}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action of this file."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the summary, and the certificates in use that the ledger does not hold."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(OPTIONS)
        variables = task_vars or {}
        hostvars, groups = variables["hostvars"], variables["groups"]
        issued = (variables.get("postgres_ca_result") or {}).get("issued")
        lines = failures.summary(
            hostvars, variables["ansible_play_hosts_all"], groups, is_verified=options["is_verified"]
        )
        return {**result, "changed": False, "lines": lines, "unrecorded": serials.unrecorded(hostvars, groups, issued)}
