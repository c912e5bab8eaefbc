# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says why a run cannot replace the root of an authority."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_refusals
short_description: Say why a run cannot replace the root of an authority
version_added: 0.1.0
description:
  - The playbook C(pgops.tls.rotate_ca) begins with it. A run that leaves out hosts or the verification proves nothing
    of them.
positional: groups, tags, phase, rotate
options:
  _input:
    description: The names of the hosts of the run.
    type: list
    elements: str
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  tags:
    description: The tags that were asked for, and those to skip.
    type: list
    elements: str
    required: true
  phase:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_phase)
    type: str
    required: true
  rotate:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_rotate)
    type: list
    elements: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop where hosts would be left behind
  ansible.builtin.assert:
    that: ansible_play_hosts_all | pgops.tls.rotation_refusals(groups, ansible_run_tags, '', ['server']) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each reason; none when the run can begin.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import rotation


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"rotation_refusals": rotation.refusals}
