#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell who is connected to a PostgreSQL server without TLS, or by certificates that are not in force any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: session_info
short_description: Show who is connected to a PostgreSQL server, and with which certificates
version_added: 1.0.0
description:
  - Lists the live sessions of clients and standbys with their data from C(pg_stat_ssl), and marks sessions without TLS
    and sessions that use outdated certificates. It never shows what a session does.
  - Also returns the certificate that the server shows now, and when it is due for renewal.
  - It runs one query over the socket, as M(pgops.tls.server) does, makes one handshake, and changes nothing.
  - With O(login_host) it logs in over the network instead, from any host that has libpq. So it also works for servers
    that this collection does not manage, such as those of a provider.
  - Without O(login_host) it returns what M(pgops.tls.server) says of a standby's or subscriber's own connections, too.
  - It sees only current connections. One look rarely sees a client that connects for a second.
    M(pgops.tls.fleet_report) adds up many looks.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
  - pgops.tls.login
  - pgops.tls.credential
  - pgops.tls.option_names
options:
  login_host:
    description:
      - DNS name or address of a server to log in to over the network, with O(login_user). C(PG*) variables have no
        effect.
      - The connection uses TLS, and the server's certificate is verified before the login.
      - The role must be a member of C(pg_read_all_stats) or C(pg_monitor). It needs no superuser.
      - Connect to PostgreSQL itself. Through a pooler, the role sees only the pooler's sessions.
    type: str
  login_database:
    description: The database to connect to at O(login_host).
    type: str
    default: postgres
  login_password:
    description: The password of O(login_user) at O(login_host). Without it, C(.pgpass) of the OS user is used.
    type: str
  login_sslmode:
    description:
      - How the server's certificate is verified. V(verify-ca) does not compare its names. Use it only where the
        certificate has none that fits.
    type: str
    choices: [verify-ca, verify-full]
    default: verify-full
  login_sslrootcert:
    description:
      - File with the trusted roots, on the host where the module runs. By default C(~/.postgresql/root.crt) of the OS
        user.
    type: path
  login_sslcert:
    description: File with a client certificate, on the host where the module runs.
    type: path
  login_sslkey:
    description: File with its private key.
    type: path
  show:
    description:
      - Whether RV(sessions) has V(all) sessions, or only those with V(findings) and those that send to standbys and
        subscribers.
    type: str
    choices: [all, findings]
    default: all
  client_serials:
    description:
      - The serial numbers (hexadecimal) of the certificates that clients have now, a list for each role.
      - Sessions of such a role on a certificate with another number are marked. Roles that are not listed are not
        checked.
    type: dict
    default: {}
  client_issuing:
    description:
      - PEM certificates of the authorities whose client certificates are current.
      - Sessions on a certificate of another authority are marked.
    type: str
    default: ''
  client_revoked:
    description: Serial numbers (hexadecimal) of revoked certificates. Sessions continue when theirs is revoked.
    type: list
    elements: str
    default: []
  names:
    description: The names that the server's certificate should have. With O(issuing) they determine when it is renewed.
    type: list
    elements: str
    default: []
  issuing:
    description: PEM certificates of the authorities that issue servers' certificates, first the one that issues now.
    type: str
  revoked:
    description: Serial numbers of revoked server certificates, in lower-case hexadecimal.
    type: list
    elements: str
    default: []
notes:
  - A server cannot see whether a client verifies the server's certificate. RV(applications) therefore does not say so.
    Without TLS nothing is verified. A client certificate proves that the client is configured for TLS, not that it
    verifies the server.
seealso:
  - module: pgops.tls.fleet_report
  - module: pgops.tls.hba_info
  - module: pgops.tls.session_table
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

- name: See which applications use TLS on a server that is not managed
  pgops.tls.session_info:
    login_host: shop.abcdef.eu-central-1.rds.example.com
    login_user: monitor
    login_password: "{{ monitor_password }}"
    login_sslrootcert: /etc/ssl/certs/provider-roots.pem
  delegate_to: localhost
  register: shop
  vars:
    monitor_password: "{{ lookup('ansible.builtin.env', 'MONITOR_PASSWORD') }}"
"""

RETURN = r"""
server_version:
  description: PostgreSQL's C(server_version_num).
  returned: success
  type: int
system_identifier:
  description: PostgreSQL's C(system_identifier), as in RV(pgops.tls.server#module:system_identifier).
  returned: success, without O(login_host)
  type: str
  sample: "7441830217664398427"
replication:
  description:
    - What this server replicates from others, as in RV(pgops.tls.server#module:replication). No password is in it.
    - Left out where the files of these connections cannot be read, such as those of a server in a container.
  returned: success, for a standby, a server with an enabled subscription or with C(synchronous_standby_names)
  type: dict
counts:
  description:
    - The number of sessions by protocol. V(plaintext) counts sessions over TCP without encryption, V(local) over the
      socket, V(gss) with GSSAPI encryption.
  returned: success
  type: dict
  sample: {local: 1, plaintext: 2, TLSv1.3: 17}
applications:
  description:
    - All applications that are connected over the network, whatever O(show) says. Sessions over the socket are not in
      it.
    - PostgreSQL does not say which driver a client uses. C(application_name) often does.
  returned: success
  type: list
  elements: dict
  contains:
    application:
      description: The C(application_name). Empty if the client gave none.
      type: str
    role:
      description: The role.
      type: str
    database:
      description: The database. Empty for physical replication.
      type: str
    address:
      description: The client's IP address.
      type: str
    sessions:
      description: The number of its sessions.
      type: int
    tls:
      description: How many of its sessions use TLS, V(all), V(some) or V(none).
      type: str
    protocols:
      description: The versions of TLS.
      type: list
      elements: str
    ciphers:
      description: The names of the ciphers.
      type: list
      elements: str
    client_certificate:
      description: How many of its sessions have a client certificate that the server has verified.
      type: str
    serials:
      description: Serial numbers of these certificates in hexadecimal.
      type: list
      elements: str
    issuers:
      description: Issuers of these certificates as PostgreSQL writes them, truncated to 63 bytes.
      type: list
      elements: str
  sample:
    - application: shop-web
      role: app
      database: shop
      address: 192.0.2.10
      sessions: 8
      tls: all
      protocols: [TLSv1.3]
      ciphers: [TLS_AES_256_GCM_SHA384]
      client_certificate: all
      serials: [4f2a71c3]
      issuers: [/CN=PostgreSQL client issuing CA 0e73b2a4]
sessions:
  description: The sessions, ordered by role and address, without this module's own session.
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
      description: The database. Null for physical replication.
      type: str
    address:
      description: The client's IP address. Null for the socket.
      type: str
    application:
      description: The client's C(application_name).
      type: str
    type:
      description: V(client backend) or V(walsender).
      type: str
    since:
      description: When the session began, ISO 8601 in UTC.
      type: str
    encryption:
      description: V(tls), V(gss) or V(none).
      type: str
    protocol:
      description: Version of TLS. Null without TLS.
      type: str
    cipher:
      description: Name of the cipher. Null without TLS.
      type: str
    serial:
      description: Serial number of the client's certificate in hexadecimal. Null without a certificate.
      type: str
    subject:
      description: Subject of the client's certificate as PostgreSQL writes it, truncated to 63 bytes.
      type: str
    issuer:
      description: Issuer of the client's certificate, written and truncated in the same way.
      type: str
    findings:
      description:
        - What is wrong with the session. It contains only what is certain.
        - V(plaintext) (over TCP, without encryption), V(revoked_certificate), V(old_certificate) (its role has other
          certificates in O(client_serials)), V(other_issuer) (none of O(client_issuing)), V(old_server_certificate)
          (it began before the server got its current certificate).
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
  description: The certificate that the server shows in a handshake. Null if it offers no TLS.
  returned: success
  type: dict
  contains:
    serial:
      description: Serial number in hexadecimal.
      type: str
    not_before:
      description: When it becomes valid, ISO 8601 in UTC.
      type: str
    not_after:
      description: When it ends, ISO 8601 in UTC.
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
        - When it was installed, or a moment before that, according to the generations on disk.
        - Null for a certificate that M(pgops.tls.server) did not install.
      type: str
    is_on_disk:
      description: Whether the server's file contains it. If not, a reload failed or is missing.
      returned: without O(login_host)
      type: bool
    renewal:
      description: When it becomes due for renewal by M(pgops.tls.server).
      returned: with O(names) and O(issuing)
      type: str
    reasons:
      description: Why M(pgops.tls.server) would renew it now. Empty if it would not.
      returned: with O(names) and O(issuing)
      type: list
      elements: str
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: os_user_unknown
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions

CONDITIONS = {
    "mutually_exclusive": [("login_host", "login_unix_socket")],
    "required_by": {
        "login_host": ["login_user"],
        **dict.fromkeys(("login_password", "login_sslrootcert", "login_sslcert", "login_sslkey"), ("login_host",)),
    },
    "required_together": [("login_sslcert", "login_sslkey")],
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        **LOGIN_OPTIONS,
        "login_host": {"type": "str"},
        "login_database": {"type": "str", "default": "postgres"},
        "login_password": {"type": "str", "no_log": True},
        "login_sslmode": {"type": "str", "choices": ["verify-ca", "verify-full"], "default": "verify-full"},
        "login_sslrootcert": {"type": "path"},
        "login_sslcert": {"type": "path"},
        "login_sslkey": {"type": "path", "no_log": False},
        "show": {"type": "str", "choices": ["all", "findings"], "default": "all"},
        "client_serials": {"type": "dict", "default": {}},
        "client_issuing": {"type": "str", "default": "", "no_log": True},
        "client_revoked": {"type": "list", "elements": "str", "default": []},
        "names": {"type": "list", "elements": "str", "default": []},
        "issuing": {"type": "str", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        **spec.OPTIONS,
        **options.ARGUMENT,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **CONDITIONS)
    hide_secrets(module, "issuing", "client_issuing")  # PEM, where a private key may be among them
    try:
        with options.named(module.params["option_names"]):
            result = sessions.result(module.params, int(time.time()))
    except TlsError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
