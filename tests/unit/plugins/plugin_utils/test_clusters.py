# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which group of the inventory is the cluster of a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible_collections.pgops.tls.plugins.plugin_utils import clusters


def servers(children: Mapping[str, list[str]], hosts: Mapping[str, list[str]]) -> Any:
    """Return Ansible's group postgres_servers in an inventory of these groups."""
    names = {"postgres_servers", *children, *hosts, *(one for below in children.values() for one in below)}
    groups = {name: Group(name) for name in sorted(names)}
    known: dict[str, Host] = {}
    for name, below in children.items():
        for child in below:
            groups[name].add_child_group(groups[child])
    for name, members in hosts.items():
        for host in members:
            groups[name].add_host(known.setdefault(host, Host(host)))
    return groups["postgres_servers"]


@pytest.mark.parametrize(
    ("children", "hosts", "expected"),
    [
        ({}, {"postgres_servers": ["db1"]}, {"db1": ""}),
        ({}, {"postgres_servers": ["db1"], "debian": ["db1"]}, {"db1": ""}),
        (
            {"postgres_servers": ["shop", "billing"]},
            {"postgres_servers": ["db9"], "shop": ["db1", "db2"], "billing": ["db3"]},
            {"db1": "shop", "db2": "shop", "db3": "billing", "db9": ""},
        ),
        (  # the innermost, although another one is smaller
            {"postgres_servers": ["shop", "small"], "shop": ["west"]},
            {"west": ["db1", "db2", "db3"], "shop": ["db4"], "small": ["db4"]},
            {"db1": "west", "db2": "west", "db3": "west", "db4": "small"},
        ),
        (  # the same hosts in a group and the one around it
            {"postgres_servers": ["a_around"], "a_around": ["within"]},
            {"within": ["db1"]},
            {"db1": "within"},
        ),
        (  # of those beside each other the smallest, then the first by name
            {"postgres_servers": ["large", "north", "east"]},
            {"large": ["db1", "db2", "db3"], "north": ["db1", "db2"], "east": ["db2", "db3"]},
            {"db1": "north", "db2": "east", "db3": "east"},
        ),
        (  # a group that is below another one as well
            {"postgres_servers": ["shop"], "site": ["shop"]},
            {"shop": ["db1"], "site": ["web1"]},
            {"db1": "shop"},
        ),
    ],
)
def test_the_cluster_is_the_innermost_group_below_that_of_the_servers(
    children: dict[str, list[str]], hosts: dict[str, list[str]], expected: dict[str, str]
) -> None:
    assert clusters.of_servers(servers(children, hosts)) == expected
