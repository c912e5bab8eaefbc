# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action client_requests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_requests
short_description: Complete the certificate requests of a client host from the inventory
version_added: 0.1.0
description:
  - Takes the roles from the inventory, and puts the name of the host into the ids. So no host can ask for what is not
    its own. It runs on the controller, for each client host that asks.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  requests:
    description: The requests that M(pgops.tls.client) returned on the host.
    type: list
    elements: dict
    required: true
  identities:
    description: The identities that the inventory gives to the host.
    type: list
    elements: dict
    required: true
  authority:
    description: The client authority that signs for the identities that name no other.
    type: str
    default: client
seealso:
  - module: pgops.tls.client
  - module: pgops.tls.certificate
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Complete what this host asks for
  pgops.tls.client_requests:
    requests: "{{ postgres_client_converged.requests }}"
    identities: "{{ postgres_client_identities }}"
  register: completed
"""

RETURN = r"""
requests:
  description: Requests for M(pgops.tls.certificate), in the same order. Their ids are C(HOST/OS_USER/ROLE).
  returned: success
  type: list
  elements: dict
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: request_not_an_identity
"""
