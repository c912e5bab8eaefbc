# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action session_table."""

from __future__ import annotations

DOCUMENTATION = r"""
module: session_table
short_description: Show the sessions that continue with replaced certificates, or which applications use TLS
version_added: 1.0.0
description:
  - Shows aligned lines, one for each server that could not be asked, and a last one that counts.
  - It runs on the controller, and reads what the entry point C(sessions) of P(pgops.tls.postgres_server#role) has left.
    Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  show:
    description:
      - V(old_sessions) shows the sessions of RV(pgops.tls.session_info#module:sessions) with a finding other than
        V(plaintext).
      - V(applications) shows RV(pgops.tls.session_info#module:applications). A server cannot see whether a client
        verifies it. The last column says so.
    type: str
    choices: [old_sessions, applications]
    default: old_sessions
  servers:
    description:
      - Results of M(pgops.tls.session_info) by server.
      - By default, what the entry point C(sessions) of P(pgops.tls.postgres_server#role) has left on the hosts of the
        play.
    type: dict
seealso:
  - module: pgops.tls.session_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show who still uses an old certificate
  run_once: true
  pgops.tls.session_table:

- name: Log in to a server that is not managed
  pgops.tls.session_info:
    login_host: shop.abcdef.eu-central-1.rds.example.com
    login_user: monitor
    login_sslrootcert: /etc/ssl/certs/provider-roots.pem
  delegate_to: localhost
  register: shop

- name: Show which applications use TLS there
  pgops.tls.session_table:
    show: applications
    servers: {shop: "{{ shop }}"}
"""

RETURN = r"""
msg:
  description: The lines.
  returned: success
  type: list
  elements: str
"""
