#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep a server CA and client CAs for PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority
short_description: Keep a server CA and client CAs for PostgreSQL
version_added: 1.0.0
description:
  - Creates and maintains separate certificate authorities. The server CA issues the certificates of PostgreSQL
    servers, a client CA those of roles that log in. PostgreSQL trusts every CA in C(ssl_ca_file) for logins, so a
    server's certificate must never be accepted as a client's.
  - A role's name means something within one cluster only. Clusters that must not accept each other's certificates have
    client CAs of their own. See O(clients).
  - Each has a root and, below it, an issuing CA that signs all certificates. Clients and servers trust the roots.
    Roots are valid for 10 years. Issuing CAs are valid for 5 years, because their keys are in daily use.
  - Call it on one host, the CA host, before M(pgops.tls.certificate). Role P(pgops.tls.postgres_ca#role) does it.
  - Every run reads the authorities and opens the issuing keys. It fails if the passphrase is wrong, a file is missing
    or damaged, or a key does not belong to its certificate.
  - A run replaces an issuing CA in its last half year, below the same root. Only the servers' list of authorities
    changes. Certificates of the old issuing CA stay until they are due. If the key of the root is kept elsewhere, runs
    ask for it from then on.
  - An issuing CA that has ended is a warning, because other authorities can still sign. It is an error if all
    authorities that are needed have ended. A root of this module that has ended is always an error.
  - A root is replaced only on request, in four phases (O(phase)). Between phases, runs must reach all hosts. In a
    root's last year every run warns. Playbook C(pgops.tls.rotate_ca) runs the whole replacement.
requirements:
  - cryptography >= 38
  - the C(openssl) command, if O(passphrase) is set
attributes:
  check_mode:
    support: full
    details:
      - Missing authorities are created in memory, so that later tasks have authorities to work with. The real run
        creates different ones.
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.authorities
  - pgops.tls.option_names
  - pgops.tls.sources
options:
  directory:
    description:
      - Absolute path of the directory of the authorities. It is created with mode V(0700) if it is missing.
      - It contains plain files that you can keep in a git repository if the keys are encrypted,
        C(server/0001/root.crt), C(root.key), C(issuing.crt), C(issuing.key), the same below C(client) and below each
        other name in O(clients), and C(ledger.jsonl), the record of all issued certificates.
      - Back it up. It cannot be recreated, and every server and client would need trust in new authorities.
      - You may keep the file C(root.key) of each authority elsewhere. Bring it back to the folder with the highest
        number for one run in the last half year of an issuing CA, and for O(phase=stage).
      - Replacements add folders with higher numbers, C(staged), C(retiring) and C(retired).
    type: path
    required: true
  clients:
    description:
      - The names of the client authorities that the fleet needs. A missing one is created, also in an existing
        directory.
      - Authorities in O(directory) that are not in this list are kept, renewed and returned, too.
      - Up to 30 lower-case letters, digits and hyphens, the first a letter. V(server) is not allowed.
    type: list
    elements: str
    default: [client]
  create:
    description:
      - Whether to create the authorities if the directory has none. V(false) fails and lists them in RV(missing), so
        that you can first check whether hosts have certificates from other authorities.
    type: bool
    default: true
  passphrase:
    description:
      - The passphrase for all private keys of the authorities, one line of 8 characters to 1000 bytes. Keys are
        encrypted with AES-256. Choose a long random passphrase if the files leave the host.
      - Without it the keys are not encrypted.
      - It does not change the passphrase of existing keys. A wrong passphrase is an error.
    type: str
  key_type:
    description:
      - Type of the private keys of the authorities.
      - Ed25519 is not supported, because SCRAM's channel binding fails under such an authority. Servers and clients
        may have Ed25519 keys.
      - It is an error if an existing authority has another type, because an authority cannot change its keys. A newly
        staged authority gets this type. Authorities in O(rotate) may have another type until then.
    type: str
    choices: [P-256, P-384, RSA-3072, RSA-4096]
    default: P-256
  certificate_lifetime:
    description:
      - The lifetime that M(pgops.tls.certificate) will use for certificates, such as V(90d).
      - It is checked against the lifetime of the issuing CAs, so that a mistake is found before anything changes. An
        issuing CA is replaced when it has less than twice this time left.
    type: str
  phase:
    description:
      - Moves the authorities in O(rotate) to the next phase of the replacement of their roots. A phase that is already
        done is no change. A phase that is not the next one is an error.
      - V(stage) creates a new root and a new issuing CA. They are in RV(authorities.server.roots) and
        RV(authorities.client.bundle) from then on, and issue nothing yet. Then run the playbook, so that every host
        trusts them.
      - V(switch) makes them issue certificates. Then renew the certificate of every host. If the old root's key was
        available at V(stage), chains contain the new root as signed by the old one. Hosts that trust only the old root
        are not shut out yet.
      - V(retire) ends the trust in the old root. Then run the playbook, so that every host removes it. If chains
        contain the new root as signed by the old one, this takes two calls with V(retire).
      - The first call removes that certificate from RV(authorities.client.issuing). All hosts still trust the old
        root. Then run the playbook, so that every host shortens its chains. Hosts need no new certificates for this.
        It must come first, because pgjdbc cannot log in with a chain whose last issuer the server does not trust.
      - V(finish) removes the old private keys. Certificates stay, in the folder C(retired).
      - A phase after V(stage) is refused if the newest certificate of any id in the ledger, for an authority in
        O(rotate), is neither in O(certificates_in_use) nor in O(outside_holders). Expired and revoked certificates do
        not count. RV(unproven) lists the missing certificates.
      - V(stage) only adds trust, so it warns of them and goes ahead. RV(awaited) lists them until they are seen.
      - V(retire) is also refused without O(outside_trust).
    type: str
    choices: [stage, switch, retire, finish]
  rotate:
    description:
      - The names of the authorities that O(phase) applies to, by default all. Without O(phase), the authorities whose
        O(key_type) may differ until a new one is staged, by default none.
    type: list
    elements: str
    default: []
  certificates_in_use:
    description:
      - The certificates of hosts and identities that this run has seen in use, for O(phase). They prove that all hosts
        are ready for it.
    type: list
    elements: dict
    default: []
    suboptions:
      authority: &authority_name
        description: The name of the authority that issued the certificate.
        type: str
        required: true
      id:
        description: The id with which the certificate was issued.
        type: str
        required: true
      serial:
        description:
          - Its serial number in hexadecimal. Empty if the holder no longer has a certificate, because it logs in by
            password. Then a certificate of this id in the ledger does not stop the phase.
        type: str
        required: true
  outside_holders:
    description:
      - Holders of certificates outside the inventory, where no run sees them, for O(phase). M(pgops.tls.certificate)
        signed such a certificate for a host that is in no group.
      - An entry is valid until the end of the day O(outside_holders[].until) in UTC. After that it causes a warning.
      - An entry that matches no holder in the ledger fails O(phase). The message names the closest match.
    type: list
    elements: dict
    default: []
    suboptions:
      authority: *authority_name
      id:
        description: The id with which it was signed.
        type: str
        required: true
      until:
        description: The last day on which the entry is valid, such as V(2027-02-28).
        type: str
        required: true
      by:
        description: Who is responsible for it. Messages show this name.
        type: str
        required: true
  outside_trust:
    description:
      - The answer that O(phase=retire) requires. No run sees copies of the old root outside the inventory (poolers,
        partners, exported bundles), and they stop working from then on.
      - Set the common name of the new root, or its last word, for each authority in O(rotate), once all copies have
        it. The answer is not valid for any later root.
      - Set V(none) if there are no such copies. It is refused if the ledger has holders outside the inventory.
    type: list
    elements: str
    default: []
  unrecorded:
    description:
      - Certificates that hosts have in use. Those that are missing from the ledger are added to it, with a warning, as
        after a restore from an older backup. RV(issued) lists the certificates in the ledger.
      - A certificate that no trusted authority in O(directory) has signed is ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      authority: *authority_name
      id:
        description: The id with which it was signed.
        type: str
        required: true
      certificate:
        description: The certificate (PEM).
        type: str
        required: true
  drop:
    description:
      - The name of the authority, in an emergency, whose root must no longer be trusted, for example because its key
        was stolen.
      - Fails and lists in RV(breaks) what would break, unless O(drop_confirmed) names the root. Then a new authority
        takes its place, and the old one is no longer in any list of trusted authorities.
      - While a root is being replaced, two roots are trusted, and RV(others) has the one that does not issue. It can be
        dropped alone.
      - Hosts trust the old root until a run reaches them. Playbook C(pgops.tls.drop_ca) does all of this. Afterwards
        the authority is in the same state as after V(retire), and O(phase=finish) removes the keys.
    type: str
  drop_confirmed:
    description:
      - The common name of the root that O(drop) should drop, or its last word. A root that was already dropped is no
        change.
    type: str
  revoked:
    description:
      - What to revoke. Each entry has exactly one of O(revoked[].role), O(revoked[].host) and O(revoked[].serial).
      - The first entry permanently enables certificate revocation lists (CRLs) for all authorities, as
        RV(authorities.server.crls) and RV(authorities.client.crls). Before the first revocation there are none.
      - Revoked certificates are recorded in C(revoked.jsonl). They stay revoked and on the lists, even if you remove
        the entry, so no list ever revokes less than the previous one.
      - An entry that matches no certificate ever issued is an error, because it may be misspelled. An entry whose
        certificates have all expired is a warning.
      - A list is reissued halfway through its lifetime. For lists of issuing CAs that is after 45 days, or half of
        O(certificate_lifetime) if that is longer. For lists of roots it is after 2.5 years. If the required key is
        kept elsewhere, every run warns from then on, and fails when the list ends within 30 days.
    type: list
    elements: dict
    default: []
    suboptions:
      role:
        description: Revokes all certificates of a role, those of one client authority with O(revoked[].authority).
        type: str
      host:
        description:
          - Revokes all certificates that were issued for a host of the inventory, as a server and for its identities.
        type: str
      serial:
        description:
          - Revokes one certificate, by its serial number in hexadecimal, and every other certificate for the same key.
          - Write it in quotes.
          - If its holder still needs a certificate, M(pgops.tls.server) or M(pgops.tls.client) requests a new one.
        type: str
      authority:
        description:
          - The name of the client authority whose certificates of O(revoked[].role) to revoke, by default all.
          - The name of the authority that signed the certificate with O(revoked[].serial). Needed only if
            C(ledger.jsonl) does not contain it, as after a restore from an older backup.
        type: str
      reason:
        description: The reason, for readers of the list.
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

- name: Keep a client authority of its own for the cluster billing, too
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    clients: [client, billing]
  delegate_to: localhost
  run_once: true

- name: Stage new roots
  pgops.tls.certificate_authority:
    directory: "{{ inventory_dir }}/postgres-ca"
    passphrase: "{{ lookup('ansible.builtin.env', 'POSTGRES_CA_PASSPHRASE') }}"
    phase: stage
    certificates_in_use:
      - {authority: server, id: db1, serial: 2c5ac6f1d90e73b2a4}
      - {authority: client, id: app1/www/orders, serial: 5ac6f1d90e73b2a42c}
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
  description: Certificates that block O(phase).
  returned: when O(phase) is refused because of them
  type: list
  elements: dict
  contains: &certificate
    authority:
      description: Which authority issued it.
      type: str
    id:
      description: The id with which it was issued.
      type: str
      sample: app1/www/orders
    serial:
      description: Its serial number in hexadecimal.
      type: str
    issued:
      description: When it was issued, in UTC. That is the last time at which its holder was certainly there.
      type: str
      sample: "2026-11-21T02:05:00Z"
    not_after:
      description: Its end, in UTC.
      type: str
      sample: "2027-02-19T02:05:00Z"
consequence:
  description: One sentence that says what O(drop) would break.
  returned: when O(drop) is not confirmed
  type: str
breaks:
  description: The newest certificate of each id that O(drop) would break if it dropped the root of RV(root).
  returned: when O(drop) is not confirmed
  type: list
  elements: dict
  contains: *certificate
root:
  description: The common name of the root that issues, for O(drop_confirmed).
  returned: when O(drop) is not confirmed
  type: str
  sample: PostgreSQL client root CA 5ac6f1d9
others:
  description:
    - The other trusted roots, while a root is being replaced. Each can be dropped alone, which needs no new authority.
    - With the root of RV(root), which issues, all of them are dropped.
  returned: when O(drop) is not confirmed
  type: list
  elements: dict
  contains:
    root:
      description: Its common name, for O(drop_confirmed).
      type: str
    since:
      description: From when on it is valid, in UTC.
      type: str
      sample: "2026-11-21T02:05:00Z"
    breaks:
      description: The newest certificate of each id that would break if this root were dropped alone.
      type: list
      elements: dict
      contains: *certificate
made:
  description: The authorities that were created, or would be created in check mode.
  returned: success
  type: list
  elements: str
  sample: [server, client]
authorities:
  description: The authorities by name, the server CA as V(server).
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
            - Those of RV(authorities.server) belong in the C(root.crt) of clients.
          type: str
        issuing:
          description:
            - PEM certificates of issuing CAs, first the one in use.
            - Certificates from the others, its predecessors below the same root, may stay.
            - While a root is being replaced, this also contains the new root as signed by the old one, as long as
              chains should contain it. Hosts remove certificates from their chains that are not in this list, or do
              not lead to a trusted root.
          type: str
        bundle:
          description:
            - PEM certificates of all trusted issuing CAs, then those of the roots.
            - Those of RV(authorities.client) belong in the C(ssl_ca_file) of servers.
          type: str
        crls:
          description: PEM certificate revocation lists. Empty before the first revocation.
          type: str
        revoked:
          description: Serial numbers of revoked certificates that have not expired, in lower-case hexadecimal.
          type: list
          elements: str
        phase:
          description:
            - The phase of the root's replacement. V(steady) means that no replacement is in progress.
            - V(staged) means that the new root is trusted and issues nothing yet. V(switched) means that it issues and
              the old one is still trusted. V(retiring) means that the old one is no longer trusted, and hosts may
              still have it.
          type: str
          sample: steady
        source:
          description: The type of its source in O(sources), V(own) without one.
          type: str
          sample: own
        shared:
          description: Whether its source says that others get certificates from below the same roots, too.
          type: bool
        replaced:
          description: Whether the root replaced an earlier one, which is retired.
          type: bool
        key_type:
          description: Type of the authority's keys.
          type: str
          sample: P-256
        since:
          description: Since when the newest root is in use, in UTC.
          type: str
          sample: "2026-11-20T02:05:00Z"
        may_stage:
          description:
            - Whether O(phase=stage) can begin. V(false) if a company must act first, or if the CA is elsewhere.
          type: bool
        other_root:
          description:
            - Whether O(sources) declare another kind of root than the one in use, a company's or one of the collection,
              and it can be staged.
          type: bool
        root_not_after:
          description: When the root ends, in UTC.
          type: str
          sample: "2036-11-18T02:05:00Z"
        issuing_not_after:
          description: When the issuing CA ends, in UTC.
          type: str
          sample: "2031-11-20T02:05:00Z"
    client:
      description: A client authority. Each has a key of its name.
      type: dict
      contains: *authority
issued:
  description:
    - Serial numbers (hexadecimal) of the certificates in the ledger that have not expired, by authority.
    - Null if the ledger cannot be read.
  returned: success
  type: dict
  sample: {server: [2c5ac6f1d90e73b2a4], client: [5ac6f1d90e73b2a42c]}
awaited:
  description:
    - While a root is being replaced, the certificates that the next O(phase) waits for. They are the newest valid
      certificate of each id in the ledger, without those in O(outside_holders) that do not stop it.
    - Otherwise empty.
  returned: success
  type: list
  elements: dict
  contains: *certificate
waiting:
  description:
    - What a company must sign before an issuing CA can be used, by the name of that CA, see
      O(sources[].source.roots). Empty if nothing waits.
  returned: success
  type: dict
  sample:
    issuing CA of server: "/srv/requests/issuing-ca-server.csr waits for the certificate of an issuing CA (nothing is
      issued below that root yet)."
changes:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - "make the server CA: 'PostgreSQL server root CA 5ac6f1d9' until 2036-11-18T02:05:00Z,
      'PostgreSQL server issuing CA 0e73b2a4' until 2031-11-20T02:05:00Z, P-256"
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: phase_out_of_order
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    call,
    keeping,
    lineage,
    planning,
    profiles,
    revocation_entries,
)
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.source import declared


def _list_of(*names: str) -> dict[str, Any]:
    """Return an option that is a list of dictionaries with texts, all of them required."""
    texts = {name: {"type": "str", "required": True} for name in names}
    return {"type": "list", "elements": "dict", "default": [], "options": texts}


REVOKED = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "role": {"type": "str"},
        "host": {"type": "str"},
        "serial": {"type": "str"},
        "authority": {"type": "str"},
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
        "clients": {"type": "list", "elements": "str", "default": [profiles.CLIENT]},
        "create": {"type": "bool", "default": True},
        "passphrase": {"type": "str", "no_log": True},
        "key_type": {"type": "str", "choices": list(profiles.AUTHORITY_KEY_TYPES), "default": "P-256", "no_log": False},
        "certificate_lifetime": {"type": "str"},
        "phase": {"type": "str", "choices": ["stage", "switch", "retire", "finish"]},
        "rotate": {"type": "list", "elements": "str", "default": []},
        "certificates_in_use": _list_of("authority", "id", "serial"),
        "outside_holders": _list_of("authority", "id", "until", "by"),
        "outside_trust": {"type": "list", "elements": "str", "default": []},
        # as a whole: of a list Ansible logs a text in which it does not find what is to be hidden within
        "unrecorded": {**_list_of("authority", "id", "certificate"), "no_log": True},
        "drop": {"type": "str"},
        "drop_confirmed": {"type": "str"},
        "revoked": REVOKED,
        **options.ARGUMENT,
        **declared.ARGUMENT,
    }


def wish(given: dict[str, Any]) -> keeping.Wish:
    """Return what the options ask for."""
    sources = declared.by_authority(given["sources"])
    change = planning.Change(
        given["phase"] or "",
        given["rotate"],
        _by_authority(given["certificates_in_use"]),
        given["drop"] or "",
        given["drop_confirmed"] or "",
        given["outside_holders"],
        given["outside_trust"],
    )
    return keeping.Wish(
        given["directory"],
        given["key_type"],
        given["passphrase"],
        given["certificate_lifetime"] or "",
        given["revoked"],
        change,
        _by_authority(given["unrecorded"]),
        creates=given["create"],
        clients=given["clients"],
        sources=declared.parse(sources, options.option("sources")),
        companies=declared.below_company(sources, options.option("sources")),
    )


def _by_authority(items: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Return the items by the names of their authorities."""
    found: dict[str, list[dict[str, str]]] = {}
    for item in items:
        found.setdefault(item["authority"], []).append(item)
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("phase", "drop")],
        required_by={"drop_confirmed": "drop"},
        supports_check_mode=True,
    )
    hide_secrets(module, "unrecorded")  # PEM, where a private key may be among it
    done = call.carried_out(module, wish, keeping.keep)
    own = {
        name: lineage.facts(
            found,
            done.crls.get(name, ""),
            done.revoked.get(name, ()),
            may_stage=name not in done.unstageable,
            other_root=name in done.other_root,
        )
        for name, found in done.lineages.items()
    }
    module.exit_json(
        changed=bool(done.changes),
        authorities={**own, **{name: found.facts() for name, found in done.elsewhere.items()}},
        made=done.made,
        issued=done.issued,
        awaited=[one.as_result() for one in done.awaited],
        waiting={f"issuing CA of {name}": text for name, text in done.waiting.items()},
        changes=done.changes,
        diff={"before": done.before, "after": done.after},
    )


if __name__ == "__main__":
    main()
