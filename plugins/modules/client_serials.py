# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action client_serials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_serials
short_description: Collect the serial numbers of the certificates that clients have
version_added: 1.0.0
description:
  - For O(pgops.tls.session_info#module:client_serials), after P(pgops.tls.postgres_client#role) has run on the client
    hosts in the same run.
  - A role is left out if one of the client hosts that have it in
    O(pgops.tls.postgres_client#role:main:postgres_client_identities) has not reported which certificate it has.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which certificates clients have
  run_once: true
  pgops.tls.client_serials:
  register: clients

- name: Look who is connected by an old certificate
  pgops.tls.session_info:
    client_serials: "{{ clients.serials[inventory_hostname] }}"
  become: true
  register: found
"""

RETURN = r"""
serials:
  description: By server, the serial numbers in hexadecimal, a list for each role.
  returned: success
  type: dict
  sample: {db1: {app: [4f2a71c3, 5ac6f1d9]}}
"""
