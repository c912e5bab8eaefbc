#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make archives with certificates for people and applications outside the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_kit
short_description: Make archives with certificates for people and applications outside the inventory
version_added: 1.0.0
description:
  - A kit is a zip archive for one person or application. It has the certificate of a role, the roots of the servers,
    services for libpq, and a README with lines that connect from eight drivers. One call makes all kits.
  - The private key of a kit is made by this module, on the host with the authorities. It is in the archive in three
    forms (PEM, DER, PKCS#12), each encrypted with the password of the kit by AES-256 and PBKDF2 with SHA-256 and
    200,000 rounds. It is in no other file. Everything else in the archive is public and not encrypted.
  - With O(kits[].csr), the person keeps the key, and the kit has none and needs no password.
  - A kit is replaced, with a new key and a new certificate, if its certificate is due or revoked, or if its roots, its
    role or its password have changed. If only its services or its README differ, it keeps both.
  - It fails before it signs or writes anything if an entry of O(kits) is wrong, or if there is another file in place of
    an archive. Each archive appears by one rename, with mode V(0600).
  - If a kit cannot be made, for example because the key in O(kits[].csr) is revoked, the others are made, and then the
    module fails with the reason in RV(refused).
  - Every certificate is in the file C(ledger.jsonl) of O(directory), by the id C(kit:NAME).
  - Role P(pgops.tls.postgres_ca#role) calls it from its entry point C(kits).
requirements:
  - cryptography >= 38
  - openssl
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.authorities
  - pgops.tls.credential
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
  authorities:
    description:
      - The authorities, as in RV(pgops.tls.certificate_authority#module:authorities). V(server) and the authority of
        each kit are needed.
    type: dict
    required: true
  lifetime:
    description: How long new certificates are valid. See O(pgops.tls.certificate#module:lifetime).
    type: str
    default: 90d
  renew:
    description: Whether to replace all kits.
    type: bool
    default: false
  kits:
    description: The kits. Archives of kits that are not listed are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name of the kit, of its archive C(NAME.zip) and of the folder in it.
          - Letters, digits and C(.), C(-), C(_), C(@), C(+).
        type: str
        required: true
      role:
        description: The role to log in as. It becomes the common name of the certificate.
        type: str
        required: true
      authority:
        description: The client authority that the servers trust.
        type: str
        default: client
      directory:
        description:
          - Absolute path of the directory for the archive, on the host with the authorities. It is created with mode
            V(0700) if it is missing.
          - It must not be in the directory of the authorities.
        type: path
        required: true
      password:
        description:
          - The password that encrypts the private key, 12 to 128 printable ASCII characters.
          - Required without O(kits[].csr), and refused otherwise.
        type: str
      csr:
        description:
          - A certificate request in PEM that the person has made. Only its key is used, which may be of type P-256,
            P-384, Ed25519, or RSA with 2048 bits or more.
          - A key with a certificate of somebody else, or with a revoked one, is refused, see RV(refused).
        type: str
      databases:
        description: The databases to connect to. Examples name the first one, without any the one with the role's name.
        type: list
        elements: str
        default: []
      endpoints:
        description: Where the servers are reached. Examples name the first one.
        type: list
        elements: dict
        required: true
        suboptions:
          server:
            description: The name of the server in the inventory, for the names of services.
            type: str
            required: true
          host:
            description: The name or address, which must be in the server's certificate.
            type: str
            required: true
          port:
            description: The port.
            type: int
            required: true
author:
  - The pgops.tls authors (@pgops)
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.certificate_authority
"""

EXAMPLES = r"""
- name: Make a kit for Anna
  pgops.tls.client_kit:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    authorities: "{{ postgres_ca_authorities }}"
    kits:
      - name: anna
        role: reporting
        directory: /srv/kits
        password: "{{ vault_kit_anna }}"
        databases: [shop]
        endpoints:
          - {server: db1, host: db1.example.com, port: 5432}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
kits:
  description: What there is of each kit, in the order of O(kits).
  returned: success, and if kits were refused
  type: list
  elements: dict
  contains:
    name:
      description: See O(kits[].name).
      type: str
    id:
      description: The id of its certificate in C(ledger.jsonl).
      type: str
      sample: kit:anna
    role:
      description: See O(kits[].role).
      type: str
    authority:
      description: See O(kits[].authority).
      type: str
    path:
      description: The path of the archive.
      type: str
    key_made_here:
      description: Whether this module has made the private key, and not the person.
      type: bool
    serial:
      description: Serial number of the certificate in hexadecimal. Null if there is no kit yet.
      type: str
    sha256:
      description: Fingerprint of the certificate in hexadecimal. Null if there is no kit yet.
      type: str
    given:
      description: When the kit was made, ISO 8601 in UTC. Null if there is no kit yet.
      type: str
    not_after:
      description: When the certificate ends, ISO 8601 in UTC. Null if there is no kit yet.
      type: str
    renewal:
      description: From when on the kit is replaced, ISO 8601 in UTC. Null if there is no kit yet.
      type: str
    is_new:
      description: Whether this call has made it, so that it must be handed out. Always false in check mode.
      type: bool
    is_rewritten:
      description: Whether only its services or its README have changed, or would change in check mode.
      type: bool
    reasons:
      description: Why it must be replaced, and was not, as in check mode. Empty otherwise.
      type: list
      elements: str
waiting:
  description: What must happen until a later run gets the certificate, by the names of kits.
  returned: success, and if kits were refused
  type: dict
  sample: {}
refused:
  description:
    - Why kits could not be made, by their names. The key in O(kits[].csr) may not be used, or the certificate could
      not be signed or used.
    - Such a kit stays as it is. The others were made, or would be in check mode.
  returned: if kits were refused
  type: dict
changes:
  description: What was done, or would be done in check mode.
  returned: success, and if kits were refused
  type: list
  elements: str
  sample:
    - "make kit anna for role reporting (key made here): /srv/kits/anna.zip (no_kit)"
summary:
  description: A line for each kit that was or would be made, or that waits. New ones must be handed out.
  returned: success, and if kits were refused
  type: list
  elements: str
  sample:
    - "anna: /srv/kits/anna.zip is due (expires_in_29d)"
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: kit_path_taken
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.authority import call
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.kit import making
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.source import declared

ENDPOINT: dict[str, dict[str, Any]] = {
    "server": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
}
KIT: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "role": {"type": "str", "required": True},
    "authority": {"type": "str", "default": "client"},
    "directory": {"type": "path", "required": True},
    "password": {"type": "str", "no_log": True},
    "csr": {"type": "str"},
    "databases": {"type": "list", "elements": "str", "default": []},
    "endpoints": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT},
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "directory": {"type": "path", "required": True},
        "passphrase": {"type": "str", "no_log": True},
        "authorities": {"type": "dict", "required": True, "no_log": True},
        "lifetime": {"type": "str", "default": "90d"},
        "renew": {"type": "bool", "default": False},
        # As a whole: of a list Ansible logs a text in which it does not find a csr that it is to hide
        "kits": {"type": "list", "elements": "dict", "required": True, "options": KIT, "no_log": True},
        **spec.OPTIONS,
        **options.ARGUMENT,
        **declared.ARGUMENT,
    }


def wish(given: dict[str, Any]) -> making.Wish:
    """Return what the options wish for. Raises TlsError."""
    given = {**given, "sources": declared.by_authority(given["sources"])}
    return making.Wish(**{name: given[name] for name in making.Wish._fields})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    passwords = [str(one["password"]) for one in module.params["kits"] if one["password"]]
    hide_secrets(module, "kits", "authorities", secrets=passwords)
    done = call.carried_out(module, wish, making.make)
    result = {
        "changed": bool(done.changes),
        "kits": done.kits,
        "waiting": done.waiting,
        "changes": done.changes,
        "summary": making.summary(done),
        "diff": {"before": "", "after": "".join(f"{change}\n" for change in done.changes)},
    }
    if done.refused:
        message = " ".join(f"Kit {name}: {text}" for name, text in done.refused.items())
        module.fail_json(msg=message, code="kits_refused", refused=done.refused, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
