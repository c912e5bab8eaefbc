#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at the TLS of any PostgreSQL endpoint."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_info
short_description: Check the TLS of any PostgreSQL endpoint
version_added: 1.0.0
description:
  - Starts TLS with a PostgreSQL server, pooler or managed service and returns the certificates, protocol and cipher
    that it shows. It does not log in. It needs no account and no C(psql), only Python.
  - Without further options any certificate is accepted. O(names), O(roots) and O(min_days) set requirements.
  - With O(trust_files) it says what clients with these root files do at the endpoint, now and after a change of its
    root.
  - Fails if nothing answers with TLS, or if a requirement is not met. In the latter case it also returns the facts.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  host:
    description: DNS name or address to connect to.
    type: str
    required: true
  port:
    description: Port to connect to.
    type: int
    default: 5432
  server_name:
    description: The name to request (SNI), which the check with O(roots) also uses. By default O(host).
    type: str
  direct:
    description: Start TLS immediately, as C(sslnegotiation=direct) of libpq 17 does, without a request for it first.
    type: bool
    default: false
  names:
    description: DNS names and addresses that the certificate must contain. A wildcard in it covers one label.
    type: list
    elements: str
    default: []
  roots:
    description:
      - PEM certificates of trusted roots. The chain must end in one of them, and the certificate must be valid for
        O(server_name), as C(sslmode=verify-full) requires.
      - A self-signed certificate is a root for its own server.
      - Unlike libpq, Python never accepts the common name of a certificate as a name of the server.
    type: str
  min_days:
    description: The number of whole days, from now, for which the certificate must be valid.
    type: int
  trust_files:
    description:
      - Paths of files on the host with trusted roots, such as C(root.crt) of a client. Each gets a row in RV(trust),
        and makes one more handshake. A file that does not fit is no failure.
      - The names in a row are those of O(names), or O(server_name), or O(host).
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 5
seealso:
  - module: pgops.tls.connection_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Look at a managed database
  pgops.tls.endpoint_info:
    host: db.example.net
  register: database
  delegate_to: localhost

- name: Fail if its certificate does not fit
  pgops.tls.endpoint_info:
    host: db.example.net
    names: [db.example.net]
    roots: "{{ lookup('ansible.builtin.file', 'provider-roots.pem') }}"
    min_days: 14
  delegate_to: localhost

- name: Look whether the clients of this host survive the next change of the provider's root
  pgops.tls.endpoint_info:
    host: db.example.net
    trust_files: [/home/shop/.postgresql/pgops/current/orders/root.crt]
  register: database
  failed_when: database.trust is not defined or database.trust | map(attribute='findings') | flatten | length > 0
"""

RETURN = r"""
chain:
  description:
    - The certificates that the server shows, its own first.
    - With Python before 3.10 on the host, only its own.
  returned: when the server answers with TLS
  type: list
  elements: dict
  contains:
    subject:
      description: Common name of the subject.
      type: str
    issuer:
      description: Common name of the issuer.
      type: str
    names:
      description: DNS names and IP addresses.
      type: list
      elements: str
    not_before:
      description: When it becomes valid, ISO 8601 in UTC.
      type: str
    not_after:
      description: When it ends, ISO 8601 in UTC.
      type: str
    days_left:
      description: Whole days until it ends. Negative if it has expired.
      type: int
    key_type:
      description: Type of the public key.
      type: str
    serial:
      description: Serial number in hexadecimal.
      type: str
    sha256:
      description: Fingerprint in hexadecimal.
      type: str
  sample:
    - subject: db1.example.com
      issuer: pgops server issuing CA 1
      names: [db1.example.com, 192.0.2.10]
      not_before: "2026-01-01T00:00:00Z"
      not_after: "2026-04-01T00:00:00Z"
      days_left: 71
      key_type: P-256
      serial: 5f2a
      sha256: 1b2c5d7e0f0a8f6d3c5b4a29181706f5e4d3c2b1a09f8e7d6c5b4a3928170605
root:
  description:
    - The subject of the root that the chain leads to.
    - If the server does not show it, and no file of O(trust_files) has it, it is what the last certificate names as its
      issuer.
  returned: when the server answers with TLS
  type: str
  sample: C=US, O=Example Cloud, CN=Example Cloud Root G2
trust:
  description: What clients do at the endpoint, for each of O(trust_files).
  returned: when the server answers with TLS
  type: list
  elements: dict
  contains:
    file:
      description: The path.
      type: str
    root:
      description: The subject of the root that the chain leads to, by this file.
      type: str
    root_not_after:
      description: When that root ends, ISO 8601 in UTC. Null if it is not known.
      type: str
    holds_root:
      description: Whether the file has that root.
      type: bool
    roots:
      description: The number of roots in the file that are valid now.
      type: int
    intermediates:
      description:
        - The certificates in the file that are no roots. libpq does not trust them by themselves, Java does. A
          provider replaces them without notice.
      type: list
      elements: str
    expired:
      description: The certificates in the file that have expired.
      type: list
      elements: str
    not_after:
      description: When the certificate of the server ends, ISO 8601 in UTC.
      type: str
    verify_ca:
      description: Why C(sslmode=verify-ca) refuses the server, in words of OpenSSL. Empty if it does not.
      type: str
    verify_full:
      description: Why C(sslmode=verify-full) refuses the server, by name, as libpq 15 and newer does. Empty if not.
      type: dict
    findings:
      description:
        - What needs attention. Connections with C(verify-full) fail now with V(root_missing), V(chain_refused) and
          V(name_missing).
        - V(certificate_ends_soon) is within 14 days, V(root_ends_soon) within 90 days.
        - V(only_root) means that no other root in the file is valid. When the provider changes its root, these clients
          fail.
        - V(intermediate_trusted) and V(root_expired) are about the file alone.
      type: list
      elements: str
  sample:
    - file: /home/shop/.postgresql/pgops/current/orders/root.crt
      root: C=US, O=Example Cloud, CN=Example Cloud Root G2
      root_not_after: "2046-05-01T00:00:00Z"
      holds_root: true
      roots: 3
      intermediates: []
      expired: []
      not_after: "2027-02-01T00:00:00Z"
      verify_ca: ""
      verify_full: {db.example.net: ""}
      findings: []
protocol:
  description: TLS protocol version.
  returned: when the server answers with TLS
  type: str
  sample: TLSv1.3
cipher:
  description: Cipher suite.
  returned: when the server answers with TLS
  type: str
  sample: TLS_AES_256_GCM_SHA384
group:
  description:
    - Group of the key exchange that a client with this host's C(openssl) gets, by a handshake of its own. Empty if
      C(openssl) does not show it.
  returned: when the server answers with TLS
  type: str
  sample: X25519MLKEM768
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: process_timeout
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint
from ansible_collections.pgops.tls.plugins.module_utils.verification.endpoint import Wanted, probe


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 5432},
        "server_name": {"type": "str"},
        "direct": {"type": "bool", "default": False},
        "names": {"type": "list", "elements": "str", "default": []},
        "roots": {"type": "str", "no_log": True},
        "min_days": {"type": "int"},
        "trust_files": {"type": "list", "elements": "path", "default": []},
        "timeout": {"type": "int", "default": 5},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module, "roots")  # PEM, where a private key may be among them
    options = module.params
    endpoint = Endpoint(options["host"], options["port"], float(options["timeout"]), options["server_name"] or "")
    wanted = Wanted(options["names"], options["roots"] or "", options["min_days"], options["trust_files"])
    try:
        facts = probe(endpoint, wanted, int(time.time()), direct=options["direct"])
    except TlsError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
