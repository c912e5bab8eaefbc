#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the TLS of one PostgreSQL server to a declared state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server
short_description: Bring the TLS of one PostgreSQL server to a declared state
version_added: 0.1.0
description:
  - Takes the whole wanted state of a server in one call. It converges, or it returns a certificate RV(request) with
    the reasons; the request is to be signed with M(pgops.tls.certificate), and a second call with O(certificate)
    installs what came back.
  - The private key is made on the host and never leaves it.
  - Every change is a transaction. Files are written as a new generation and rehearsed with a handshake in memory.
    One rename switches, the server reloads, and a real handshake has to show the new certificate. If anything fails
    the previous state comes back, is proven in its turn, and the module fails with the server's own reason.
  - O(state=previous) brings back the generation before the one in use, in a transaction like any other.
  - Nothing is ever restarted.
  - A server whose files Patroni, Stolon or CloudNativePG makes anew is refused.
  - What others changed meanwhile is fixed and listed in RV(changes), or refused. What stops no run but would keep the
    server from starting, such as a broken line of C(pg_hba.conf), is a warning of every run.
  - A run that changes rules warns of those in O(hba) that the server would take but that can hardly be meant, such as
    one that never matches. RV(pgops.tls.hba_info#module:advice) lists what it looks for.
  - It needs the standard library of Python, the C(openssl) command and PostgreSQL's C(psql) on the host, and has to
    run as root or as the OS user that the server runs as.
  - Role P(pgops.tls.postgres_server#role) calls it; use it by itself to build a role of your own.
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
options:
  state:
    description:
      - V(present) brings the server to the declared state.
      - V(previous) brings back private key, certificate, trusted authorities and C(ssl.conf) of the generation before
        the one in use. Rules and C(postgresql.conf) stay as they are. The names and the authorities that are declared
        have to fit to it; what does not is named, and nothing changes.
      - The files that come back become a new generation. The one that was left is kept as the one before, until the
        next change. While a server is rolled back, V(previous) changes nothing, so it never goes forward again.
      - If an earlier run was interrupted, V(previous) undoes that run and nothing else. Call it again to go further.
      - A later call with V(present) keeps a certificate that is valid, has the declared names, and is not due. It
        brings declared settings and authorities back. RV(next_run) tells.
      - V(absent) takes managed rules, maps and settings out of the server's files. What these held before serves again,
        which a handshake has to show. Before any change, and in check mode, it stops when the server could not load its
        own certificate, or could not get its passphrase at a reload, after O(hba_mode=replace), and with
        O(on_lockout=refuse) when live sessions could not connect again.
      - V(without_rules) takes only rules and maps out, so that clients can lose their certificates before servers do.
        It stops for all that V(absent) would stop for, and warns of sessions that V(absent) would stop for now.
    type: str
    choices: [present, previous, without_rules, absent]
    default: present
  remove_directory:
    description:
      - With O(state=absent), whether to remove what this module keeps in O(directory), too, with the private keys, and
        the directory itself if nothing of others is in it.
      - It is refused while the server's own settings name a file there.
    type: bool
    default: false
  directory:
    description:
      - Directory for the generations of this server.
      - By default V(/etc/postgresql/tls/PORT).
      - It belongs to the OS user that the server runs as. Everything in it, and the configuration files, are read and
        written with the rights of that user, also when the module runs as root.
      - A configuration file that root alone can change (owner root, the group of that OS user, not writable for group
        and others, as are all directories above it) is changed as root, and keeps its owner, group and mode.
    type: path
  host:
    description:
      - The name of this host in the inventory. Each generation notes it in C(ssl.conf).
      - A directory that was set up for another name is an error. Else two names of one server would take turns, and
        each run would install the certificate of the one, then that of the other.
    type: str
    default: ""
  former_host:
    description:
      - The name that this host had in the inventory before, if it was renamed, or the host that it is a copy of.
        The next generation notes O(host) instead.
    type: str
    default: ""
  names:
    description:
      - The DNS names and IP addresses by which clients call the server.
      - Together at most 65536 characters, since clients refuse longer certificates.
    type: list
    elements: str
    required: true
  roots:
    description:
      - PEM certificates of the roots that clients trust for servers; the rehearsal's client uses them.
      - One of them has to be valid now.
    type: str
    required: true
  issuing:
    description:
      - PEM certificates of the authorities that issue servers' certificates, first the one that does at present.
      - Certificates that the others have issued stay until they are due for another reason.
      - What a chain holds behind the certificate, and is not in this list, or leads to no trusted root, is taken out of
        the file. Key and certificate stay.
    type: str
    required: true
  trusted_clients:
    description:
      - PEM certificates of the authorities whose client certificates may log in, for C(ssl_ca_file).
      - A root among them has to be valid now, or nobody could log in by certificate.
    type: str
    required: true
  extra_trusted_clients:
    description:
      - PEM certificates of other authorities whose client certificates may log in, too, as long as clients have some.
      - The rules make no difference between them and O(trusted_clients). Every run warns of them.
      - Their lists of revoked certificates may be in it, too, and have to be if there are O(crls).
    type: str
    default: ''
  crls:
    description:
      - PEM certificate revocation lists (CRLs) for C(ssl_crl_file), of each of the authorities in O(trusted_clients).
        PostgreSQL checks whole chains, so one that lacks, or that has ended, keeps clients out; it is an error.
      - O(ssl_conf) has to set C(ssl_crl_file) to C(DIRECTORY/current/crl.pem) if this is not empty.
      - O(state=previous) keeps the lists that are declared. It does not go back to a generation without any.
    type: str
    default: ''
  revoked:
    description:
      - Serial numbers of revoked certificates of servers, in lower-case hexadecimal. If the server's is among them, it
        needs another one, for the reason V(revoked).
    type: list
    elements: str
    default: []
  certificate:
    description: PEM chain (leaf first) that the authority issued for the request of the first call.
    type: str
  ssl_conf:
    description: The text of C(ssl.conf), which C(postgresql.conf) includes.
    type: str
    required: true
  hba:
    description:
      - Lines for C(pg_hba.conf), in their order.
      - The passwords of C(ldapbindpasswd) and C(radiussecrets) in it are shown nowhere.
    type: str
    default: ''
  hba_mode:
    description:
      - V(block) keeps the lines in a managed block at the head of the file, where they win; the rest stays as it is.
      - V(replace) makes the whole file, headed by a rule that keeps this module's own connection. Back from that to
        V(block), only the declared rules and that one stay.
    type: str
    choices: [block, replace]
    default: block
  upgrade_clientcert:
    description: Whether to rewrite C(clientcert=1) and the like, which 14 takes no more, in lines of others.
    type: bool
    default: false
  ident:
    description: Lines for C(pg_ident.conf), kept in a managed block.
    type: str
    default: ''
  plaintext:
    description:
      - V(reject) stops before any change when a rule of the coming C(pg_hba.conf) lets connections without TLS in, or
        when live sessions still use none. It demands proof that the server refuses them once the rules are loaded.
      - V(allow) demands none of this.
    type: str
    choices: [reject, allow]
    default: reject
  on_lockout:
    description:
      - V(refuse) stops before any change when new rules would refuse a client that is connected now, or when no rule
        takes the certificate of one of O(clients).
      - A session counts whose role may log in, which the rules let in so far, and which the new ones refuse. One that
        showed no certificate counts as one of a client that has none.
      - V(allow) demands none of this.
      - Rules that would lock out this module's own connection are always refused.
    type: str
    choices: [refuse, allow]
    default: refuse
  clients:
    description:
      - Who has a certificate of the client authority, and has to be able to log in with it. Without any O(hba)
        nobody is looked for.
      - Dictionaries as in O(pgops.tls.postgres_client#role:main:postgres_client_identities); this module looks at
        C(role) and C(databases).
      - With O(state=absent) who loses such a certificate in the same run. Live sessions that have it do not stop that.
    type: list
    elements: dict
    default: []
  renew:
    description: Whether to get a new key and certificate although nothing else asks for it.
    type: bool
    default: false
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.client
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Converge, or learn which certificate the server needs
  pgops.tls.server:
    names: [db1.example.com, 192.0.2.10]
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.server.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    ssl_conf: "{{ lookup('ansible.builtin.template', 'ssl.conf.j2') }}"
    hba: |
      hostssl app app all cert
      hostnossl all all all reject
    controller_time: "{{ now().timestamp() }}"
  register: converged

- name: Go back to the generation before
  pgops.tls.server:
    state: previous
    names: [db1.example.com, 192.0.2.10]
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.server.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    ssl_conf: "{{ lookup('ansible.builtin.template', 'ssl.conf.j2') }}"
    controller_time: "{{ now().timestamp() }}"
"""

RETURN = r"""
changes:
  description: What was changed, or in check mode would be, in words.
  returned: success
  type: list
  elements: str
  sample: ["certificate: expires_in_12d"]
reasons:
  description: Why a new certificate is needed; empty when the present one is as wanted.
  returned: success
  type: list
  elements: str
  sample: ["san_missing: db2.example.com"]
next_run:
  description: What a call with O(state=present) would change on what is in use after this one, in words.
  returned: success, with O(state=previous)
  type: list
  elements: str
  sample: ["ssl.conf: ssl_min_protocol_version 'unset' -> 'TLSv1.3'"]
request:
  description: A PEM certificate request. Have it signed and call the module again with O(certificate).
  returned: when a certificate is needed, O(certificate) was not given, and not in check mode
  type: str
certificate:
  description: The certificate in use after the call.
  returned: when there is one
  type: dict
  contains:
    serial:
      description: Serial number in hexadecimal.
      type: str
    not_before:
      description: Beginning of its life, ISO 8601 in UTC.
      type: str
    not_after:
      description: End of its life, ISO 8601 in UTC.
      type: str
    sha256:
      description: Fingerprint in hexadecimal.
      type: str
    pem:
      description: The certificate itself (PEM), without its chain.
      type: str
    names:
      description: Its DNS names and IP addresses.
      type: list
      elements: str
server_version:
  description: PostgreSQL's C(server_version_num).
  returned: success
  type: int
server_log:
  description: The server's own lines on why it refused a change.
  returned: when the server refused a change
  type: list
  elements: str
rolled_back:
  description: Whether the state before the call is back and proven.
  returned: when a change failed after something live was touched
  type: bool
plaintext_sessions:
  description: Live sessions without TLS that O(plaintext=reject) would cut off.
  returned: when they stopped the call
  type: list
  elements: dict
manager:
  description: The program that makes the files of this server anew.
  returned: when it stopped the call
  type: str
shut_out_sessions:
  description: Live sessions that the new rules would not let in again.
  returned: when they stopped the call
  type: list
  elements: dict
forgotten_clients:
  description: Those of O(clients) whose certificate no rule takes, each with a database.
  returned: when they stopped the call
  type: list
  elements: dict
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.server import convergence, target, transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.server import difference, removal, roll_back
else:
    difference = lazy_import("server.difference")
    removal = lazy_import("server.removal")
    roll_back = lazy_import("server.roll_back")


# Each state and the transaction that leads to it; what a run does not need is not imported
KINDS: dict[str, Callable[[], type[transaction.Transaction]]] = {
    "present": lambda: transaction.Transaction,
    "previous": lambda: roll_back.RollBack,
    "without_rules": lambda: removal.RuleRemoval,
    "absent": lambda: removal.Removal,
}

# Options with certificates and lists; a private key among them would be logged
PEM = ("roots", "issuing", "trusted_clients", "extra_trusted_clients", "crls", "certificate")


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "state": {"type": "str", "choices": list(KINDS), "default": "present"},
        "remove_directory": {"type": "bool", "default": False},
        **LOGIN_OPTIONS,
        "directory": {"type": "path"},
        "host": {"type": "str", "default": ""},
        "former_host": {"type": "str", "default": ""},
        "names": {"type": "list", "elements": "str", "required": True},
        **spec.OPTIONS,
        "roots": {"type": "str", "required": True, "no_log": True},
        "issuing": {"type": "str", "required": True, "no_log": True},
        "trusted_clients": {"type": "str", "required": True, "no_log": True},
        "extra_trusted_clients": {"type": "str", "default": "", "no_log": True},
        "crls": {"type": "str", "default": "", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "certificate": {"type": "str", "no_log": True},
        "ssl_conf": {"type": "str", "required": True},
        "hba": {"type": "str", "default": "", "no_log": True},  # passwords may be in it: see no_log.py
        "hba_mode": {"type": "str", "choices": ["block", "replace"], "default": "block"},
        "upgrade_clientcert": {"type": "bool", "default": False},
        "ident": {"type": "str", "default": ""},
        "plaintext": {"type": "str", "choices": ["reject", "allow"], "default": "reject"},
        "on_lockout": {"type": "str", "choices": ["refuse", "allow"], "default": "refuse"},
        "clients": {"type": "list", "elements": "dict", "default": []},
        "renew": {"type": "bool", "default": False},
        "controller_time": {"type": "float", "required": True},
    }


def result(outcome: transaction.Outcome) -> dict[str, Any]:
    """Return the module's result for what a transaction did."""
    leaf = outcome.leaf
    facts: dict[str, Any] = {
        "changed": bool(outcome.changes),
        "changes": outcome.changes,
        "reasons": outcome.plan.reasons,
        "server_version": outcome.version,
        # a call that only asks changes nothing live: the difference is shown by the call that installs
        "diff": []
        if outcome.request is not None or not outcome.changes
        else difference.of_plan(outcome.plan, outcome.target, outcome.leaf_before, outcome.ssl_conf_before),
    }
    if outcome.next_run is not None:
        facts["next_run"] = outcome.next_run
    if outcome.request is not None:
        facts["request"] = outcome.request
    if leaf is not None:
        facts["certificate"] = {
            "serial": f"{leaf.serial:x}",
            "not_before": clock.instant(leaf.not_before),
            "not_after": clock.instant(leaf.not_after),
            "sha256": leaf.sha256,
            "pem": leaf.pem,
            "names": [name.value for name in leaf.names],
        }
    return facts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    hide_secrets(module, "hba", *PEM, rules=module.params["hba"])
    options = module.params
    try:
        wanted = target.read(options)
        login = convergence.Login(options["port"], options["login_unix_socket"], options["login_user"])
        outcome = convergence.converge(
            wanted,
            login,
            int(time.time()),
            options["controller_time"],
            check_mode=module.check_mode,
            kind=KINDS[options["state"]](),
        )
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in outcome.warnings:
        module.warn(warning)
    if outcome.next_run:
        module.warn(f"The next run with what is declared is going to change: {'; '.join(outcome.next_run)}")
    module.exit_json(**result(outcome))


if __name__ == "__main__":
    main()
