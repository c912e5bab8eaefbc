# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action check_inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_inventory
short_description: Check the variables of a fleet, on the controller
version_added: 1.0.0
description:
  - Checks the variables of all roles for all hosts of the play, and fails with a sentence for each problem and the
    hosts that have it. It does not look at the hosts. So a mistake stops a run before anything changes anywhere.
  - A host counts as a server if it is in the group C(postgres_servers), and as a client host if it is in
    C(postgres_clients).
  - Variables that a playbook sets for all hosts count, too. Set C(run_once) for it.
  - It warns about variables of roles in C(group_vars) and C(host_vars) beside the started playbook that the run does
    not use. Ansible does not read variables beside a playbook that imports another one.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  leaving:
    description:
      - Hosts that this collection is about to be removed from.
      - It fails if a client host that stays verifies a server that leaves, or if a client host that leaves is needed
        for a server that stays. The message names these hosts with their identities.
    type: list
    elements: str
    default: []
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop if anything is wrong with the input of any host
  run_once: true
  pgops.tls.check_inventory:
"""

RETURN = r"""
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: variables_invalid
"""
