#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Issue certificates for PostgreSQL servers and clients."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Issue certificates for PostgreSQL servers and clients
version_added: 1.0.0
description:
  - Signs a list of certificate requests with an authority that M(pgops.tls.certificate_authority) keeps. One call
    signs the requests of a whole fleet.
  - An invalid request does not affect the others. It is in RV(refused) with the reason, and the module does not fail,
    because one task signs for many hosts. So check RV(refused) before you use RV(certificates).
  - It fails before it signs anything if an error affects all requests, such as a missing authority, a wrong
    passphrase, a lifetime that the issuing CA cannot grant, or a duplicate id.
  - If one of several authorities has ended, or ends too soon (see O(lifetime)), its requests are in RV(refused), and
    the others sign. If all requests are for it, the module fails.
  - It uses only the public key of a CSR, after the signature has proven that the requester has the private key. Names
    and roles are those of O(requests), so take them from the inventory, not from what a host returned.
  - Every certificate is recorded in the file C(ledger.jsonl) of O(directory) before it is returned.
  - A source in O(sources) may be unable to answer at once. Then the request is in RV(waiting), which is neither an
    error nor a change. Ask again in a later run, with a CSR for the same key.
  - Role P(pgops.tls.postgres_ca#role) calls it from its entry point C(sign).
requirements:
  - cryptography >= 38
attributes:
  check_mode:
    support: full
    details:
      - Checks everything it can, and issues nothing.
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Each request gets a new certificate. M(pgops.tls.server) and M(pgops.tls.client) decide on the host whether it
        needs one. With an empty list the module reads and writes nothing.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.authorities
  - pgops.tls.option_names
  - pgops.tls.sources
options:
  directory:
    description: Absolute path of the directory of the authorities.
    type: path
    required: true
  passphrase:
    description: The passphrase of the authorities' private keys, if they are encrypted.
    type: str
  authority:
    description:
      - The name of the authority that signs. V(server) issues certificates only for servers, V(client) and all others
        only for clients.
    type: str
    required: true
  lifetime:
    description:
      - How long new certificates are valid, as a whole number and a unit (V(m), V(h), V(d), V(w), V(y)).
      - They are valid from 5 minutes before their issue, for hosts with slow clocks.
      - It is an error if this is longer than the issuing CA's whole lifetime, or if the issuing CA has less than a
        third of this time left. If the issuing CA has less than this time left, certificates end with it, and the
        module warns. That happens only if M(pgops.tls.certificate_authority) could not replace the issuing CA, for
        example because its root's key is missing.
    type: str
    default: 90d
  requests:
    description: The certificates to issue. Refused requests are in RV(refused).
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Key of the certificate in the results. Each id must be unique.
        type: str
        required: true
      authority:
        description: The name of the authority that signs this request, if it is another one than O(authority).
        type: str
      csr:
        description:
          - The certificate request in PEM. Its key may be of type P-256, P-384, Ed25519, or RSA with 2048 bits or more.
          - Required, except in check mode.
        type: str
      names:
        description:
          - The DNS names and IP addresses of a server. Clients compare them with the name that they connect to.
          - Required for O(authority=server), and refused otherwise.
        type: list
        elements: str
      role:
        description:
          - The role that a client logs in as, 1 to 63 bytes. It becomes the common name of the certificate.
          - Required for client authorities, and refused otherwise.
        type: str
      replaces:
        description:
          - The serial number, in hexadecimal, of the certificate that is in use now. A source of type V(files) does not
            return that one again.
        type: str
      reasons:
        description: Why the certificate is needed, for the ledger.
        type: list
        elements: str
        default: []
author:
  - The pgops.tls authors (@pgops)
seealso:
  - module: pgops.tls.certificate_authority
"""

EXAMPLES = r"""
- name: Sign the request of a server
  pgops.tls.certificate:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    authority: server
    requests:
      - id: db1
        csr: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/db1.csr') }}"
        names: [db1.example, 192.0.2.10]
        reasons: [no_certificate]
  delegate_to: localhost
  run_once: true
  register: signed
  failed_when: signed is failed or signed.refused | length > 0

- name: Sign the request of a client, for 30 days
  pgops.tls.certificate:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    authority: client
    lifetime: 30d
    requests:
      - id: app1/www/orders
        csr: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/orders.csr') }}"
        role: orders
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
certificates:
  description:
    - The PEM chains by request id, the certificate first, then its issuing CA. Empty in check mode.
    - While a root is being replaced, the new root as signed by the old one comes last, if the old root's key was
      available when M(pgops.tls.certificate_authority) staged it.
    - Requests in RV(refused) have none.
  returned: success
  type: dict
  sample:
    db1: "-----BEGIN CERTIFICATE-----..."
refused:
  description:
    - The errors of requests that got no certificate, by id. Empty if all are valid.
    - Also returned in check mode, where a request may lack a CSR.
  returned: success
  type: dict
  sample:
    db2: "requests[db2].csr: the signature of the request is wrong. Its sender may not have the key."
waiting:
  description: What must happen until a later run gets the certificate, by id. Empty if nothing waits.
  returned: success
  type: dict
  sample:
    db3: "/srv/requests/db3.csr waits for its certificate (needed by 2027-02-19T02:05:00Z)."
not_after:
  description: When the certificates end, in UTC. Empty if none was requested, or all were refused.
  returned: success
  type: str
  sample: "2027-02-19T02:05:00Z"
changes:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - "issue a server certificate for db1: db1.example, 192.0.2.10 (no_certificate)"
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: lifetime_too_long
"""


from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.authority import call, signing
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.source import declared

REQUEST = {
    "id": {"type": "str", "required": True},
    "authority": {"type": "str"},
    "csr": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "role": {"type": "str"},
    "replaces": {"type": "str"},
    "reasons": {"type": "list", "elements": "str", "default": []},
}


def wish(given: dict[str, Any]) -> signing.Order:
    """Return what the options order. Raises TlsError."""
    given = {**given, "sources": declared.by_authority(given["sources"])}
    return signing.Order(**{name: given[name] for name in signing.Order._fields})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "passphrase": {"type": "str", "no_log": True},
            "authority": {"type": "str", "required": True},
            "lifetime": {"type": "str", "default": "90d"},
            # as a whole: of a list Ansible logs a text in which it does not find a csr that it is to hide
            "requests": {"type": "list", "elements": "dict", "required": True, "options": REQUEST, "no_log": True},
            **options.ARGUMENT,
            **declared.ARGUMENT,
        },
        supports_check_mode=True,
    )
    hide_secrets(module, "requests")  # PEM, where a private key may be among them
    done = call.carried_out(module, wish, signing.sign)
    module.exit_json(
        changed=bool(done.changes),
        certificates=done.certificates,
        refused=done.refused,
        waiting=done.waiting,
        not_after=done.not_after,
        changes=done.changes,
        diff={"before": "", "after": "".join(f"{change}\n" for change in done.changes)},
    )


if __name__ == "__main__":
    main()
