#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give the OS users of a host their keys, certificates and trust for PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client
short_description: Give the OS users of a host their keys, certificates and trust for PostgreSQL
version_added: 0.1.0
description:
  - Takes the whole wanted state of a host's clients in one call. It converges, or it returns certificate RV(requests)
    with the reasons; these are to be signed with M(pgops.tls.certificate), and a second call with O(certificates)
    installs what came back.
  - The private keys are made on the host and never leave it.
  - C(psql) and every other program with libpq find the files by themselves, as they are linked to libpq's default names
    in C(~/.postgresql). Each role also is a service of its name in C(~/.pg_service.conf), for C(service=ROLE).
  - libpq uses files at its default names at every server. Where they appear for the first time, a warning says what
    that means for servers outside the inventory, in check mode too.
  - The files of an OS user change in one transaction. They are written as a new generation and rehearsed with a login
    in memory; one rename switches. If anything fails, the files are as they were before, and a run that was interrupted
    is undone by the next one.
  - O(state=previous) brings back the generation before the one in use, in such a transaction.
  - Everything below an OS user's home is done with that user's rights, so that links in it give the user nothing.
  - It needs the standard library of Python and the C(openssl) command on the host, and has to run as root, or as the
    OS user when all identities are that user's.
  - Role P(pgops.tls.postgres_client#role) calls it; use it by itself to build a role of your own.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details: With O(renew=true) or O(new_keys=true) every call without O(certificates) asks for new certificates.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.hosts
  - pgops.tls.credential
  - pgops.tls.credential.clock
options:
  state:
    description:
      - V(present) brings the OS users of O(identities) to the declared state.
      - V(previous) brings back private keys, certificates and C(root.crt) of the generation before the one in use, for
        each of these OS users. Links and C(~/.pg_service.conf) are no part of a generation and stay as they are. What
        comes back has to have a valid certificate of each identity, and to trust the roots that are declared; what does
        not is named, and nothing changes for any of them.
      - The files that come back become a new generation. The one that was left is kept as the one before, until the
        next change. While an OS user is rolled back, V(previous) changes nothing, so it goes back one generation and
        never forward again.
      - If an earlier run was interrupted, V(previous) undoes that run, and this is all it does for that OS user. Call
        it again to go back further.
      - A later call with V(present) keeps certificates that are valid and not due. It brings declared roots back.
        RV(next_run) tells.
      - V(absent) removes keys, certificates, links and services of all OS users in O(identities). Files that were kept
        as C(NAME.before-pgops) are back at their names. Before any change, and in check mode, it stops where these
        directories cannot be written.
    type: str
    choices: [present, previous, absent]
    default: present
  identities:
    description:
      - Who logs in as which role. The first identity of an OS user has libpq's default file names.
      - One that cannot be (no such OS user, no home, something of others in its place) stops the call before the files
        of any OS user change.
      - An identity that is taken out loses its key and certificate as long as its OS user has another identity. When
        the last identity of an OS user is taken out, that user's files stay as they are, and are yours to remove.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description:
          - The PostgreSQL role; the common name of the certificate, and the name of the service.
          - It has to fit for these, so it has at most 63 bytes, none of them unprintable, no slash and no closing
            bracket, and no dot at its beginning.
        type: str
        required: true
      os_user:
        description: The OS user who logs in as the role. It has to exist and to own its home directory.
        type: str
        required: true
      home:
        description:
          - The directory for C(.postgresql) and C(.pg_service.conf), in place of the OS user's home directory.
          - The OS user has to own it.
          - For accounts without a home of their own. Programs find the files there when E(HOME) says so (libpq 14 and
            newer), or by their paths.
        type: path
      databases:
        description: The databases that the identity uses. The service connects to the first one by default.
        type: list
        elements: str
        default: []
  roots:
    description: PEM certificates of the roots that servers' certificates have to come from, for C(root.crt).
    type: str
    required: true
  issuing:
    description:
      - PEM certificates of the authorities that issue clients' certificates, first the one that does at present.
      - Certificates that the others have issued stay until they are due for another reason.
      - What a chain holds behind the certificate, and is not in this list, or leads to no trusted root, is taken out of
        the file. Key and certificate stay.
    type: str
    required: true
  trusted_clients:
    description: PEM certificates of the authorities whose client certificates servers take, for the rehearsal.
    type: str
    required: true
  crls:
    description:
      - PEM certificate revocation lists (CRLs) for C(root.crl), of every authority that issues for servers.
        libpq checks whole chains, so one that lacks, or that has ended, keeps servers out; it is an error.
      - Lists of other roots may be in O(roots), too, and have to be for every root if this is not empty.
      - Services name the file with C(sslcrl), and it is at the place where libpq looks by itself. libpq ignores a
        missing file in silence, so every call looks that it is there.
      - O(state=previous) keeps the lists that are declared.
    type: str
    default: ''
  revoked:
    description:
      - Serial numbers of revoked certificates of clients, in lower-case hexadecimal. An identity whose certificate is
        among them needs another one, for the reason V(revoked).
    type: list
    elements: str
    default: []
  certificates:
    description:
      - PEM chains (leaf first) that the authority issued for the requests of the first call, by RV(requests[].id).
      - A certificate for another key than the one that was made for its request is refused.
    type: dict
    default: {}
  renew:
    description:
      - Whether to get new certificates although nothing else asks for them.
      - A key that is in use stays, so that a program that opens certificate and key during the change has two that fit.
    type: bool
    default: false
  new_keys:
    description:
      - Whether to get new certificates, as by O(renew), for new keys.
      - A program that opens its certificate before the change and its key after it has two that do not fit; libpq then
        says C(key values mismatch) for that one connection.
      - A key is replaced without being asked for when its certificate is revoked, when O(key_type) changes, and when
        its file is damaged or its owner or mode was wrong at the time of a renewal.
    type: bool
    default: false
  renew_to_new_root:
    description:
      - Whether O(renew=true) also replaces a valid certificate below another root than those of O(trusted_clients), so
        that the client moves to the new root.
      - With V(false) this is an error, and the client keeps what it has. Say so while servers still trust the old root
        only, as when none of them could follow.
    type: bool
    default: true
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.server
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Converge, or learn which certificates the clients of this host need
  pgops.tls.client:
    identities:
      - role: app
        os_user: shop
        databases: [shop]
      - role: reporting
        os_user: alice
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.client.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    controller_time: "{{ now().timestamp() }}"
  register: converged

- name: Install the certificates that were issued
  pgops.tls.client:
    identities:
      - role: app
        os_user: shop
        databases: [shop]
      - role: reporting
        os_user: alice
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.client.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    certificates:
      shop/app: "{{ lookup('ansible.builtin.file', 'app.pem') }}"
    controller_time: "{{ now().timestamp() }}"
  when: converged.requests | length > 0

- name: Go back to the generation before, for one OS user
  pgops.tls.client:
    state: previous
    identities:
      - role: reporting
        os_user: alice
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.client.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    controller_time: "{{ now().timestamp() }}"
"""

RETURN = r"""
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always, after a failure with what was changed for other OS users
  type: list
  elements: str
  sample: ["alice/reporting: new certificate (expires_in_12d)"]
reasons:
  description: Why new certificates are needed; empty when those present are as wanted.
  returned: success
  type: list
  elements: str
  sample: ["alice/reporting: expires_in_12d"]
requests:
  description: The certificates that are needed. Have them signed and call the module again with O(certificates).
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: OS_USER/ROLE.
      type: str
    role:
      description: The role that the certificate is for.
      type: str
    reasons:
      description: Why it is needed.
      type: list
      elements: str
    csr:
      description: The PEM certificate request; left out in check mode.
      type: str
next_run:
  description: What a call with O(state=present) would change on what is in use after this one, in words.
  returned: success, empty unless O(state=previous)
  type: list
  elements: str
  sample: ["alice/reporting: new certificate (expires_in_12d)"]
identities:
  description: The identities and their certificates after the call.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: OS_USER/ROLE.
      type: str
    role:
      description: The PostgreSQL role.
      type: str
    os_user:
      description: The OS user.
      type: str
    certificate:
      description: Path of the certificate chain; it stays the same when the certificate is renewed.
      type: str
    key:
      description: Path of the private key; it stays the same too.
      type: str
    serial:
      description: Serial number in hexadecimal; null when there is no certificate yet.
      type: str
    not_after:
      description: End of its life, ISO 8601 in UTC; null when there is no certificate yet.
      type: str
    sha256:
      description: Fingerprint in hexadecimal; null when there is no certificate yet.
      type: str
    pem:
      description: The certificate itself (PEM), without its chain; null when there is none yet.
      type: str
    renewal:
      description: From when on a call renews it, ISO 8601 in UTC; null when there is no certificate yet.
      type: str
rolled_back:
  description: Whether the files of each OS user that failed are back as they were before the call.
  returned: when a change failed after something live was touched
  type: bool
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target, transaction
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import removal, roll_back
else:
    removal = lazy_import("client.removal")
    roll_back = lazy_import("client.roll_back")


# Each state and the transaction that leads to it; what a run does not need is not imported
KINDS: dict[str, Callable[[], type[transaction.Transaction]]] = {
    "present": lambda: transaction.Transaction,
    "previous": lambda: roll_back.RollBack,
    "absent": lambda: removal.Removal,
}

# Options with certificates and lists; a private key among them would be logged
PEM = ("roots", "issuing", "trusted_clients", "crls", "certificates")


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    identity = {
        "role": {"type": "str", "required": True},
        "os_user": {"type": "str", "required": True},
        "home": {"type": "path"},
        "databases": {"type": "list", "elements": "str", "default": []},
    }
    return {
        "state": {"type": "str", "choices": list(KINDS), "default": "present"},
        "identities": {"type": "list", "elements": "dict", "required": True, "options": identity},
        **spec.OPTIONS,
        "roots": {"type": "str", "required": True, "no_log": True},
        "issuing": {"type": "str", "required": True, "no_log": True},
        "trusted_clients": {"type": "str", "required": True, "no_log": True},
        "crls": {"type": "str", "default": "", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "certificates": {"type": "dict", "default": {}, "no_log": True},
        "renew": {"type": "bool", "default": False},
        "new_keys": {"type": "bool", "default": False, "no_log": False},
        "renew_to_new_root": {"type": "bool", "default": True},
        "controller_time": {"type": "float", "required": True},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    hide_secrets(module, *PEM)
    now = int(time.time())
    try:
        wanted = target.read(module.params, now)
        controller_time, kind = module.params["controller_time"], KINDS[module.params["state"]]()
        converged = convergence.converge(wanted, now, controller_time, check_mode=module.check_mode, kind=kind)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in converged.warnings:
        module.warn(warning)
    result = convergence.result(converged)
    if result["next_run"]:
        module.warn(f"The next run with what is declared is going to change: {'; '.join(result['next_run'])}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
