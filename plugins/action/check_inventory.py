# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that checks the variables of a fleet, on the controller."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Mapping

from ansible import context
from ansible.utils.display import Display
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    actions,
    beside_playbook,
    dependents,
    inventory,
    managed,
    unresolved,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {"leaving": {"type": "list", "elements": "str", "default": []}}

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return an empty result where all is right. Raises TlsError with a line for each problem."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        everywhere = self._set_by_playbook(variables, hostvars[variables["inventory_hostname"]])
        fleet = inventory.Fleet(hostvars, groups, everywhere)
        started, sources = context.CLIARGS.get("args", ()), variables["ansible_inventory_sources"]
        run = beside_playbook.Run(started, sources, variables["playbook_dir"])
        for warning in beside_playbook.warnings(run, fleet, self._loader):
            Display().warning(warning)  # also where a problem ends the run
        hosts, now = variables["ansible_play_hosts_all"], int(time.time())
        problems = fleet.problems(hosts) or fleet.collected(hosts, lambda host: managed.problems(hostvars[host], now))
        if problems:
            raise TlsError("\n".join(problems), code="variables_invalid")
        refusal = dependents.refusal(hostvars, groups, self.options["leaving"]) if self.options["leaving"] else ""
        if refusal:
            raise TlsError(refusal, code="host_has_dependents")
        return {"changed": False}

    def _set_by_playbook(self, variables: Variables, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the roles' variables that this task sees and the inventory does not have, or not with this value."""
        seen = {}
        for name in variables:
            if name.startswith(inventory.PREFIXES):
                try:
                    seen[name] = self._templar.template(variables[name])
                except unresolved.ERRORS as error:
                    if name not in given:  # else the check of the host finds it, too
                        raise TlsError(
                            f"{name}: {unresolved.explained(str(error))}", code="variable_unresolved"
                        ) from error
        return inventory.set_by_playbook(seen, given)
