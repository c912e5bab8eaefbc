# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says what a run of the playbook has not proven."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unproven
short_description: Say what a run of the whole job has not proven
version_added: 0.1.0
description:
  - Proven is a host that was reached, did not fail, and has what is declared; a server that a client has connected to,
    and an identity that has connected to a server, by new connections of this run that were all as expected.
  - The playbook C(pgops.tls.rotate_ca) continues only where this says nothing.
positional: groups
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  is_verified:
    description: Whether connections could be tried, which in check mode they cannot.
    type: bool
    default: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop unless everything is proven
  ansible.builtin.assert:
    that: hostvars | pgops.tls.unproven(groups) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each thing that is not proven, with the hosts that it is about.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import rotation


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"unproven": rotation.unproven}
