# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that sums up a run of the playbook of this collection."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_summary
short_description: Sum up a run of the playbook in which hosts failed, or which verified nothing
version_added: 0.1.0
description:
  - One line for each cause with all hosts that have it, what happened and what to do; how many hosts failed, were
    changed and were not. The playbook C(pgops.tls.site) ends with it.
  - A run that verified no connection at all has a line that says why.
positional: hosts, groups
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts of the run.
    type: list
    elements: str
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts. Without them the summary has failures only.
    type: dict
  is_verified:
    description: Whether the run was to try connections, which it does not in check mode.
    type: bool
    default: true
seealso:
  - plugin: pgops.tls.failures
    plugin_type: filter
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Say what failed and what to do
  run_once: true
  ansible.builtin.debug:
    msg: "{{ hostvars | pgops.tls.run_summary(ansible_play_hosts_all, groups) }}"
"""

RETURN = r"""
_value:
  description: The lines; none when no host failed and connections were verified.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import failures


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"run_summary": failures.summary}
