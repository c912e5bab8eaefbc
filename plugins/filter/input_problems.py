# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that checks the variables of all hosts on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: input_problems
short_description: Say what is wrong with the variables of a fleet
version_added: 0.1.0
description:
  - Checks the variables of all roles for all hosts, as far as that can be done without a look at the hosts, so that a
    mistake is found before anything changes anywhere.
  - A host counts as a server if it is in the group C(postgres_servers), as a client host if it is in
    C(postgres_clients).
positional: hosts, groups, host, variables
options:
  _input:
    description: The variables of all hosts of the inventory, C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts to check.
    type: list
    elements: str
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  host:
    description: The name of one host of them.
    type: str
    default: ""
  variables:
    description:
      - The variables of this host as a task sees them.
      - Those among them that C(hostvars) does not show are what the playbook sets for all hosts.
      - One that cannot be templated has the value V(undefined).
    type: dict
    default: {}
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop if anything is wrong with the input of any host
  run_once: true
  ansible.builtin.fail:
    msg: "{{ problems | join('\n') }}"
  when: problems | length > 0
  vars:
    problems: "{{ hostvars | pgops.tls.input_problems(ansible_play_hosts_all, groups) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with the hosts that have it; none when everything is right.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import inventory


def input_problems(hostvars: Any, hosts: list[str], groups: Any, host: str = "", variables: Any = None) -> list[str]:
    """Return a sentence for each problem of the hosts' variables."""
    everywhere = inventory.set_by_playbook(variables or {}, hostvars[host] if host else {})
    return inventory.Fleet(hostvars, groups, everywhere).problems(hosts)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"input_problems": input_problems}
