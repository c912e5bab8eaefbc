#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell who is connected to a PostgreSQL server without TLS, or by certificates that are not in force any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: session_info
short_description: Tell who is connected to a PostgreSQL server, and by which certificates
version_added: 0.1.0
description:
  - Lists the live sessions of clients and standbys with what C(pg_stat_ssl) says of them, and marks those without TLS
    and those on certificates that are not in force any more. Never what a session does.
  - Also tells which certificate the server shows at present, and when it is renewed.
  - It asks by one query over the socket, as M(pgops.tls.server) does, makes one handshake, and changes nothing.
  - It sees who is connected at that moment. A client that connects for a second is hardly ever seen by one look;
    M(pgops.tls.fleet_report) adds up many.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
  - pgops.tls.login
  - pgops.tls.credential
options:
  show:
    description: Whether RV(sessions) has V(all) sessions, or only those with V(findings).
    type: str
    choices: [all, findings]
    default: all
  client_serials:
    description:
      - The serial numbers (hexadecimal) of the certificates that clients have now, a list for each role.
      - Sessions on a certificate of such a role with another number are marked. Of roles that are not named nothing is
        said.
    type: dict
    default: {}
  client_issuing:
    description:
      - PEM certificates of the authorities whose clients' certificates are in force.
      - Sessions on a certificate of another authority are marked.
    type: str
    default: ''
  client_revoked:
    description: The serial numbers (hexadecimal) of revoked certificates. A session continues when its own is revoked.
    type: list
    elements: str
    default: []
  names:
    description: The names that the server's certificate is to have. With O(issuing) they tell when it is renewed.
    type: list
    elements: str
    default: []
  issuing:
    description: PEM certificates of the authorities that issue servers' certificates, first the one in use.
    type: str
  revoked:
    description: Serial numbers of revoked certificates of servers, in lower-case hexadecimal.
    type: list
    elements: str
    default: []
seealso:
  - module: pgops.tls.fleet_report
  - module: pgops.tls.hba_info
  - plugin: pgops.tls.session_table
    plugin_type: filter
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: See who is connected
  pgops.tls.session_info:
  become: true
  register: found

- name: See who still uses a certificate from before the last renewal
  pgops.tls.session_info:
    show: findings
    client_serials:
      app: ["{{ serial }}"]
    client_issuing: "{{ postgres_ca_authorities.client.issuing }}"
    client_revoked: "{{ postgres_ca_authorities.client.revoked }}"
  become: true
  register: old
  vars:
    serial: 5ac6f1d97b3e
"""

RETURN = r"""
server_version:
  description: PostgreSQL's C(server_version_num).
  returned: success
  type: int
counts:
  description:
    - How many sessions there are by protocol. V(plaintext) are those over TCP without encryption, V(local) those over
      the socket, V(gss) those that GSSAPI encrypts.
  returned: success
  type: dict
  sample: {local: 1, plaintext: 2, TLSv1.3: 17}
sessions:
  description: The sessions, in the order of roles and addresses. This module's own is none of them.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Process id of the server's process.
      type: int
    role:
      description: The role.
      type: str
    database:
      description: The database; null for physical replication.
      type: str
    address:
      description: The client's IP address; null for the socket.
      type: str
    application:
      description: What the client says of itself (C(application_name)).
      type: str
    type:
      description: V(client backend) or V(walsender).
      type: str
    since:
      description: When it began, ISO 8601 in UTC.
      type: str
    encryption:
      description: V(tls), V(gss) or V(none).
      type: str
    protocol:
      description: Version of TLS; null without.
      type: str
    cipher:
      description: Name of the cipher; null without TLS.
      type: str
    serial:
      description: Serial number of the client's certificate in hexadecimal; null without one.
      type: str
    subject:
      description: Subject of the client's certificate as PostgreSQL writes it, which cuts it at 63 bytes.
      type: str
    issuer:
      description: Issuer of the client's certificate, written and cut in the same way.
      type: str
    findings:
      description:
        - What there is to say against it. It holds only what is certain.
        - V(plaintext) (over TCP, without encryption), V(revoked_certificate), V(old_certificate) (its role has other
          certificates in O(client_serials)), V(other_issuer) (none of O(client_issuing)), V(old_server_certificate) (it
          began before the server got its present certificate).
      type: list
      elements: str
  sample:
    - pid: 4711
      role: app
      database: shop
      address: 192.0.2.10
      application: shop-web
      type: client backend
      since: "2026-11-21T11:02:03Z"
      encryption: tls
      protocol: TLSv1.3
      cipher: TLS_AES_256_GCM_SHA384
      serial: 4f2a71c3
      subject: /CN=app
      issuer: /CN=PostgreSQL client issuing CA 0e73b2a4
      findings: [old_certificate]
certificate:
  description: The certificate that the server shows in a handshake; null when it offers no TLS.
  returned: success
  type: dict
  contains:
    serial:
      description: Serial number in hexadecimal.
      type: str
    not_before:
      description: Begin of its life, ISO 8601 in UTC.
      type: str
    not_after:
      description: End of its life, ISO 8601 in UTC.
      type: str
    sha256:
      description: Fingerprint in hexadecimal.
      type: str
    names:
      description: Its DNS names and IP addresses.
      type: list
      elements: str
    installed:
      description:
        - When it was installed, or a moment before that, as far as the generations on disk tell.
        - Null for a certificate that M(pgops.tls.server) did not install.
      type: str
    is_on_disk:
      description: Whether the server's file holds it. If not, a reload failed or is missing.
      type: bool
    renewal:
      description: From when on M(pgops.tls.server) renews it.
      returned: with O(names) and O(issuing)
      type: str
    reasons:
      description: Why M(pgops.tls.server) would renew it now; empty when it would not.
      returned: with O(names) and O(issuing)
      type: list
      elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        **LOGIN_OPTIONS,
        "show": {"type": "str", "choices": ["all", "findings"], "default": "all"},
        "client_serials": {"type": "dict", "default": {}},
        "client_issuing": {"type": "str", "default": "", "no_log": True},
        "client_revoked": {"type": "list", "elements": "str", "default": []},
        "names": {"type": "list", "elements": "str", "default": []},
        "issuing": {"type": "str", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        **spec.OPTIONS,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module, "issuing", "client_issuing")  # PEM, where a private key may be among them
    try:
        result = sessions.result(module.params, int(time.time()))
    except TlsError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
