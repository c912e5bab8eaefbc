# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action client_authorities."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_authorities
short_description: List the client authorities that the inventory needs
version_added: 1.0.0
description:
  - Reads O(pgops.tls.postgres_server#role:main:postgres_server_client_authority) of all hosts of the group
    C(postgres_servers), and O(pgops.tls.postgres_client#role:main:postgres_client_identities[].authority) of all hosts
    of the group C(postgres_clients).
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.certificate_authority
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which client authorities the fleet needs
  run_once: true
  pgops.tls.client_authorities:
  register: needed

- name: Keep them
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    clients: "{{ needed.names }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
names:
  description: The names of the client authorities.
  returned: success
  type: list
  elements: str
  sample: [client, billing]
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: authority_name_invalid
"""
