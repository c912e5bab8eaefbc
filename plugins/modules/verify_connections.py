# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action verify_connections."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_connections
short_description: Try the connections that the inventory promises, and those that it rules out
version_added: 0.1.0
description:
  - Makes the list of connections for a client host on the controller, and has M(pgops.tls.connection_info) try them
    there.
  - Every identity of a client host has to reach every server by every name that the server's certificate is declared to
    hold. It has to reach one of them by its service, and the first identity of an OS user by libpq's default files.
  - An identity that names V(replication) among its databases has to get a physical replication connection to every
    server; one that names nothing else makes connections of this kind only.
  - What the role and the server's rules decide must be refused to every identity by every server. A server with the
    default rules, which name no address, must refuse it to one client host that has the role.
  - They do not decide on a foreign certificate, which every server must refuse to one identity of one client host, nor
    on a wrong name and a foreign root, which libpq of every client host must refuse to one identity and for one server.
  - A client host that failed earlier in the run tries nothing. What does not depend on the client host is tried by the
    first of the others alone.
  - A name that several servers have with the same port (an alias, a virtual address, a load balancer) is tried once by
    each identity. Any of these servers may answer, and the result says which one has.
  - Names of loopback (V(localhost), V(127.0.0.1), V(::1)) are tried from the server's own machine alone, if a client
    host with identities is on it. A client host is on the machine of a server if both have the same name in the
    inventory, the same C(ansible_host) and C(ansible_port), or a local connection.
  - Wildcard names, and loopback names that no client host can try, are on the list as skipped, once for each server.
  - The server that answers has to show the certificate that M(pgops.tls.server) has reported in the same run, if
    P(pgops.tls.postgres_server#role) has run.
  - Of the variables of a server count O(pgops.tls.postgres_server#role:main:postgres_server_names),
    O(pgops.tls.postgres_server#role:main:postgres_server_extra_names),
    O(pgops.tls.postgres_server#role:main:postgres_server_port),
    O(pgops.tls.postgres_server#role:main:postgres_server_plaintext) and the rules.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  identities:
    description: O(pgops.tls.postgres_client#role:main:postgres_client_identities) of the client host.
    type: list
    elements: dict
    required: true
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
  hosts:
    description:
      - The hosts of the run, where C(--limit) leaves some out. Servers that are not among them are not tried, unless no
        server is among them.
    type: list
    elements: str
    default: []
  connect_timeout:
    description: Seconds within which a connection has to stand.
    type: int
    default: 10
seealso:
  - module: pgops.tls.connection_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Verify from every client host that it reaches every server, and that nothing else is let in
  pgops.tls.verify_connections:
    identities: "{{ postgres_client_identities }}"
    refused: [plaintext, no_certificate, foreign_certificate, another_role, wrong_name, foreign_root]
  become: true
  register: verified
"""

RETURN = r"""
checks:
  description: What became of each connection, as RV(pgops.tls.connection_info#module:checks).
  returned: always
  type: list
  elements: dict
deviations:
  description: A sentence for each connection that was not as expected.
  returned: always
  type: list
  elements: str
"""
