# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the list of connections to verify from an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: expectations
short_description: Make the list of connections to verify from an inventory
version_added: 0.1.0
description:
  - Every identity of a client host has to reach every server by every name that the server's certificate is declared to
    hold. It has to reach one of them by its service, and the first identity of an OS user by libpq's default files.
  - An identity that names V(replication) among its databases has to get a physical replication connection to every
    server; one that names nothing else makes connections of this kind only.
  - What the role and the server's rules decide must be refused to every identity by every server. A server with the
    default rules, which name no address, must refuse it to one client host that has the role; see O(before).
  - They do not decide of a foreign certificate, which every server must refuse to one identity of one client host, nor
    of a wrong name and a foreign root, which libpq of every client host must refuse to one identity and for one server.
  - A name that several servers have with the same port (an alias, a virtual address, a load balancer) is tried once by
    each identity. Any of these servers may answer, and the result says which one has.
  - Names of loopback (V(localhost), V(127.0.0.1), V(::1)) are tried from the server's own machine alone, if a client
    host with identities is on it; see O(here).
  - Wildcard names, and loopback names that no client host can try, are on the list as skipped, once for each server.
positional: identities
options:
  _input:
    description:
      - The variables of the server hosts, with the defaults of role P(pgops.tls.postgres_server#role). Of them count
        O(pgops.tls.postgres_server#role:main:postgres_server_names),
        O(pgops.tls.postgres_server#role:main:postgres_server_extra_names),
        O(pgops.tls.postgres_server#role:main:postgres_server_port),
        O(pgops.tls.postgres_server#role:main:postgres_server_plaintext) and the rules.
      - What M(pgops.tls.server) has said in the same run of a server's certificate counts, too, if it is registered as
        role P(pgops.tls.postgres_server#role) does it. The server that answers has to show that certificate.
    type: list
    elements: dict
    required: true
  identities:
    description:
      - O(pgops.tls.postgres_client#role:main:postgres_client_identities) of the client host that is going
        to connect.
    type: list
    elements: dict
    required: true
  clients:
    description:
      - The variables of all client hosts. The check that one role's certificate does not let in as another role asks
        for a role that one of them has in O(pgops.tls.postgres_client#role:main:postgres_client_identities).
    type: list
    elements: dict
    default: []
  before:
    description:
      - The variables of those client hosts that verify in the same run and come before this one. What they try is not
        tried again where it does not depend on the client host, so leave out those that will try nothing.
    type: list
    elements: dict
    default: []
  here:
    description:
      - The variables of the client host that is going to connect. It is on the machine of a server if both have the
        same name in the inventory, the same C(ansible_host) and C(ansible_port), or a local connection.
    type: dict
  hosts:
    description:
      - The hosts of the run, where C(--limit) leaves some out. Servers that are not among them are not tried, unless no
        server is among them.
    type: list
    elements: str
    default: []
  database:
    description: The database to connect to as an identity that names none.
    type: str
    default: postgres
  refused:
    description: The kinds of connection that must be refused, see M(pgops.tls.connection_info). By default all.
    type: list
    elements: str
  other_role:
    description:
      - The role to ask for with another role's certificate.
      - By default another role of the inventory, and V(postgres) if there is no other.
    type: str
    default: ""
seealso:
  - module: pgops.tls.connection_info
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Verify from every client that it reaches every server, and that nothing else is let in
  pgops.tls.connection_info:
    expectations: "{{ servers | pgops.tls.expectations(postgres_client_identities, clients=clients, here=own) }}"
  vars:
    servers: "{{ groups['postgres_servers'] | map('extract', hostvars) }}"
    clients: "{{ groups['postgres_clients'] | map('extract', hostvars) }}"
    own: "{{ hostvars[inventory_hostname] }}"
"""

RETURN = r"""
_value:
  description: What M(pgops.tls.connection_info) takes as its option O(pgops.tls.connection_info#module:expectations).
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import expectations
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"expectations": explained(expectations.from_inventory)}
