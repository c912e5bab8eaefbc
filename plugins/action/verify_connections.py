# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that has a client host try the connections that the inventory promises and those that it rules out."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, expectations, results


class ActionModule(actions.Action):
    """The action of this file."""

    _requires_connection = True
    OPTIONS: ClassVar[actions.Specification] = {
        "identities": {"type": "list", "elements": "dict", "required": True},
        "database": {"type": "str", "default": "postgres"},
        "refused": {"type": "list", "elements": "str", "required": True},
        "other_role": {"type": "str", "default": ""},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "connect_timeout": {"type": "int", "default": 10},
    }

    def answer(self, variables: actions.Variables) -> dict[str, Any]:
        """Return what module connection_info says of them. Raises TlsError for variables that are useless."""
        hostvars, groups, own = variables["hostvars"], variables["groups"], variables["inventory_hostname"]
        playing = list(variables["ansible_play_hosts"])
        expected = expectations.from_inventory(
            [hostvars[host] for host in groups.get("postgres_servers", ())],
            self.options["identities"],
            clients=[hostvars[host] for host in groups.get("postgres_clients", ())],
            before=[hostvars[host] for host in playing[: playing.index(own)] if _verifies(hostvars[host])],
            database=self.options["database"],
            refused=self.options["refused"],
            other_role=self.options["other_role"],
            here=hostvars[own],
            hosts=self.options["hosts"],
            groups=groups,
        )
        result: dict[str, Any] = self._execute_module(
            module_name="pgops.tls.connection_info",
            module_args={"expectations": expected, "connect_timeout": self.options["connect_timeout"]},
            task_vars=dict(variables),
        )
        return result


def _verifies(variables: Mapping[str, Any]) -> bool:
    """Return whether a client host tries anything: one that failed before does not."""
    return not results.failed(variables, "client") and not results.converged(variables, "client").get("unreachable")
