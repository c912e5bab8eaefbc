# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action known_servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_servers
short_description: List the names and addresses of the inventory's servers
version_added: 0.1.0
description:
  - For O(pgops.tls.client#module:known_servers). It contains the names in the inventory, the names that clients use,
    and the addresses that Ansible uses, of all hosts in the group C(postgres_servers).
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.client
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which servers the inventory knows
  run_once: true
  pgops.tls.known_servers:
  register: known
"""

RETURN = r"""
servers:
  description: Names and addresses, separated by commas.
  returned: success
  type: str
  sample: db1.example.com,192.0.2.11
"""
