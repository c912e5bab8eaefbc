# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action run_summary."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_summary
short_description: Summarize a run of the playbook, on the controller
version_added: 1.0.0
description:
  - Returns one line for each cause with all affected hosts, what happened and what to do. Also counts the failed,
    changed and unchanged hosts. The playbook C(pgops.tls.site) ends with it.
  - If a run verified no connection at all, one line says why.
  - If a whole run ends without a failure, it notes the time in C(last-run.json) beside the report of
    M(pgops.tls.fleet_report). It writes nothing where there is no report, in check mode, after a run that left out
    hosts or steps, and where RV(moved) or RV(unrecorded) has something that is still to be done.
  - While a root is being replaced, lines name the hosts that its next phase waits for.
  - It reads the results that this collection's roles have left for later plays of the same run. Set C(run_once) for
    it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  is_verified:
    description: Whether the run should have tried connections, which it does not in check mode.
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
  description: The lines. Empty if no host failed and connections were verified.
  returned: success
  type: list
  elements: str
moved:
  description:
    - The servers that still trust a former client authority, although this run has proven that all of their clients
      have certificates of the new one.
    - P(pgops.tls.postgres_server#role) ends that trust with its entry point C(end_trust).
  returned: success
  type: list
  elements: str
unrecorded:
  description:
    - The certificates in use that are missing from the ledger, as after a restore from an older backup. By authority,
      a dictionary with C(id) and C(certificate) (PEM) for each. Empty if there are none.
    - It is for the option O(pgops.tls.certificate_authority#module:unrecorded).
  returned: success
  type: dict
"""
