# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says who depends on hosts that are to be taken out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: removal_refusal
short_description: Say who depends on hosts that are to be taken out
version_added: 0.1.0
description:
  - Names the client hosts with their identities that stay and verify a server that goes, and those that go and are
    needed for a server that stays.
  - A host counts as a server if it is in the group C(postgres_servers), as a client host if it is in
    C(postgres_clients).
positional: groups, hosts
options:
  _input:
    description: The variables of all hosts of the inventory, C(hostvars).
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  hosts:
    description: The names of the hosts that are to be taken out.
    type: list
    elements: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop if anybody depends on the hosts of this play
  run_once: true
  ansible.builtin.fail:
    msg: "{{ refusal }}"
  when: refusal | length > 0
  vars:
    refusal: "{{ hostvars | pgops.tls.removal_refusal(groups, ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description: Who depends on these hosts and what to do, in lines; empty when nobody does.
  type: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import dependents


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"removal_refusal": dependents.refusal}
