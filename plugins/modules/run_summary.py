# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action run_summary."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_summary
short_description: Sum up a run of the playbook, on the controller
version_added: 0.1.0
description:
  - One line for each cause with all hosts that have it, what happened and what to do; how many hosts failed, were
    changed and were not. The playbook C(pgops.tls.site) ends with it.
  - A run that verified no connection at all has a line that says why.
  - It reads what the roles of this collection have left for later plays of the same run. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  is_verified:
    description: Whether the run was to try connections, which it does not in check mode.
    type: bool
    default: true
seealso:
  - plugin: pgops.tls.failures
    plugin_type: filter
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Sum up
  run_once: true
  pgops.tls.run_summary:
  register: summary

- name: Say what failed and what to do
  run_once: true
  ansible.builtin.debug:
    msg: "{{ summary.lines }}"
"""

RETURN = r"""
lines:
  description: The lines; none when no host failed and connections were verified.
  returned: success
  type: list
  elements: str
unrecorded:
  description:
    - The certificates that are in use and that the ledger does not hold, as after a restore from an older backup. By
      authority, a dictionary with C(id) and C(certificate) (PEM) for each; empty when there are none.
    - It is for the option O(pgops.tls.certificate_authority#module:unrecorded).
  returned: success
  type: dict
"""
