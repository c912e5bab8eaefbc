# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action rollover_step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollover_step
short_description: Say whether a replacement of roots may take its next step, and which that is
version_added: 0.1.0
description:
  - It works on the controller and reads what the roles of this collection have left for later plays of the same run.
    Set C(run_once) for it.
  - What comes next it reads from nothing but the authorities as they are, so a run that was stopped anywhere continues.
  - An authority that is done is one in phase V(steady) whose root took the place of another one within the last day, or
    since the day before the root that another authority is just getting.
  - Proven is a host that was reached, did not fail, and has what is declared; a server that a client has connected to,
    and an identity that has connected to a server, by new connections of this run that were all as expected.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  phase:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_phase)
    type: str
    default: ""
  rotate:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_rotate)
    type: list
    elements: str
    default: [server, client]
  prove:
    description:
      - Whether to fail unless this run has proven everything. The message has a sentence for each thing that it has not
        proven, with the hosts that it is about.
    type: bool
    default: false
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop where anything is not proven
  run_once: true
  pgops.tls.rollover_step:
    prove: true

- name: Learn what comes next
  run_once: true
  pgops.tls.rollover_step:
  register: step
"""

RETURN = r"""
refusals:
  description: A sentence for each reason why this run cannot replace a root; none when it can begin.
  returned: success
  type: list
  elements: str
certificates_in_use:
  description:
    - Whose certificates this run has seen in use. By authority, C(server) and C(client), a dictionary with C(id) and
      C(serial) for each.
    - It is for the option O(pgops.tls.certificate_authority#module:certificates_in_use).
  returned: once the run has learned the authorities
  type: dict
phase:
  description: V(stage), V(switch), V(retire) or V(finish); empty if there is none to go through.
  returned: once the run has learned the authorities
  type: str
authorities:
  description: The authorities that it is for.
  returned: once the run has learned the authorities
  type: list
  elements: str
message:
  description: Where the authorities are, and how to continue.
  returned: once the run has learned the authorities
  type: list
  elements: str
"""
