# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action rollover_step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollover_step
short_description: Check whether a replacement of roots may take its next step, and return that step
version_added: 1.0.0
description:
  - It works on the controller and reads the results that this collection's roles have left for later plays of the same
    run. Set C(run_once) for it.
  - It determines the next step only from the current state of the authorities, so an interrupted run can continue.
  - An authority is done if it is in phase V(steady) and its root replaced another one within the last day, or no more
    than a day before the new root of an authority that is still in progress.
  - V(stage) only adds trust. So it needs no proof of hosts that could not be reached.
  - A host is proven if it was reached, did not fail, and has the declared state. A server is proven if a client has
    connected to it. An identity is proven if it has connected to a server. These must be new connections of this run,
    and all of them must be as expected.
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
    default: []
  prove:
    description:
      - Whether to fail unless this run has proven everything. The message has a sentence for each missing proof, with
        the affected hosts.
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
  description: A sentence for each reason why this run cannot replace a root. Empty if it can begin.
  returned: success
  type: list
  elements: str
certificates_in_use:
  description:
    - The certificates that this run has seen in use, each a dictionary with C(authority), C(id) and C(serial).
    - It is for the option O(pgops.tls.certificate_authority#module:certificates_in_use).
  returned: once the run has learned the authorities
  type: list
  elements: dict
known:
  description: The names of all authorities. Before the run has learned them, of those that the servers need.
  returned: success
  type: list
  elements: str
  sample: [server, client, billing]
phase:
  description: V(stage), V(switch), V(retire) or V(finish). Empty if no phase is left.
  returned: once the run has learned the authorities
  type: str
authorities:
  description: The authorities that it applies to.
  returned: once the run has learned the authorities
  type: list
  elements: str
waiting:
  description:
    - The hosts that the next phase waits for, a line for each, with a headline and what to do. They are hosts that
      this run could not reach, and holders of valid certificates that it has not seen. Empty if there are none.
  returned: once the run has learned the authorities
  type: list
  elements: str
message:
  description: Where the authorities are stored, and how to continue.
  returned: once the run has learned the authorities
  type: list
  elements: str
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: rollover_not_proven
"""
