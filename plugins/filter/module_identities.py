# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the identities of a client host what module client takes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: module_identities
short_description: Make the identities of a client host what module client takes
version_added: 1.0.0
description:
  - An identity gets its certificate from the client authority that its servers trust.
  - An identity also gets its endpoints, which are where this client host reaches its servers.
  - An identity with a server that this run has not brought to its declared state is marked. Module client then keeps
    what the identity logs in with.
  - An identity for a service that is not PostgreSQL gets V(none) as its C(login), or C(trusts_clients).
  - An identity for servers outside the inventory gets V(password) as its C(login).
  - Fails for an identity whose servers trust different authorities.
positional: servers, groups, host
options:
  _input:
    description: The identities, as O(pgops.tls.postgres_client#role:main:postgres_client_identities) has them.
    type: list
    elements: dict
    required: true
  servers:
    description: The result of M(pgops.tls.known_servers).
    type: dict
    required: true
  groups:
    description: The groups of the inventory.
    type: dict
    required: true
  host:
    description: The name of the client host in the inventory.
    type: str
    required: true
seealso:
  - module: pgops.tls.known_servers
  - module: pgops.tls.client
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn what there is to know of the servers
  run_once: true
  pgops.tls.known_servers:
  register: servers

- name: Show which authority most identities of this host have their certificates from
  ansible.builtin.debug:
    msg: >-
      {{ (postgres_client_identities | pgops.tls.module_identities(servers, groups, inventory_hostname)).authority }}
"""

RETURN = r"""
_value:
  description: The identities, their authority, and the servers that the host knows.
  type: dict
  contains:
    authority:
      description: The name of the authority of the identities that name none.
      type: str
      sample: client
    identities:
      description:
        - The identities. Those of another authority have its name in C(authority). Those with a server that does not
          follow in this run have C(servers_ready=false).
        - C(endpoints) has C(server), C(host) and C(port) of each server that the client host can reach.
      type: list
      elements: dict
    trust:
      description: The roots of identities for servers outside the inventory, for option C(trust) of that module.
      type: dict
    known_servers:
      description: The names of all servers of the inventory, for option C(known_servers) of M(pgops.tls.client).
      type: str
      sample: db1.example.com,db2.example.com
"""

from typing import Any, Callable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils import filters, module_identities


def as_data(identities: Sequence[Mapping[str, Any]], servers: Mapping[str, Any], groups: Any, host: str) -> Any:
    """Return the identities of a host, and their usual authority, as templates can use it."""
    return module_identities.of_host(identities, servers, groups, host)._asdict()


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"module_identities": filters.explained(as_data)}
