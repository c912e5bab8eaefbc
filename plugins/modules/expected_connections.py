# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action expected_connections."""

from __future__ import annotations

DOCUMENTATION = r"""
module: expected_connections
short_description: List the connections that each client host must try, and those that must be refused
version_added: 1.0.0
description:
  - Generates the lists of connections of all client hosts of the play, on the controller. Set C(run_once) for it.
    M(pgops.tls.connection_info) tries the connections on each client host.
  - Every identity of a client host must reach each of its servers by every name that is declared for the server's
    certificate. It must reach all of them by its services, and the first identity of an OS user by libpq's default
    files.
  - An identity that names V(replication) among its databases must get a physical replication connection to each of
    its servers. An identity that names nothing else makes only connections of this kind.
  - If the role or the server's rules decide on a refusal, each of its servers must refuse it to every identity. The
    default rules name no address. A server with the default rules must refuse it to one client host that has the role.
  - A foreign certificate depends on neither. Every server must refuse it to one identity that connects to the server.
  - On every client host, libpq must refuse a wrong name and a foreign root for one identity and one server.
  - A client host that failed earlier in the run tries nothing. The first of the other client hosts tries what does not
    depend on the client host.
  - Several servers may have the same name and port (an alias, a virtual address, a load balancer). Each identity tries
    such a name once. Any of these servers may answer, and the result says which one did.
  - A name with C(from) is tried only from the client hosts in it, and a name with C(port) only on that port.
  - Loopback names (V(localhost), V(127.0.0.1), V(::1)) without C(from) are tried only from the server's own machine, if
    a client host with identities runs on it. A client host runs on the machine of a server if both have the same name
    in the inventory, the same C(ansible_host) and C(ansible_port), or a local connection.
  - Names that no client host can try are listed as skipped, once for each server. For each identity, so are servers
    that its client host can reach by none of their names.
  - The server that answers must show the certificate that M(pgops.tls.server) has reported in the same run, if
    P(pgops.tls.postgres_server#role) has run.
  - These variables of a server count. O(pgops.tls.postgres_server#role:main:postgres_server_names),
    O(pgops.tls.postgres_server#role:main:postgres_server_extra_names),
    O(pgops.tls.postgres_server#role:main:postgres_server_port),
    O(pgops.tls.postgres_server#role:main:postgres_server_plaintext), and the rules.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
  - pgops.tls.limit
options:
  database:
    description: The database to connect to as an identity that names none.
    type: str
    default: postgres
  refused:
    description: The kinds of connection that must be refused, see M(pgops.tls.connection_info).
    type: list
    elements: str
    required: true
  other_role:
    description:
      - The role to ask for with another role's certificate.
      - By default another role of the inventory, and V(postgres) if there is no other.
    type: str
    default: ""
seealso:
  - module: pgops.tls.connection_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: List the connections of all client hosts
  run_once: true
  pgops.tls.expected_connections:
    refused: [plaintext, no_certificate, foreign_certificate, another_role, another_authority]
  register: expected

- name: Verify from every client host that it reaches its servers, and that nothing else is let in
  pgops.tls.connection_info:
    expectations: "{{ expected.hosts[inventory_hostname] }}"
  become: true
"""

RETURN = r"""
hosts:
  description:
    - By client host, what M(pgops.tls.connection_info) takes as O(pgops.tls.connection_info#module:expectations).
    - Client hosts that failed earlier in the run are missing.
  returned: success
  type: dict
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: servers_group_empty
"""
