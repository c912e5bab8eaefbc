# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says what client hosts need to know of all servers of the inventory, on the controller."""

from __future__ import annotations

import json
import time
from typing import Any, Iterable

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, endpoints, fleet, managed, results
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, SERVERS, Graph, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return names, endpoints, authorities, who is not ready, and what is trusted at servers outside.

        Raises TlsError for text that is no name of a server or of an authority, and for files that are no bundles.

        Names are one text: each host gets it, and Ansible would look at each element of a list.
        """
        hostvars, groups = variables["hostvars"], variables["groups"]
        graph, clients = Graph(groups), groups.get(CLIENTS, ())
        servers = [*groups.get(SERVERS, ()), *sorted(graph.poolers)]
        hosts = {host: fleet.host_of(hostvars[host]) for host in (*clients, *variables["ansible_play_hosts_all"])}
        known = [fleet.endpoint_of(hostvars[host], graph) for host in servers]
        found = endpoints.endpoints(known, hosts.values())
        trust = Trust.of_fleet(hostvars, groups)
        trusts = managed.of_fleet(hostvars, groups, int(time.time()))
        return {
            "changed": False,
            "names": ",".join(fleet.known_names(known, (hostvars[host] for host in servers))),
            "authority": trust.usual,
            "authorities": trust.exceptions,
            **found.as_texts(),
            "versions": json.dumps(_versions(hostvars, groups.get(SERVERS, ()))),
            "bundles": dict(trusts.bundles),
            "trusts": trusts.names,
            "warnings": list(trusts.warnings),
            "unready": [one.name for one in known if not one.is_ready],
        }


def _versions(hostvars: Variables, servers: Iterable[str]) -> dict[str, int]:
    """Return the major versions of the servers that this run has asked."""
    found = {host: int(results.last(hostvars[host], "server").get("server_version") or 0) for host in servers}
    return {host: version // 10000 for host, version in found.items() if version}
