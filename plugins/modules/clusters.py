# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action clusters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clusters
short_description: List the cluster of each server of the inventory
version_added: 1.0.0
description:
  - The cluster of a server is the group below C(postgres_servers) that the server is in.
  - If a server is in several of these groups, the innermost one counts. Of several innermost groups the one with the
    fewest hosts counts, and of equally large ones the first by name.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.fleet_report
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which cluster each server is in
  run_once: true
  pgops.tls.clusters:
  register: known

- name: Show the cluster of this server
  ansible.builtin.debug:
    msg: "{{ known.clusters[inventory_hostname] }}"
"""

RETURN = r"""
clusters:
  description: The cluster of each host of group C(postgres_servers). Empty for a server that is in no group below it.
  returned: success
  type: dict
  sample: {shop1.example.com: shop, billing1.example.com: billing}
"""
