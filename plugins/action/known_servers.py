# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says what client hosts need to know of all servers of the inventory, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, endpoints, fleet, results
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, SERVERS, Graph, Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return names, endpoints, authorities and who is not ready.

        Raises TlsError for text that is no name of a server or of an authority.

        Names are one text: each host gets it, and Ansible would look at each element of a list.
        """
        hostvars, groups = variables["hostvars"], variables["groups"]
        servers, clients = groups.get(SERVERS, ()), groups.get(CLIENTS, ())
        graph = Graph(groups)
        hosts = {host: fleet.host_of(hostvars[host]) for host in (*clients, *variables["ansible_play_hosts_all"])}
        found = endpoints.endpoints([fleet.server_of(hostvars[host], graph) for host in servers], hosts.values())
        trust = Trust.of_fleet(hostvars, groups)
        return {
            "changed": False,
            "names": ",".join(fleet.known_names(hostvars[host] for host in servers)),
            "authority": trust.usual,
            "authorities": trust.exceptions,
            **found.as_texts(),
            "unready": [host for host in servers if not results.is_ready(hostvars[host])],
        }
