#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep a server CA and a client CA for PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority
short_description: Keep a server CA and a client CA for PostgreSQL
version_added: 0.1.0
description:
  - Makes two certificate authorities that have nothing in common, and keeps them. The server CA issues the certificates
    of PostgreSQL servers, the client CA those of roles that log in. PostgreSQL's C(ssl_ca_file) trusts every CA in it
    for logins, so a certificate of the one must not pass for one of the other.
  - Each has a root and, below it, an issuing CA that signs all certificates; clients and servers trust the roots. Roots
    live 10 years. Issuing CAs live 5 years, since their keys are in daily use.
  - Call it on one host, the CA host, before M(pgops.tls.certificate). Role P(pgops.tls.postgres_ca#role) does it.
  - Every run reads the authorities, opens the keys that issue, and fails if the passphrase is wrong, a file is missing
    or damaged, or a key does not belong to its certificate.
  - An issuing CA is replaced by a run in its last half year, below the same root. Nobody notices except servers, whose
    list of authorities changes. What the one before has issued stays until it is due. If the key of the root is kept
    elsewhere, runs ask for it from then on.
  - A root is replaced only if you ask for it, in four phases (O(phase)) between which runs have to reach all hosts.
    In its last year every run warns. Playbook C(pgops.tls.rotate_ca) does all of it.
requirements:
  - cryptography >= 38
  - the C(openssl) command, where O(passphrase) is given
attributes:
  check_mode:
    support: full
    details:
      - Authorities that are missing are made in memory, so that later tasks have something to work with. The real run
        makes other ones.
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.authorities
options:
  directory:
    description:
      - Absolute path of the directory of the authorities. It is made with mode V(0700) if it is missing.
      - It holds plain files that are fit for a git repository if their keys are encrypted,
        C(server/0001/root.crt), C(root.key), C(issuing.crt), C(issuing.key), the same below C(client), and
        C(ledger.jsonl), the record of all issued certificates.
      - Back it up. It cannot be made again, and every server and client would have to learn to trust a new one.
      - The file C(root.key) of each authority may be kept elsewhere. It is needed for one run in the last half year of
        an issuing CA, in the folder with the highest number, for O(phase=stage).
      - Folders with higher numbers, C(staged), C(retiring) and C(retired) come with replacements.
    type: path
    required: true
  create:
    description:
      - Whether to make authorities that are missing. V(false) fails and tells in RV(missing) which ones are, so that
        hosts can be asked first whether they have certificates of others.
    type: bool
    default: true
  passphrase:
    description:
      - The passphrase of all private keys of the authorities, one line of 8 characters to 1000 bytes. Keys are
        encrypted with AES-256. Choose a long random one if the files leave the host.
      - Without it the keys are not encrypted.
      - It does not change the passphrase of keys that exist; a wrong one is an error.
    type: str
  key_type:
    description:
      - Type of the private keys of the authorities.
      - Ed25519 is not among them, because SCRAM's channel binding fails under such an authority. Servers and clients
        may have Ed25519 keys.
      - Authorities that exist with another type are an error, because an authority cannot change its keys. A staged one
        has the type that is wanted then, and those of O(rotate) may have another type until it is staged.
    type: str
    choices: [P-256, P-384, RSA-3072, RSA-4096]
    default: P-256
  certificate_lifetime:
    description:
      - How long certificates are going to be valid that M(pgops.tls.certificate) will be asked for, such as V(90d).
      - It is checked against the life of the issuing CAs, so that a mistake is found before anything changes, and they
        are replaced when they have less left than two times of it.
    type: str
  phase:
    description:
      - Takes the authorities of O(rotate) a phase further in the replacement of their roots. What is there already is
        no change, and a phase that is not next is an error.
      - V(stage) makes a new root and a new issuing CA, which are in RV(authorities.server.roots) and
        RV(authorities.client.bundle) from then on, and issue nothing. Have every host trust them, by a run.
      - V(switch) lets them issue. Then have every host get a new certificate. If the old root's key was there at
        V(stage), chains hold the new root as signed by the old one, and who trusts only that one is not shut out yet.
      - V(retire) takes the old root out of what is trusted. Then have every host forget it. Where chains hold the new
        root as signed by the old one, that takes two calls with V(retire).
      - The first of them takes that certificate out of RV(authorities.client.issuing), and everybody trusts the old
        root still. Then have every host shorten its chains; it needs no new certificate for it. pgjdbc logs in with no
        chain whose last issuer the server does not trust, so this has to come first.
      - V(finish) removes the old private keys. Certificates stay, in the folder C(retired).
      - Refused as long as the newest certificate of an id in the ledger, of an authority in O(rotate), is neither in
        O(certificates_in_use) nor in O(outside_holders), unless it has ended or is revoked; RV(unproven) tells which.
      - V(retire) is also refused without O(outside_trust).
    type: str
    choices: [stage, switch, retire, finish]
  rotate:
    description:
      - The authorities that O(phase) is about, by default both; without it, those whose O(key_type) may differ until a
        new one is staged, by default none.
    type: list
    elements: str
    choices: [server, client]
    default: []
  certificates_in_use:
    description:
      - The certificates of hosts and identities that this run has seen in use, for O(phase). They prove that everybody
        is ready for it.
    type: dict
    default: {}
    suboptions:
      server: &certificates_in_use
        description: Those of this authority.
        type: list
        elements: dict
        default: []
        suboptions:
          id:
            description: The id by which the certificate was issued.
            type: str
            required: true
          serial:
            description: Its serial number in hexadecimal.
            type: str
            required: true
      client: *certificates_in_use
  outside_holders:
    description:
      - Who has certificates outside the inventory, where no run sees them, for O(phase). Such a certificate was signed
        by M(pgops.tls.certificate) for a host that is in no group.
      - An entry counts until the end of the day O(outside_holders[].until) in UTC. From then on it is a warning.
      - One that nobody in the ledger is fails O(phase), with the nearest.
    type: list
    elements: dict
    default: []
    suboptions:
      authority:
        description: Which authority signed the certificate.
        type: str
        choices: [server, client]
        required: true
      id:
        description: The id by which it was signed.
        type: str
        required: true
      until:
        description: The last day on which the entry counts, such as V(2027-02-28).
        type: str
        required: true
      by:
        description: Who answers for it. Messages name them.
        type: str
        required: true
  outside_trust:
    description:
      - The answer that O(phase=retire) needs, for what no run can see. Copies of the old root outside the inventory
        (poolers, partners, exported bundles) are worth nothing from then on.
      - The common name of the new root, or its last word, for each authority of O(rotate), once all of them have it.
        It is no answer for the root after that.
      - V(none) where there is nobody. It is refused where the ledger knows of somebody.
    type: list
    elements: str
    default: []
  unrecorded:
    description:
      - Certificates that hosts have in use. What the ledger does not hold of them is put back, with a warning, as
        after a restore from an older backup. RV(issued) tells what it holds.
      - A certificate that no trusted authority of O(directory) has signed is left out.
    type: dict
    default: {}
    suboptions:
      server: &unrecorded
        description: Those of this authority.
        type: list
        elements: dict
        default: []
        suboptions:
          id:
            description: The id by which it was signed.
            type: str
            required: true
          certificate:
            description: The certificate (PEM).
            type: str
            required: true
      client: *unrecorded
  drop:
    description:
      - In an emergency, the authority with a root that nobody may trust any longer, as when its key was stolen.
      - Fails and tells in RV(breaks) what would break, unless O(drop_confirmed) names the root. Then a new authority
        takes its place, and the old one is in no list of what is to be trusted.
      - Hosts trust the old root until a run reaches them; playbook C(pgops.tls.drop_ca) does all of it. Afterwards the
        authority is as after V(retire), and O(phase=finish) removes the keys.
    type: str
    choices: [server, client]
  drop_confirmed:
    description:
      - The common name of the root that O(drop) is to drop, or its last word. One that is dropped already is no change.
    type: str
  revoked:
    description:
      - What is to be revoked, by entries that each have one of O(revoked[].role), O(revoked[].host) and
        O(revoked[].serial).
      - The first entry brings certificate revocation lists (CRLs) into use, for good and for both authorities, as
        RV(authorities.server.crls) and RV(authorities.client.crls). As long as nothing is revoked there are none.
      - What is revoked is recorded in C(revoked.jsonl) and stays revoked, also when its entry is taken out. It stays in
        the lists, too, so no list ever revokes less than the one before.
      - An entry that no certificate was ever issued for is an error, since it may be misspelt. One whose certificates
        have all ended is a warning.
      - A list is made anew at half of its life, those of issuing CAs after 45 days or half of O(certificate_lifetime)
        if that is longer, those of roots after 2.5 years. If the key that it takes is kept elsewhere, every run warns
        from then on, and fails when the list ends within 30 days.
    type: list
    elements: dict
    default: []
    suboptions:
      role:
        description: Revokes all certificates of a role.
        type: str
      host:
        description:
          - Revokes all certificates that were issued for a host of the inventory, as a server and for its identities.
        type: str
      serial:
        description:
          - Revokes one certificate, by its serial number in hexadecimal, and every other one for the same key.
          - Write it in quotes.
          - Whoever has it, and still is to have one, gets another one from M(pgops.tls.server) or M(pgops.tls.client).
        type: str
      authority:
        description:
          - Which authority signed the certificate with this serial number.
          - Only needed if C(ledger.jsonl) does not hold it, as after a restore from an older backup.
        type: str
        choices: [server, client]
      reason:
        description: Why, for whoever reads the list.
        type: str
        choices: [unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn]
        default: unspecified
author:
  - The pgops.tls authors (@pgops)
seealso:
  - module: pgops.tls.certificate
"""

EXAMPLES = r"""
- name: Keep the authorities on the controller
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
  delegate_to: localhost
  run_once: true
  register: ca

- name: Stage new roots, after a run in which all hosts were seen
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    phase: stage
    certificates_in_use:
      server:
        - {id: db1, serial: 2c5ac6f1d90e73b2a4}
      client:
        - {id: app1/www/orders, serial: 5ac6f1d90e73b2a42c}
  delegate_to: localhost
  run_once: true

- name: Revoke the certificate whose key was copied, and all of a host that is gone
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    revoked:
      - {serial: "2c5ac6f1d90e73b2a4418a5ce1f0b1d7e3a95c20", reason: keyCompromise}
      - {host: db3.example.com, reason: cessationOfOperation}
  delegate_to: localhost
  run_once: true
  register: ca

- name: Show until when the issuing CA of the servers can issue certificates
  ansible.builtin.debug:
    var: ca.authorities.server.issuing_not_after
"""

RETURN = r"""
missing:
  description: The authorities that are missing.
  returned: when O(create=false) and at least one is
  type: list
  elements: str
  sample: [server, client]
unproven:
  description: Certificates that hinder O(phase).
  returned: when O(phase) is refused for them
  type: list
  elements: dict
  contains: &certificate
    authority:
      description: Which authority issued it.
      type: str
    id:
      description: The id by which it was issued.
      type: str
      sample: app1/www/orders
    serial:
      description: Its serial number in hexadecimal.
      type: str
    not_after:
      description: Its end, in UTC.
      type: str
      sample: "2027-02-19T02:05:00Z"
consequence:
  description: What O(drop) would break, in a sentence.
  returned: when O(drop) is not confirmed
  type: str
breaks:
  description: The newest certificate of each id that O(drop) would break.
  returned: when O(drop) is not confirmed
  type: list
  elements: dict
  contains: *certificate
root:
  description: The common name of the root that O(drop) is about, for O(drop_confirmed).
  returned: when O(drop) is not confirmed
  type: str
  sample: PostgreSQL client root CA 5ac6f1d9
made:
  description: The authorities that were missing and are made; in check mode those that would be.
  returned: success
  type: list
  elements: str
  sample: [server, client]
authorities:
  description: Both authorities.
  returned: success
  type: dict
  contains:
    server:
      description: The authority of servers.
      type: dict
      contains: &authority
        roots:
          description:
            - PEM certificates of the roots.
            - Those of RV(authorities.server) belong into the C(root.crt) of clients.
          type: str
        issuing:
          description:
            - PEM certificates of issuing CAs, first the one in use.
            - Certificates that the others have issued, which were in use before it below the same root, may stay.
            - While a root is replaced, also the new root as signed by the old one, as long as chains are to hold it.
              Hosts take out of their chains what is not in this list, or leads to no root that is trusted.
          type: str
        bundle:
          description:
            - PEM certificates of all trusted issuing CAs, then those of the roots.
            - Those of RV(authorities.client) belong into the C(ssl_ca_file) of servers.
          type: str
        crls:
          description: PEM certificate revocation lists. Empty as long as nothing was ever revoked.
          type: str
        revoked:
          description: Serial numbers of revoked certificates that have not expired, in lower-case hexadecimal.
          type: list
          elements: str
        phase:
          description:
            - How far the replacement of the root is. V(steady) is when none is going on.
            - V(staged) is when the new root is trusted and issues nothing yet, V(switched) when it issues and the old
              one is still trusted, V(retiring) when the old one is trusted no longer, and hosts may still have it.
          type: str
          sample: steady
        replaced:
          description: Whether the root took the place of an earlier one, which is retired.
          type: bool
        key_type:
          description: Type of the authority's keys.
          type: str
          sample: P-256
        root_not_after:
          description: End of the root's life, in UTC.
          type: str
          sample: "2036-11-18T02:05:00Z"
        issuing_not_after:
          description: End of the issuing CA's life, in UTC.
          type: str
          sample: "2031-11-20T02:05:00Z"
    client:
      description: The authority of clients.
      type: dict
      contains: *authority
issued:
  description:
    - Serial numbers (hexadecimal) of the certificates in the ledger that have not expired, by authority.
    - None if the ledger cannot be read.
  returned: success
  type: dict
  sample: {server: [2c5ac6f1d90e73b2a4], client: [5ac6f1d90e73b2a42c]}
changes:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - "make the server CA: 'PostgreSQL server root CA 5ac6f1d9' until 2036-11-18T02:05:00Z,
      'PostgreSQL server issuing CA 0e73b2a4' until 2031-11-20T02:05:00Z, P-256"
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    keeping,
    library,
    lineage,
    planning,
    profiles,
    revocation_entries,
)
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets

IN_USE = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"id": {"type": "str", "required": True}, "serial": {"type": "str", "required": True}},
}
OUTSIDE = {
    "authority": {"type": "str", "choices": ["server", "client"], "required": True},
    **{name: {"type": "str", "required": True} for name in ("id", "until", "by")},
}
UNRECORDED = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"id": {"type": "str", "required": True}, "certificate": {"type": "str", "required": True}},
}


REVOKED = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "role": {"type": "str"},
        "host": {"type": "str"},
        "serial": {"type": "str"},
        "authority": {"type": "str", "choices": ["server", "client"]},
        "reason": {
            "type": "str",
            "choices": list(revocation_entries.REASONS),
            "default": revocation_entries.UNSPECIFIED,
        },
    },
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "directory": {"type": "path", "required": True},
        "create": {"type": "bool", "default": True},
        "passphrase": {"type": "str", "no_log": True},
        "key_type": {"type": "str", "choices": list(profiles.AUTHORITY_KEY_TYPES), "default": "P-256", "no_log": False},
        "certificate_lifetime": {"type": "str"},
        "phase": {"type": "str", "choices": ["stage", "switch", "retire", "finish"]},
        "rotate": {"type": "list", "elements": "str", "choices": ["server", "client"], "default": []},
        "certificates_in_use": {"type": "dict", "default": {}, "options": {"server": IN_USE, "client": IN_USE}},
        "outside_holders": {"type": "list", "elements": "dict", "default": [], "options": OUTSIDE},
        "outside_trust": {"type": "list", "elements": "str", "default": []},
        "unrecorded": {"type": "dict", "default": {}, "options": {"server": UNRECORDED, "client": UNRECORDED}},
        "drop": {"type": "str", "choices": ["server", "client"]},
        "drop_confirmed": {"type": "str"},
        "revoked": REVOKED,
    }


def wish(options: dict[str, Any]) -> keeping.Wish:
    """Return what the options ask for."""
    change = planning.Change(
        options["phase"] or "",
        options["rotate"] or (list(profiles.PURPOSES) if options["phase"] else []),
        options["certificates_in_use"],
        options["drop"] or "",
        options["drop_confirmed"] or "",
        options["outside_holders"],
        options["outside_trust"],
    )
    return keeping.Wish(
        options["directory"],
        options["key_type"],
        options["passphrase"],
        options["certificate_lifetime"] or "",
        options["revoked"],
        change,
        {name: certificates or [] for name, certificates in options["unrecorded"].items()},
        creates=options["create"],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("phase", "drop")],
        required_by={"drop_confirmed": "drop"},
        supports_check_mode=True,
    )
    hide_secrets(module)
    if not library.is_usable():
        module.fail_json(
            msg=f"{library.shortcoming()} {missing_required_lib(library.REQUIREMENT)}", exception=library.PROBLEM
        )
    try:
        done = keeping.keep(wish(module.params), int(time.time()), is_dry=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in done.warnings:
        module.warn(warning)
    module.exit_json(
        changed=bool(done.changes),
        authorities={
            name: lineage.facts(found, done.crls.get(name, ""), done.revoked.get(name, ()))
            for name, found in done.lineages.items()
        },
        made=done.made,
        issued=done.issued,
        changes=done.changes,
        diff={"before": done.before, "after": done.after},
    )


if __name__ == "__main__":
    main()
