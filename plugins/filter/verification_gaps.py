# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says which connections a run does not verify."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verification_gaps
short_description: Say which connections a run does not verify
version_added: 0.1.0
description:
  - Why no connection is verified at all (no identity in the whole inventory, no servers, all skipped), and which hosts
    C(--limit) leaves out.
positional: groups, hosts
options:
  _input:
    description: The variables of all hosts, C(hostvars), with the results of the verification.
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  hosts:
    description: The hosts of the run, where C(--limit) leaves some out.
    type: list
    elements: str
    default: []
seealso:
  - plugin: pgops.tls.verification_table
    plugin_type: filter
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Say what is not verified
  run_once: true
  ansible.builtin.debug:
    msg: "{{ hostvars | pgops.tls.verification_gaps(groups, ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description: The lines; none where all connections of the inventory are verified.
  type: list
  elements: str
"""

from typing import Any, Callable, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils import gaps


def found(hostvars: gaps.Hostvars, groups: gaps.Groups, hosts: Sequence[str] = ()) -> list[str]:
    """Return why nothing is verified, and what is left out."""
    return [*gaps.nothing_verified(hostvars, groups, hosts, is_tried=True), *gaps.left_out(groups, hosts)]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"verification_gaps": found}
