#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the certificates of one Patroni's REST API and of its clients to a declared state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni
short_description: Bring the certificates of one Patroni's REST API to a declared state
version_added: 1.0.0
description:
  - Gives the REST API of a Patroni a certificate of the authority for servers, and its clients on that node
    (C(patronictl), and the member when it asks others) a client certificate. It returns certificate RV(requests) with
    the reasons. Sign them with M(pgops.tls.certificate). A second call with O(certificates) installs both.
  - C(restapi.certfile), C(.keyfile) and C(.cafile), and C(ctl.certfile), C(.keyfile) and C(.cacert) in C(patroni.yml)
    name the files. Their paths never change. C(restapi.verify_client) and everything else in the file stay.
  - Private keys are generated on the host and never leave it.
  - Every change is a transaction. Files are written as a new generation and rehearsed with handshakes in memory, and
    with requests to the other members. One rename switches to them, and Patroni gets a SIGHUP. The REST API must show
    the new certificate and answer, and other members must still answer. If anything fails, the previous state is
    restored and proven.
  - After a reload with files that do not fit, Patroni's REST API gives no answer, and the next reload can lead to two
    primaries. So Patroni is never told to reload while its REST API is silent, or with files that it cannot load.
  - Patroni loads new files only with a new serial number. So if what is trusted changes, a new certificate is needed,
    for the reason V(trust_changed).
  - Patroni and PostgreSQL are never restarted. Call it for one member of a cluster at a time, the leader last.
  - It needs Patroni 3.0 or later (not 3.0.3, which reads no new certificate), the C(openssl) command, and PostgreSQL's
    C(psql). It must run as root or as the OS user that Patroni runs as.
  - Entry point P(pgops.tls.postgres_server#role) C(patroni) calls it.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.login
  - pgops.tls.attributes.hosts
  - pgops.tls.credential
  - pgops.tls.credential.clock
  - pgops.tls.option_names
options:
  state:
    description:
      - V(present) brings the REST API to the declared state.
      - V(previous) restores certificates, keys and trusted authorities of the previous generation, which become a new
        generation. C(patroni.yml) does not change. Calling it again changes nothing. If an earlier run was interrupted,
        V(previous) only undoes that run.
      - V(absent) writes back what the keys in C(patroni.yml) were before, proves that, and removes the files. Keys that
        somebody else has changed since stay. Nothing changes if this member with its former files, and the others,
        would refuse each other.
    type: str
    choices: [present, previous, absent]
    default: present
  directory:
    description:
      - The directory of the server, as O(pgops.tls.server#module:directory). The files of the REST API are in
        C(patroni) below it.
      - By default V(/etc/postgresql/tls/PORT).
    type: path
  names:
    description:
      - The DNS names and IP addresses of the server. The host in C(restapi.connect_address) must be one of them.
    type: list
    elements: str
    required: true
  roots:
    description: PEM certificates of the roots of the authority for servers. Clients of the REST API verify with them.
    type: str
    required: true
  server_issuing:
    description: PEM certificates of the authorities that issue servers' certificates, first the one that issues.
    type: str
    required: true
  server_revoked:
    description: Serial numbers of revoked server certificates, in lower-case hexadecimal.
    type: list
    elements: str
    default: []
  trusted_clients:
    description:
      - PEM certificates of the authorities whose client certificates the REST API accepts, where it asks for them.
      - Patroni checks no names. Each holder of such a certificate may send commands, so it must not be an authority of
        PostgreSQL's clients.
    type: str
    required: true
  client_issuing:
    description: PEM certificates of the authorities that issue the client certificate, first the one that issues.
    type: str
    required: true
  client_revoked:
    description: Serial numbers of revoked client certificates, in lower-case hexadecimal. Patroni itself checks none.
    type: list
    elements: str
    default: []
  certificates:
    description:
      - PEM chains (leaf first) that were issued for the requests of the first call, by V(api) and V(ctl).
      - An empty text means that the certificate comes in a later run. The one in use stays, if it is only to be
        renewed. Else nothing changes until the certificate has come.
      - A renewal by O(renew=true) is remembered with an empty text. Later calls request it again without O(renew),
        until another certificate is installed, or other CAs may issue.
    type: dict
    default: {}
  ends_former_trust:
    description:
      - Whether all members have certificates of the declared authority. Then C(ctl) stops trusting those that it
        trusted before this collection. See RV(has_former_trust).
    type: bool
    default: false
  renew:
    description: Whether to get new certificates even if none is due.
    type: bool
    default: false
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.server
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Converge, or learn which certificates the REST API needs
  pgops.tls.patroni:
    names: [pg1.example.com, 192.0.2.31]
    roots: "{{ postgres_ca_authorities.server.roots }}"
    server_issuing: "{{ postgres_ca_authorities.server.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.patroni.bundle }}"
    client_issuing: "{{ postgres_ca_authorities.patroni.issuing }}"
    controller_time: "{{ now().timestamp() }}"
  register: converged
"""

RETURN = r"""
changes:
  description: What was changed, or would be changed in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["api certificate: expires_in_12d"]
reasons:
  description: Why new certificates are needed, each with V(api) or V(ctl). Empty if none is needed.
  returned: success
  type: list
  elements: str
  sample: ["api: trust_changed"]
requests:
  description: The certificates that must be issued. Sign them and call the module again with O(certificates).
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: V(api), to be signed by the authority for servers, or V(ctl), by the one for clients of the REST API.
      type: str
    csr:
      description: The certificate request (PEM). Empty in check mode.
      type: str
    reasons:
      description: Why it is needed.
      type: list
      elements: str
certificates:
  description: The certificates in use after the call, by V(api) and V(ctl).
  returned: success
  type: dict
has_former_trust:
  description:
    - Whether C(ctl) also trusts authorities from before, because other members may still have their certificates.
  returned: success
  type: bool
next_run:
  description: What a later call with O(state=present) would change, in words.
  returned: success, with O(state=previous)
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
  sample: patroni_name_missing
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils import answering
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.restapi import convergence, target, transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.restapi import difference, removal, roll_back
else:
    difference = lazy_import("restapi.difference")
    removal = lazy_import("restapi.removal")
    roll_back = lazy_import("restapi.roll_back")

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
        **LOGIN_OPTIONS,
        "directory": {"type": "path"},
        "names": {"type": "list", "elements": "str", "required": True},
        **spec.OPTIONS,
        "roots": {"type": "str", "required": True, "no_log": True},
        "server_issuing": {"type": "str", "required": True, "no_log": True},
        "server_revoked": {"type": "list", "elements": "str", "default": []},
        "trusted_clients": {"type": "str", "required": True, "no_log": True},
        "client_issuing": {"type": "str", "required": True, "no_log": True},
        "client_revoked": {"type": "list", "elements": "str", "default": []},
        "certificates": {"type": "dict", "default": {}, "no_log": True},
        "ends_former_trust": {"type": "bool", "default": False},
        "renew": {"type": "bool", "default": False},
        "controller_time": {"type": "float", "required": True},
        **options.ARGUMENT,
    }


def converged(given: dict[str, Any], *, check_mode: bool) -> transaction.Outcome:
    """Return what a call with the options ``given`` has done. Raises TlsError."""
    wanted = target.read(given)
    return convergence.converge(
        wanted,
        convergence.locate(given),
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
