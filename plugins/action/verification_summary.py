# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that sums up what the client hosts of a run have verified, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.verification import report
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, failures, fleet, gaps, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Graph, Groups, Hostvars, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "show": {"type": "str", "choices": ["all", "problems"], "default": "all"},
        "hosts": {"type": "list", "elements": "str", "default": []},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the table with what is not verified below it, and what is wrong, by client host."""
        hostvars, groups, hosts = variables["hostvars"], variables["groups"], self.options["hosts"]
        verified = {host: results.verified(hostvars[host]) for host in variables["ansible_play_batch"]}
        notes = [
            *gaps.nothing_verified(hostvars, groups, hosts, is_tried=True),
            *gaps.left_out(groups, hosts),
            *gaps.without_identities(hostvars, groups),
            *gaps.unreached(hostvars, groups),
            *gaps.authorities_apart(hostvars, groups),
        ]
        lines = report.table(verified, self.options["show"], notes)
        return {"changed": False, "lines": lines, "faults": _faults(verified, hostvars, groups)}


def _faults(verified: Mapping[str, Mapping[str, Any]], hostvars: Hostvars, groups: Groups) -> dict[str, list[str]]:
    """Return a sentence for each cause, by client host. What is wrong with servers that failed before is known."""
    if all(one.get("deviations") == [] for one in verified.values()):
        return {}
    graph = Graph(groups)
    servers = [*groups.get(SERVERS, ()), *sorted(graph.poolers)]
    behind = failures.of_endpoints(failures.failures(hostvars, servers))
    origins = fleet.origins((hostvars[one] for one in servers), graph)
    found = {host: report.deviations({host: one}, behind, origins) for host, one in verified.items()}
    return {host: sentences for host, sentences in found.items() if sentences}
