# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of each server: the group of the inventory below postgres_servers that it is in."""

from __future__ import annotations

from typing import Any


def of_servers(servers: Any) -> dict[str, str]:
    """Return the cluster of each host of a group, '' for one that is in the group alone.

    ``servers`` is Ansible's own group, because the variable ``groups`` does not tell which group is below which. Of
    several groups the innermost counts, then the one with the fewest hosts, then the first by name.
    """
    below = sorted(servers.get_descendants(), key=lambda one: (len(one.get_hosts()), one.name))
    members = {group: {host.name for host in group.get_hosts()} for group in below}
    return {host.name: _cluster(host.name, members) for host in servers.get_hosts()}


def _cluster(host: str, members: dict[Any, set[str]]) -> str:
    own = [group for group, hosts in members.items() if host in hosts]
    innermost = (group.name for group in own if not set(own).intersection(group.get_descendants()))
    return next(innermost, "")
