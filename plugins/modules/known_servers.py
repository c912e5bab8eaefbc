# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action known_servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_servers
short_description: Say what client hosts need to know of the inventory's servers and poolers
version_added: 1.0.0
description:
  - It is about all hosts of the group C(postgres_servers), for P(pgops.tls.module_identities#filter) and
    M(pgops.tls.client).
  - It reads the files of O(pgops.tls.postgres_client#role:main:postgres_client_trust), and warns about what it leaves
    out of them.
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
- name: Learn what there is to know of the servers
  run_once: true
  pgops.tls.known_servers:
  register: known
"""

RETURN = r"""
names:
  description:
    - The names in the inventory, the names that clients use, and the addresses that Ansible uses, separated by commas.
    - It is for O(pgops.tls.client#module:known_servers).
  returned: success
  type: str
  sample: db1.example.com,192.0.2.11
endpoints:
  description:
    - A JSON text with a name and a port for each server and pooler. Client hosts that are not in
      RV(differing_endpoints) reach the server by them. It is null if they have no name for it.
    - It is for P(pgops.tls.module_identities#filter).
  returned: success
  type: str
  sample: '{"db1": ["db1.example.com", 5432]}'
differing_endpoints:
  description: What is different for some client hosts, in the same form.
  returned: success
  type: dict
  sample: {dmz1: '{"db1": ["nat.example.com", 15432]}'}
versions:
  description:
    - A JSON text with the major versions of PostgreSQL of the servers that this run has set up.
    - It is for P(pgops.tls.module_identities#filter).
  returned: success
  type: str
  sample: '{"db1": 17}'
authority:
  description: The client authority of the servers that are not in RV(authorities).
  returned: success
  type: str
  sample: client
authorities:
  description: The client authorities of the other servers and poolers, by their names in the inventory.
  returned: success
  type: dict
  sample: {billing1: billing}
bundles:
  description: The roots that identities trust at servers outside the inventory (PEM), by a short name.
  returned: success
  type: dict
trusts:
  description: A JSON text with the short name in RV(bundles) for each identity of each host that has such roots.
  returned: success
  type: str
  sample: '{"app1": {"shop/orders": "c0ffee0123456789"}}'
unready:
  description:
    - The servers and poolers that this run has not brought to their declared state. They failed, or are not part of it.
  returned: success
  type: list
  elements: str
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: authority_name_invalid
"""
