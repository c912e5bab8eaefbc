# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action replication_proof."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_proof
short_description: Compare what a host replicates with and what the other end shows
version_added: 1.0.0
description:
  - For tasks of P(pgops.tls.postgres_server#role), which asks the other ends with M(pgops.tls.session_info) first.
  - It fails if an end was asked and has no session for replication with the certificate of the connection. If no name
    of a server says where the connection leads, it warns instead.
  - Connections without a client certificate are left out.
  - It runs on the controller.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  connections:
    description: RV(pgops.tls.server#module:replication.connections) of the host.
    type: list
    elements: dict
    required: true
  upstreams:
    description: For each connection by its name, the servers of the run that it leads to.
    type: dict
    required: true
  assumed:
    description: The connections by their names for which no name of a server says where they lead.
    type: list
    elements: str
    default: []
seealso:
  - module: pgops.tls.replication_batches
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Compare both ends
  pgops.tls.replication_proof:
    connections: "{{ postgres_server_replication_converged.replication.connections }}"
    upstreams: {standby: [db1]}
"""

RETURN = r"""
msg:
  description: What is proven, a line for each connection.
  returned: success
  type: list
  elements: str
  sample: ["standby: db1 shows certificate 5ac6f1d97b3e."]
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: replication_other_certificate
"""
