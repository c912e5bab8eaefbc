# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action fleet_connections."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_connections
short_description: List who connects to which servers and poolers of the inventory
version_added: 1.0.0
description:
  - The identities of client hosts, the poolers and the kits of the inventory, each with the servers and poolers that it
    is for. No host is asked.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.clusters
  - module: pgops.tls.fleet_report
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn who connects where
  run_once: true
  pgops.tls.fleet_connections:
  register: known

- name: Show it
  run_once: true
  ansible.builtin.debug:
    msg: "{{ known.connections }}"
"""

RETURN = r"""
connections:
  description:
    - A row for each set of servers and poolers, with all C(holders) that connect to it.
    - Each holder has a C(kind) (C(client), C(pooler), or C(kit)), a C(host) (the name of a kit), an C(id) (that of
      a client's identity, else empty), and a C(role).
  returned: success
  type: list
  elements: dict
  sample:
    - holders: [{kind: client, host: app1.example.com, id: shop/app, role: app}]
      servers: [shop1.example.com, shop2.example.com]
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: identity_servers_unknown
"""
