# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the rules for the roles of the inventory's clients."""

from __future__ import annotations

DOCUMENTATION = r"""
name: identity_rules
short_description: Make the rules of pg_hba.conf that let the clients of the inventory in
version_added: 1.0.0
positional: server, groups, hostvars
description:
  - One rule for each role that some client host logs in as, with the databases of all its identities. The method is
    C(cert). For an identity with a password it is C(scram-sha-256), and for one with both C(scram-sha-256) with
    C(clientcert=verify-full).
  - If an identity has an C(address), its rule is for that address, and a last rule rejects the role from all others. An
    identity without an address opens its databases to the role from everywhere.
  - A role with two logins for the same database is an error, because only the first rule would count.
options:
  _input:
    description:
      - The variables of the client hosts. Of them
        O(pgops.tls.postgres_client#role:main:postgres_client_identities) counts, and for an C(address) of V(self) where
        Ansible connects to.
    type: list
    elements: dict
    required: true
  server:
    description: The server that the rules are for. Only identities for this server count. By default all count.
    type: str
    default: ""
  groups:
    description: The groups of the inventory with the names of their hosts. Needed with O(server).
    type: dict
  hostvars:
    description:
      - The variables of all hosts. With them, an C(address) of V(self) includes C(samehost) for client hosts that are
        on the machine of O(server) under another name. Use it together with O(server).
    type: dict
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show the rules of this server
  ansible.builtin.debug:
    msg: >-
      {{ groups['postgres_clients'] | map('extract', hostvars)
      | pgops.tls.identity_rules(inventory_hostname, groups, hostvars) }}
"""

RETURN = r"""
_value:
  description: Rules for P(pgops.tls.hba_rule#filter), sorted by role.
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import identity_rules
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"identity_rules": explained(identity_rules.of_clients)}
