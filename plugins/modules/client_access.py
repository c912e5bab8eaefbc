# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action client_access."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_access
short_description: List the identities that each server of the inventory must let in
version_added: 1.0.0
description:
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  hosts:
    description: The client hosts to look at. By default all hosts of the group C(postgres_clients).
    type: list
    elements: str
    default: []
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which clients each server has
  run_once: true
  pgops.tls.client_access:
  register: access

- name: Show the rules that this server needs
  ansible.builtin.debug:
    msg: "{{ access.servers[inventory_hostname].rules }}"
"""

RETURN = r"""
servers:
  description: By server (hosts of the group C(postgres_servers) and of the play), its clients and the rules for them.
  returned: success
  type: dict
  contains:
    clients:
      description:
        - The identities, as O(pgops.tls.postgres_client#role:main:postgres_client_identities) has them.
        - An C(address) is a list of networks, in place of V(self) too.
        - An identity that goes through a pooler is here for each server behind the pooler, with the address of the
          pooler, and in C(pooler) the common name of its certificate.
      type: list
      elements: dict
    rules:
      description: The rules for each role and login, for P(pgops.tls.hba_rule#filter), sorted by role.
      type: list
      elements: dict
    maps:
      description:
        - The lines for P(pgops.tls.ident_map#filter) that the rules need for poolers. Empty if the server has rules of
          its own.
      type: list
      elements: dict
    databases:
      description: The databases that the identities name.
      type: list
      elements: str
    must_get_in:
      description: The identities, if the server has rules of its own. Empty otherwise.
      type: list
      elements: dict
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: identity_servers_unknown
"""
