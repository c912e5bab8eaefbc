# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that lists the connections that each client host of a run has to try, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import (
    actions,
    client_identities,
    expectations,
    fleet,
    later,
    results,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, SERVERS, Graph, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.role_variables import RoleVariables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "database": {"type": "str", "default": "postgres"},
        "refused": {"type": "list", "elements": "str", "required": True},
        "other_role": {"type": "str", "default": ""},
        "hosts": {"type": "list", "elements": "str", "default": []},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the connections by client host. Raises TlsError for variables that are useless."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        graph = Graph(groups)
        known = {host: hostvars[host] for host in (*groups.get(CLIENTS, ()), *variables["ansible_play_hosts"])}
        servers = [hostvars[host] for host in (*groups.get(SERVERS, ()), *sorted(graph.poolers))]
        clients = [known[host] for host in groups.get(CLIENTS, ())]
        planner = expectations.planner(servers, clients, self.options["hosts"], graph, self.options["database"])
        found = {host: planner.plan(one) for host, one in self._client_hosts(variables, known, graph)}
        return {"changed": False, "hosts": found, "_ansible_verbose_override": True}  # too long for anybody to read

    def _client_hosts(
        self, variables: Variables, known: Mapping[str, Mapping[str, Any]], graph: Graph
    ) -> Iterator[tuple[str, expectations.ClientHost]]:
        """Give the client hosts of the play that try anything: one that failed before does not."""
        seen = {f"postgres_verify_{name}": self.options[key] for name, key in _VARIABLES.items()}
        roles = RoleVariables("postgres_verify", known, variables["inventory_hostname"], seen)
        for host in variables["ansible_play_hosts"]:
            own = known[host]
            if results.failed(own, "client") or results.converged(own, "client").get("unreachable"):
                continue
            given = roles.of(host)
            declared = own.get("postgres_client_identities", ())
            identities = client_identities.identities_of(declared, given["postgres_verify_database"], graph)
            yield (
                host,
                expectations.ClientHost(
                    client_identities.as_held(identities, results.last(own, "client").get("identities") or ()),
                    fleet.host_of(own),
                    given["postgres_verify_refusals"],
                    given["postgres_verify_other_role"],
                    later.identities(own),
                ),
            )


# The variables of role postgres_verify, and the options that have their values
_VARIABLES = {"database": "database", "refusals": "refused", "other_role": "other_role"}
