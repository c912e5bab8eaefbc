# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where client hosts reach the servers of an inventory, for the services in ``.pg_service.conf``.

Most names work from everywhere. So there is one list for all client hosts, and one of exceptions for those that can use
other names. Both are JSON texts: every client host gets them, and Ansible would look at each element of a list. The
templates of a role ask for them several times.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Fleet, Host, Server, fleet_of, usual_name

Reach = dict[str, tuple[str, int] | None]


class Endpoints(NamedTuple):
    """{server: (name, port), or None if it has no such name}: for every client host, and by host what differs there."""

    everywhere: Reach
    differing: dict[str, Reach]

    def as_texts(self) -> dict[str, Any]:
        """Return both as ``of`` takes them."""
        return {
            "endpoints": json.dumps(self.everywhere),
            "differing_endpoints": {host: json.dumps(reach) for host, reach in self.differing.items()},
        }


def endpoints(servers: Sequence[Server], hosts: Iterable[Host]) -> Endpoints:
    """Return where ``hosts`` reach each of ``servers`` by its usual name."""
    fleet = fleet_of(servers, frozenset())
    known = {host.name: host for host in hosts}
    on_machine: dict[tuple[str, str], list[str]] = {}
    for host in known.values():
        on_machine.setdefault(host.machine, []).append(host.name)
    found = Endpoints({}, {})
    for server in servers:
        found.everywhere[server.name] = _usual(server, fleet, Host())
        named = {source for name in server.names for source in name.sources or ()}
        near = on_machine.get(server.machine, ()) if any(name.is_for_self for name in server.names) else ()
        for host in sorted({*named.intersection(known), *near}):
            own = _usual(server, fleet, known[host])
            if own != found.everywhere[server.name]:
                found.differing.setdefault(host, {})[server.name] = own
    return found


def _usual(server: Server, fleet: Fleet, host: Host) -> tuple[str, int] | None:
    name = usual_name(server, fleet._replace(host=host))
    return (name.text, name.port) if name else None


def of(texts: Mapping[str, Any], host: str) -> Reach:
    """Return where a client host reaches each server."""
    differing = texts["differing_endpoints"].get(host)
    return {**_parsed(str(texts["endpoints"])), **(json.loads(differing) if differing else {})}


@functools.lru_cache(maxsize=1)
def versions(text: str) -> dict[str, int]:
    """Return the major versions in a JSON text, by server."""
    found: dict[str, int] = json.loads(text)
    return found


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> Reach:
    found: Reach = json.loads(text)
    return found
