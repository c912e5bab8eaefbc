#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the TLS of one PgBouncer to a declared state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer
short_description: Bring the TLS of one PgBouncer to a declared state
version_added: 1.0.0
description:
  - Takes the whole desired state of the TLS of a PgBouncer in one call, towards its clients (the front) and towards
    PostgreSQL (the back). Either it converges, or it returns certificate RV(requests) with the reasons. Sign them with
    M(pgops.tls.certificate). A second call with O(certificates) installs all of them in one transaction.
  - The front gets a certificate of the authority for servers, for O(names). The back gets a client certificate for
    O(role), and verifies PostgreSQL with C(server_tls_sslmode=verify-full). Private keys are generated on the host and
    never leave it.
  - Every change is a transaction. Files are written as a new generation and rehearsed. C(psql), as the OS user of
    PgBouncer, must reach each host in C([databases]) with the new files. One rename switches to them, and PgBouncer
    reloads. A handshake must show the new certificate, and new connections to PostgreSQL must work. If anything fails,
    the previous state is restored and proven, and the module fails with PgBouncer's own reason.
  - It adds one C(%include) to the configuration file, at the end of section C([pgbouncer]). The rest does not change.
  - PgBouncer is never restarted. From 1.24 on, connections to PostgreSQL are renewed with C(RECONNECT), one database
    after the other, if the files of the back changed. Before 1.24 PgBouncer itself renews them at each reload.
  - It needs PgBouncer 1.18 or later with a TCP port and a Unix socket, the C(openssl) command, and C(psql) for changes.
    It must run as root or as the OS user that PgBouncer runs as.
  - PgBouncer cannot check lists of revoked certificates. A revoked client certificate works until it expires.
  - Role P(pgops.tls.postgres_pooler#role) calls it.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.hosts
  - pgops.tls.credential
  - pgops.tls.credential.clock
  - pgops.tls.option_names
options:
  state:
    description:
      - V(present) brings PgBouncer to the declared state.
      - V(previous) restores certificates, keys and trusted authorities of the previous generation, which become a new
        generation. Settings stay as declared. Calling it again changes nothing. If an earlier run was interrupted,
        V(previous) only undoes that run.
      - V(absent) removes the C(%include), so that PgBouncer's own settings take effect again, proves that, and removes
        what this collection keeps in O(directory), also the private keys. Files of others stay there.
    type: str
    choices: [present, previous, absent]
    default: present
  port:
    description: Port of PgBouncer. The module finds it through its Unix socket.
    type: int
    default: 6432
  login_unix_socket:
    description:
      - Directory of PgBouncer's Unix socket, its C(unix_socket_dir).
      - By default the first of V(/var/run/postgresql), V(/run/postgresql), V(/var/run/pgbouncer) and
        V(/run/pgbouncer) with a socket for O(port). V(/tmp) must be set explicitly, because anybody can put a socket
        there while PgBouncer is down.
    type: path
  config_file:
    description:
      - The configuration file that PgBouncer was started with.
      - The module changes it with the rights of the OS user that PgBouncer runs as. A file in a directory that only
        root can write to is replaced as root, and keeps its owner, group and mode.
    type: path
    default: /etc/pgbouncer/pgbouncer.ini
  directory:
    description: Directory for the generations. It belongs to the OS user that PgBouncer runs as.
    type: path
    default: /etc/pgbouncer/tls
  names:
    description: The DNS names and IP addresses that clients use for PgBouncer.
    type: list
    elements: str
    required: true
  role:
    description:
      - The common name of the client certificate for PostgreSQL.
      - All users of the pooler share this certificate. PostgreSQL maps it to their roles, for example with
        C(hostssl shop app 192.0.2.20/32 cert map=pooler) in C(pg_hba.conf) and C(pooler pgbouncer app) in
        C(pg_ident.conf). The holder of its key can log in as each of these roles.
    type: str
    default: pgbouncer
  client_tls_sslmode:
    description:
      - What PgBouncer requires of its clients.
      - V(require) accepts only TLS, and verifies a client certificate if the client presents one.
      - V(verify-full) also requires a certificate. C(auth_type=cert) needs it.
      - V(allow) and V(prefer) also accept connections without TLS.
      - A mode that PgBouncer has by its own settings is not lowered. That is refused until a call has set that mode.
    type: str
    choices: [allow, prefer, require, verify-ca, verify-full]
    default: require
  settings:
    description:
      - More settings of the front. C(client_tls_protocols), C(client_tls_ciphers), C(client_tls13_ciphers),
        C(client_tls_ecdhcurve) and C(client_tls_dheparams) are possible.
      - A setting that the version of PgBouncer does not know is an error.
    type: dict
    default: {}
  roots:
    description: PEM certificates of the roots of the authority for servers. The back verifies PostgreSQL with them.
    type: str
    required: true
  server_issuing:
    description: PEM certificates of the authorities that issue the certificate of the front, first the one that issues.
    type: str
    required: true
  server_revoked:
    description: Serial numbers of revoked server certificates, in lower-case hexadecimal.
    type: list
    elements: str
    default: []
  trusted_clients:
    description: PEM certificates of the authorities whose client certificates PgBouncer accepts from its clients.
    type: str
    required: true
  client_issuing:
    description: PEM certificates of the authorities that issue the certificate of the back, first the one that issues.
    type: str
    required: true
  client_revoked:
    description: Serial numbers of revoked client certificates, in lower-case hexadecimal.
    type: list
    elements: str
    default: []
  certificates:
    description:
      - PEM chains (leaf first) that were issued for the requests of the first call, by V(front) and V(back).
      - An empty text means that the certificate comes in a later run. PgBouncer keeps the one that it has.
      - A renewal by O(renew=true) is remembered with an empty text. Later calls request it again without O(renew),
        until another certificate is installed, or other CAs may issue.
    type: dict
    default: {}
  renew:
    description: Whether to get new certificates even if none is due.
    type: bool
    default: false
  on_lockout:
    description:
      - V(refuse) stops before any change that locks out clients, and V(allow) continues.
      - With O(state=absent), these are clients that are connected with TLS if PgBouncer's own settings offer none.
      - Otherwise, these are clients that are connected without TLS if O(client_tls_sslmode) requires TLS and the mode
        in force does not, and clients with certificates of a CA in PgBouncer's own C(client_tls_ca_file) that
        O(trusted_clients) lacks. Connections that exist continue in each case.
    type: str
    choices: [refuse, allow]
    default: refuse
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.server
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Converge, or learn which certificates PgBouncer needs
  pgops.tls.pgbouncer:
    names: [pool1.example.com, 192.0.2.20]
    roots: "{{ postgres_ca_authorities.server.roots }}"
    server_issuing: "{{ postgres_ca_authorities.server.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    client_issuing: "{{ postgres_ca_authorities.client.issuing }}"
    controller_time: "{{ now().timestamp() }}"
  register: converged
"""

RETURN = r"""
changes:
  description: What was changed, or would be changed in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["front certificate: expires_in_12d"]
reasons:
  description: Why new certificates are needed, each with V(front) or V(back). Empty if none is needed.
  returned: success
  type: list
  elements: str
  sample: ["front: san_missing: pool2.example.com"]
requests:
  description: The certificates that must be issued. Sign them and call the module again with O(certificates).
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: V(front), to be signed by the authority for servers, or V(back), by the one for clients.
      type: str
    csr:
      description: The certificate request (PEM). Empty in check mode.
      type: str
    reasons:
      description: Why it is needed.
      type: list
      elements: str
certificates:
  description: The certificates in use after the call, by V(front) and V(back).
  returned: success
  type: dict
pgbouncer_version:
  description: The version of PgBouncer.
  returned: success
  type: str
  sample: "1.24"
next_run:
  description: What a later call with O(state=present) would change, in words.
  returned: success, with O(state=previous)
  type: list
  elements: str
pooler_log:
  description: PgBouncer's own log lines that say why it refused a change.
  returned: when PgBouncer refused a change
  type: list
  elements: str
rolled_back:
  description: Whether the previous state was restored and proven.
  returned: when a change failed after something live was touched
  type: bool
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: back_refused
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils import answering
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import settings
from ansible_collections.pgops.tls.plugins.module_utils.pooler import convergence, target, transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.pooler import difference, removal, roll_back
else:
    difference = lazy_import("pooler.difference")
    removal = lazy_import("pooler.removal")
    roll_back = lazy_import("pooler.roll_back")

# Each state and the transaction that leads to it; what a run does not need is not imported
KINDS: dict[str, Callable[[], type[transaction.Transaction]]] = {
    "present": lambda: transaction.Transaction,
    "previous": lambda: roll_back.RollBack,
    "absent": lambda: removal.Removal,
}

# Options with certificates; a private key among them would be logged
PEM = ("roots", "server_issuing", "trusted_clients", "client_issuing", "certificates")


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "state": {"type": "str", "choices": list(KINDS), "default": "present"},
        "port": {"type": "int", "default": 6432},
        "login_unix_socket": {"type": "path"},
        "config_file": {"type": "path", "default": "/etc/pgbouncer/pgbouncer.ini"},
        "directory": {"type": "path", "default": "/etc/pgbouncer/tls"},
        "names": {"type": "list", "elements": "str", "required": True},
        "role": {"type": "str", "default": "pgbouncer"},
        "client_tls_sslmode": {"type": "str", "choices": list(settings.SSLMODES), "default": "require"},
        "settings": {"type": "dict", "default": {}},
        **spec.OPTIONS,
        "roots": {"type": "str", "required": True, "no_log": True},
        "server_issuing": {"type": "str", "required": True, "no_log": True},
        "server_revoked": {"type": "list", "elements": "str", "default": []},
        "trusted_clients": {"type": "str", "required": True, "no_log": True},
        "client_issuing": {"type": "str", "required": True, "no_log": True},
        "client_revoked": {"type": "list", "elements": "str", "default": []},
        "certificates": {"type": "dict", "default": {}, "no_log": True},
        "renew": {"type": "bool", "default": False},
        "on_lockout": {"type": "str", "choices": ["refuse", "allow"], "default": "refuse"},
        "controller_time": {"type": "float", "required": True},
        **options.ARGUMENT,
    }


def converged(given: dict[str, Any], *, check_mode: bool) -> transaction.Outcome:
    """Return what a call with the options ``given`` has done. Raises TlsError."""
    return convergence.converge(
        target.read(given),
        given["port"],
        given["login_unix_socket"],
        int(time.time()),
        given["controller_time"],
        check_mode=check_mode,
        kind=KINDS[given["state"]](),
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    answering.answer(module, PEM, converged, convergence.result, difference)


if __name__ == "__main__":
    main()
