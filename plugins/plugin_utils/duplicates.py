# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two names of an inventory that are one server, pooler, or OS user of a client: runs would set up both in turn.

What that is for each kind of host, kinds.py says.
"""

from __future__ import annotations

from typing import Any, Hashable, Mapping, Sequence

from ansible import constants, context
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS, Shared

_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh"}
# What may lead to another machine behind the same address, such as a bastion that takes the target from the user's name
_WAYS = (
    ("ansible_ssh_port", "ansible_port"),
    ("ansible_ssh_user", "ansible_user"),
    ("ansible_ssh_args",),
    ("ansible_ssh_common_args",),
    ("ansible_ssh_extra_args",),
    ("ansible_ssh_executable",),
)


def problems(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], hosts: Sequence[str]
) -> list[str]:
    """Return a sentence for each thing that several hosts of the inventory share, if one of ``hosts`` does."""
    found: dict[tuple[tuple[str, ...], Hashable], list[str]] = {}
    shared: dict[tuple[tuple[str, ...], Hashable], Shared] = {}
    for kind in KINDS:
        for host in groups.get(kind.group, ()):
            variables = hostvars[host]
            machine = _machine(host, variables)
            if machine is None:
                continue
            for one in kind.once(variables):
                found.setdefault((machine, one.key), []).append(host)
                shared[machine, one.key] = one
    wanted = set(hosts)
    return [
        f"{', '.join(names)}: these are {len(names)} names of {shared[key].called} at {key[0][0]}. {shared[key].remedy}"
        for key, names in found.items()
        if len(names) > 1 and not wanted.isdisjoint(names)
    ]


def _machine(host: str, variables: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return how Ansible reaches a host by SSH, None if it takes another way: that may be anywhere."""
    connection = variables.get("ansible_connection", context.CLIARGS.get("connection") or constants.DEFAULT_TRANSPORT)
    if connection not in _SSH:
        return None
    address = str(_first(variables, ("ansible_ssh_host", "ansible_host")) or host).lower()
    port, *others = (str(_first(variables, names) or "") for names in _WAYS)
    return (address, port or "22", *others)


def _first(variables: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((variables[name] for name in names if variables.get(name)), None)
