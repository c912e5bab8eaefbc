# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a role on all hosts, as a task sees them that runs once for all of them."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import inventory


class RoleVariables:
    """What ``role`` would see on each host. ``seen`` are its variables as the task sees them on ``first``, its host.

    A value that the playbook sets is the same on all hosts. It takes the place of the inventory's, as Ansible has it.
    """

    def __init__(
        self, role: str, hostvars: Mapping[str, Mapping[str, Any]], first: str, seen: Mapping[str, Any]
    ) -> None:
        self._arguments = inventory.arguments_of(role)
        self._hostvars = hostvars
        given = hostvars[first]
        self._everywhere: dict[str, Any] = {}
        for name, value in seen.items():
            is_default = name not in given and value == self._arguments[name].get("default")
            is_given = name in given and given[name] == value
            if not (is_default or is_given):
                self._everywhere[name] = value

    def of(self, host: str) -> dict[str, Any]:
        """Return the variables on a host, by their names."""
        own = self._hostvars[host]
        defaults = {name: one.get("default") for name, one in self._arguments.items()}
        return {**defaults, **{name: own[name] for name in self._arguments if name in own}, **self._everywhere}
