#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the TLS of one PostgreSQL server to a declared state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server
short_description: Bring the TLS of one PostgreSQL server to a declared state
version_added: 1.0.0
description:
  - Takes the whole desired state of a server in one call. Either it converges, or it returns a certificate RV(request)
    with the reasons. Sign the request with M(pgops.tls.certificate). A second call with O(certificate) installs the
    certificate.
  - The private key is generated on the host and never leaves it.
  - Every change is a transaction. Files are written as a new generation and rehearsed with a handshake in memory. One
    rename switches to it, the server reloads, and a real handshake must show the new certificate. If anything fails,
    the previous state is restored and proven, and the module fails with the server's own reason.
  - O(state=previous) restores the previous generation, in a transaction like any other.
  - The server is never restarted.
  - On a server that Patroni runs, settings go into the file that Patroni includes, C(postgresql.base.conf). If Patroni
    makes C(pg_hba.conf) or C(pg_ident.conf), rules and maps go into the lists in C(patroni.yml), and Patroni is
    reloaded. The module warns if Patroni's REST API, its clients or its logins to PostgreSQL lack TLS, do not verify,
    or have certificates that are about to expire.
  - The module refuses a server whose files Stolon or CloudNativePG rewrites, or a Patroni that does not run.
  - Changes that others made in the meantime are fixed and listed in RV(changes), or refused. If something does not
    stop a run but would keep the server from starting, such as a broken line in C(pg_hba.conf), every run warns.
  - A run that changes rules warns about rules in O(hba) that are valid but probably unintended, such as one that never
    matches. RV(pgops.tls.hba_info#module:advice) lists the checks.
  - It needs Python's standard library, the C(openssl) command and PostgreSQL's C(psql) on the host. It must run as
    root or as the OS user that the server runs as.
  - Role P(pgops.tls.postgres_server#role) calls it. Use the module directly to build your own role.
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
      - V(present) brings the server to the declared state.
      - V(previous) restores private key, certificate, trusted authorities and C(ssl.conf) of the previous generation.
        Rules and C(postgresql.conf) do not change. The generation must match the declared names and authorities. If it
        does not, the module names the difference and changes nothing.
      - The restored files become a new generation. The generation that was in use is kept as the previous one, until
        the next change. While a server is rolled back, V(previous) changes nothing, so it never goes forward again.
      - If an earlier run was interrupted, V(previous) only undoes that run. Call it again to go back further.
      - A later call with V(present) keeps a certificate that is valid, has the declared names, and is not due. It
        restores declared settings and authorities. RV(next_run) shows what it would change.
      - V(absent) removes managed rules, maps and settings from the server's files. The server uses its previous
        settings again, and a handshake must prove it. Before any change, and in check mode, it stops if the server
        could not load its own certificate, if the server could not get its passphrase at a reload, after
        O(hba_mode=replace), and with O(on_lockout=refuse) if live sessions could not connect again.
      - V(without_rules) removes only rules and maps, so that clients can lose their certificates before servers do. It
        stops for every reason that would stop V(absent), except sessions. It only warns about sessions that would stop
        V(absent) now.
    type: str
    choices: [present, previous, without_rules, absent]
    default: present
  remove_directory:
    description:
      - With O(state=absent), whether to also remove this module's files in O(directory), including the private keys,
        and the directory itself if it contains no other files.
      - It is refused while the server's own settings name a file in it.
    type: bool
    default: false
  directory:
    description:
      - Directory for the generations of this server.
      - By default V(/etc/postgresql/tls/PORT).
      - It belongs to the OS user that the server runs as. The module reads and writes it and the configuration files
        with the rights of that user, even when it runs as root.
      - A configuration file that only root can change is changed as root, and keeps its owner, group and mode. Such a
        file has owner root and the group of that OS user. Neither the file nor any directory above it is writable for
        group and others.
    type: path
  host:
    description:
      - The name of this host in the inventory. Each generation records it in C(ssl.conf).
      - A directory that was set up for another name is an error. Otherwise two names for one server would replace each
        other's certificate in each run.
    type: str
    default: ""
  former_host:
    description:
      - The former inventory name of this host, if it was renamed, or the host that it is a copy of. The next
        generation records O(host) instead.
    type: str
    default: ""
  names:
    description:
      - The DNS names and IP addresses that clients use for the server, together at most 65536 characters. Clients
        refuse longer certificates.
      - Every run warns about names with an underscore. libpq and OpenSSL accept them, other programs may not. A
        wildcard with an underscore is refused, since OpenSSL matches it with no name.
    type: list
    elements: str
    required: true
  roots:
    description:
      - PEM certificates of the roots that clients trust for servers. The rehearsal's client uses them. One of them
        must be valid now.
    type: str
    required: true
  issuing:
    description:
      - PEM certificates of the authorities that issue servers' certificates, first the one that issues now.
      - Certificates from the others stay until they are due for another reason.
      - Certificates in a chain that are not in this list, or do not lead to a trusted root, are removed from the file.
        Key and certificate stay.
    type: str
    required: true
  trusted_clients:
    description:
      - PEM certificates of the authorities whose client certificates may log in, for C(ssl_ca_file).
      - At least one root among them must be valid now. Otherwise nobody could log in by certificate.
    type: str
    required: true
  trusted_clients_shared:
    description:
      - Whether the authorities in O(trusted_clients) also sign for others. Then the module stops before any change if
        a rule lets in certificates by their common name alone, which somebody else's certificate may have, too. Give
        such rules C(clientname=DN) and a map that lists whole subjects (PostgreSQL 14 or later).
    type: bool
    default: false
  extra_trusted_clients:
    description:
      - PEM certificates of other authorities whose client certificates may also log in, as long as clients have such
        certificates. The rules treat them like O(trusted_clients). Every run warns about them. This option may also
        contain their lists of revoked certificates, and must contain them if O(crls) is not empty.
      - A self-signed client certificate works as well, for its own holder alone.
    type: str
    default: ''
  former_authorities:
    description:
      - Client authorities that the server may trust from before, and that are not in O(trusted_clients). Those that
        are in its C(ssl_ca_file) stay there, so that clients that have not moved yet can log in. RV(still_trusted)
        names them. Leave one out to end the trust in it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, for the result.
        type: str
        required: true
      trusted_clients:
        description: See O(trusted_clients).
        type: str
        required: true
      crls:
        description: See O(crls).
        type: str
        default: ''
  crls:
    description:
      - PEM certificate revocation lists (CRLs) for C(ssl_crl_file), of each of the authorities in O(trusted_clients).
        PostgreSQL checks whole chains, so it refuses clients if a list is missing or expired. A missing or expired
        list is an error.
      - If this is not empty, O(ssl_conf) must set C(ssl_crl_file) to C(DIRECTORY/current/crl.pem).
      - O(state=previous) keeps the declared lists. It does not go back to a generation without lists.
    type: str
    default: ''
  revoked:
    description:
      - Serial numbers of revoked server certificates, in lower-case hexadecimal. If the server's certificate is among
        them, it needs a new one, for the reason V(revoked).
    type: list
    elements: str
    default: []
  certificate:
    description:
      - PEM chain (leaf first) that the authority issued for the request of the first call.
      - An empty text means that the certificate comes in a later run. If the one in use is only due for renewal,
        everything else converges. Otherwise nothing changes.
      - A renewal by O(renew=true) is remembered with an empty text. Later calls request it again without O(renew),
        until another certificate is installed, or other CAs may issue.
    type: str
  existing:
    description:
      - A certificate and key on this host that something else renews, such as certbot, Puppet or the company's CA. The
        module requests none. It checks these files in every call, copies them into a generation when they change, and
        proves that the server uses them. RV(reasons) stays empty.
      - The certificate must belong to the key, be valid now, contain all of O(names) (a wildcard counts), be usable
        for servers, and lead to one of O(roots), by any CAs that are in the same file. O(issuing) and O(key_type) have
        no effect. If the files do not fit, the module names each difference and changes nothing.
      - The module fails, after everything else is done, if the certificate has less than O(renew_before) left, by
        default a sixth of its lifetime.
      - If the root changes, the module stops. Give all clients the new root first, then confirm the change with
        O(renew=true).
      - If only root can read the files, they are read as root. Then the OS user of the server must not be able to
        change anything on the way to them.
      - A key with a passphrase needs C(ssl_passphrase_command) and C(ssl_passphrase_command_supports_reload) among the
        server's settings.
    type: dict
    suboptions:
      certificate:
        description: Absolute path of the certificate (PEM), followed by the CAs above it.
        type: path
      key:
        description: Absolute path of the private key (PEM). It may be the same file.
        type: path
      roots:
        description: PEM certificates of roots that clients trust besides O(roots), such as the company's.
        type: str
        default: ''
  ssl_conf:
    description:
      - The text of C(ssl.conf), which C(postgresql.conf) includes.
      - A group in C(ssl_groups) with a question mark, such as C(?X25519MLKEM768), is left out if the server's OpenSSL
        does not know question marks. See RV(groups_left_out).
      - A line that ends with C(# from PostgreSQL 18 on) is left out before that version.
    type: str
    required: true
  hba:
    description:
      - Lines for C(pg_hba.conf), in order. The passwords of C(ldapbindpasswd) and C(radiussecrets) in them are never
        shown.
    type: str
    default: ''
  hba_mode:
    description:
      - V(block) keeps the lines in a managed block at the top of the file, where they take precedence. The rest does
        not change.
      - V(replace) writes the whole file, with a first rule that keeps this module's own connection. If you change from
        V(replace) to V(block), only the declared rules and that one stay.
    type: str
    choices: [block, replace]
    default: block
  upgrade_clientcert:
    description: Whether to rewrite C(clientcert=1) and similar values, which 14 rejects, in lines that others wrote.
    type: bool
    default: false
  ident:
    description: Lines for C(pg_ident.conf), kept in a managed block.
    type: str
    default: ''
  plaintext:
    description:
      - V(reject) stops before any change if a rule in the new C(pg_hba.conf) allows connections without TLS, or if
        live sessions still use no TLS. It requires proof that the server refuses such connections once the rules are
        loaded.
      - V(allow) skips these checks.
    type: str
    choices: [reject, allow]
    default: reject
  on_lockout:
    description:
      - V(refuse) stops before any change if new rules would refuse a client that is connected now, or if no rule
        lets one of O(clients) in by its C(login). That is a rule that accepts its certificate, that asks for a
        password, or that asks for both.
      - A session counts if its role may log in, the current rules accept it, and the new ones refuse it. A session
        that showed no certificate counts as one of a client without a certificate.
      - V(allow) skips these checks. Rules that would lock out this module's own connection are always refused.
    type: str
    choices: [refuse, allow]
    default: refuse
  clients:
    description:
      - Who must be able to log in, with a certificate from the client authority, a password, or both. Without O(hba)
        this is not checked.
      - Dictionaries as in O(pgops.tls.postgres_client#role:main:postgres_client_identities). This module uses C(role),
        C(databases), C(login), C(address) and C(pooler). The last is the common name of the certificate of a pooler
        that logs in as the role.
      - An C(address) here is a list of networks. Then a rule must let the identity in from each of them. V(samehost)
        is the server's machine. V(self) is an error, because this module does not know the client hosts.
      - With O(state=absent), who loses such a certificate in the same run. Live sessions with that certificate do not
        stop the removal.
    type: list
    elements: dict
    default: []
  databases:
    description: The databases that clients use. RV(missing_databases) names those that do not exist.
    type: list
    elements: str
    default: []
  patroni_api:
    description:
      - Whether to say in RV(patroni) what the REST API of the Patroni that runs this server needs, with requests for
        certificates. M(pgops.tls.patroni) installs them, and changes what is due. This module changes nothing there.
    type: bool
    default: false
  patroni_trusted_clients:
    description: See O(pgops.tls.patroni#module:trusted_clients). Required with O(patroni_api).
    type: str
  patroni_issuing:
    description: See O(pgops.tls.patroni#module:client_issuing). Required with O(patroni_api).
    type: str
  patroni_revoked:
    description: See O(pgops.tls.patroni#module:client_revoked).
    type: list
    elements: str
    default: []
  renew:
    description: Whether to get a new key and certificate even if none is due.
    type: bool
    default: false
seealso:
  - module: pgops.tls.certificate
  - module: pgops.tls.client
  - module: pgops.tls.patroni
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

- name: Go back to the previous generation
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
  description: What was changed, or would be changed in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["certificate: expires_in_12d"]
reasons:
  description: Why a new certificate is needed. Empty if the current one is as declared.
  returned: success
  type: list
  elements: str
  sample: ["san_missing: db2.example.com"]
still_trusted:
  description: The names in O(former_authorities) of client authorities that the server still trusts.
  returned: success, if there are any
  type: list
  elements: str
  sample: [client]
groups_left_out:
  description:
    - The groups with a question mark in C(ssl_groups) that the server does not get, and why. The question mark means
      that a server which does not know the group does without it.
  returned: success, if there are any
  type: str
  sample: "X25519MLKEM768: the server has OpenSSL 3.0.19 27 Jan 2026, and they need 3.5 or later"
missing_databases:
  description: Those of O(databases) that the server does not have.
  returned: success, if there are any
  type: list
  elements: str
  sample: [billing]
next_run:
  description: What a later call with O(state=present) would change, in words.
  returned: success, with O(state=previous)
  type: list
  elements: str
  sample: ["ssl.conf: ssl_min_protocol_version 'unset' -> 'TLSv1.3'"]
request:
  description: A PEM certificate request. Sign it and call the module again with O(certificate).
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
      description: When it becomes valid, ISO 8601 in UTC.
      type: str
    not_after:
      description: When it ends, ISO 8601 in UTC.
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
system_identifier:
  description: PostgreSQL's C(system_identifier). A primary and its standbys have the same.
  returned: success
  type: str
  sample: "7441830217664398427"
replication:
  description:
    - What this server replicates from others, and which standbys its commits wait for. A warning explains each finding.
    - No password is in it.
  returned: success, for a standby, a server with an enabled subscription or with C(synchronous_standby_names)
  type: dict
  contains:
    is_standby:
      description: Whether the server is in recovery.
      type: bool
    os_user:
      description: The OS user that the server runs as, who reads the files.
      type: str
    application_name:
      description: What a standby is called in C(pg_stat_replication), unless RV(replication.connections) says it.
      type: str
    synchronous:
      description: The C(application_name) of each standby that commits wait for.
      type: list
      elements: str
    connections:
      description: The connections to other servers.
      type: list
      elements: dict
      contains:
        kind:
          description: V(standby) or V(subscription).
          type: str
        name:
          description: V(standby), or DATABASE/SUBSCRIPTION.
          type: str
        conninfo:
          description: Host, port, user, C(sslmode) and the paths of files in C(primary_conninfo) or the subscription.
          type: dict
        status:
          description: The status in C(pg_stat_wal_receiver), V(running) for a subscription. Empty without a process.
          type: str
        since:
          description: When its process began, ISO 8601 in UTC. Null without a process.
          type: str
        certificate:
          description: The file with its certificate, without links in its path. Null without one.
          type: str
        serial:
          description: Serial number in hexadecimal of that certificate.
          type: str
        not_after:
          description: When that certificate ends, ISO 8601 in UTC.
          type: str
        findings:
          description:
            - What is wrong. V(plaintext_possible) (C(sslmode) is not set, or V(disable), V(allow) or V(prefer)),
              V(not_verified) (V(require) or V(verify-ca)), V(file_missing), V(expired), V(expires_soon),
              V(old_certificate) (it began before its certificate was replaced), V(not_streaming) (a standby that is not
              connected), V(conninfo_unreadable).
          type: list
          elements: str
patroni:
  description:
    - What was found of the Patroni that runs the server. A warning explains each finding. No secret is in it.
  returned: success, for a server that Patroni runs, or with O(patroni_api)
  type: dict
  contains:
    scope:
      description: The name of the cluster in C(patroni.yml).
      type: str
    name:
      description: The name of the member in C(patroni.yml).
      type: str
    api:
      description:
        - The REST API, as a client sees it. C(address), C(tls) (null if it gives no answer), C(verify_client), and
          C(certificate) (its file), C(serial) and C(not_after).
      type: dict
    ctl:
      description: The client certificate of this node, with C(certificate) (its file), C(serial) and C(not_after).
      type: dict
    is_leader:
      description: Whether the server is not in recovery.
      type: bool
    findings:
      description:
        - What is wrong. V(api_silent), V(api_plaintext), V(api_old_certificate) (the file has another one),
          V(api_unfit) and V(ctl_unfit) (Patroni cannot use the section), V(api_expired), V(api_expires_soon),
          V(ctl_expired), V(ctl_expires_soon), V(ctl_not_verified) (C(ctl.insecure)), V(login_not_verified),
          V(login_expired), V(login_expires_soon) (C(postgresql.authentication)), V(not_renewed) (files of this
          collection that no run renews), V(api_name_missing) and V(server_name_missing) (the host in
          C(connect_address) of C(restapi) or C(postgresql) is none of the names of the certificate).
      type: list
      elements: str
    due:
      description: With O(patroni_api), whether M(pgops.tls.patroni) has something to change.
      type: bool
    refusal:
      description: With O(patroni_api), why M(pgops.tls.patroni) would refuse to change anything.
      type: str
    requests:
      description: With O(patroni_api), as RV(pgops.tls.patroni#module:requests).
      type: list
      elements: dict
    certificates:
      description: With O(patroni_api), as RV(pgops.tls.patroni#module:certificates).
      type: dict
server_log:
  description: The server's own log lines that say why it refused a change.
  returned: when the server refused a change
  type: list
  elements: str
rolled_back:
  description: Whether the previous state was restored and proven.
  returned: when a change failed after something live was touched
  type: bool
plaintext_sessions:
  description: Live sessions without TLS that O(plaintext=reject) would cut off.
  returned: when they stopped the call
  type: list
  elements: dict
manager:
  description: The program that rewrites the files of this server.
  returned: when it stopped the call
  type: str
shut_out_sessions:
  description: Live sessions that the new rules would refuse.
  returned: when they stopped the call
  type: list
  elements: dict
forgotten_clients:
  description: Those of O(clients) that no rule lets in, each with a database, and the network if it has an address.
  returned: when they stopped the call
  type: list
  elements: dict
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: lockout
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.server import answer, convergence, target, transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.restapi import asking
    from ansible_collections.pgops.tls.plugins.module_utils.server import removal, roll_back
else:
    asking = lazy_import("restapi.asking")
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
PEM = (
    "roots",
    "issuing",
    "trusted_clients",
    "extra_trusted_clients",
    "former_authorities",
    "crls",
    "certificate",
    "existing",
    "patroni_trusted_clients",
    "patroni_issuing",
)

EXISTING: dict[str, Any] = {
    **{name: {"type": "path", "no_log": False} for name in ("certificate", "key")},
    "roots": {"type": "str", "default": "", "no_log": True},
}

FORMER_AUTHORITIES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "no_log": True,
    "options": {
        "name": {"type": "str", "required": True},
        "trusted_clients": {"type": "str", "required": True},
        "crls": {"type": "str", "default": ""},
    },
}


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
        "former_authorities": FORMER_AUTHORITIES,
        "trusted_clients_shared": {"type": "bool", "default": False},
        "crls": {"type": "str", "default": "", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "certificate": {"type": "str", "no_log": True},
        "existing": {"type": "dict", "no_log": True, "options": EXISTING},
        "ssl_conf": {"type": "str", "required": True},
        "hba": {"type": "str", "default": "", "no_log": True},  # passwords may be in it: see no_log.py
        "hba_mode": {"type": "str", "choices": ["block", "replace"], "default": "block"},
        "upgrade_clientcert": {"type": "bool", "default": False},
        "ident": {"type": "str", "default": ""},
        "plaintext": {"type": "str", "choices": ["reject", "allow"], "default": "reject"},
        "on_lockout": {"type": "str", "choices": ["refuse", "allow"], "default": "refuse"},
        "clients": {"type": "list", "elements": "dict", "default": []},
        "databases": {"type": "list", "elements": "str", "default": []},
        "patroni_api": {"type": "bool", "default": False},
        "patroni_trusted_clients": {"type": "str", "no_log": True},
        "patroni_issuing": {"type": "str", "no_log": True},
        "patroni_revoked": {"type": "list", "elements": "str", "default": []},
        "renew": {"type": "bool", "default": False},
        "controller_time": {"type": "float", "required": True},
        **options.ARGUMENT,
    }


def converged(given: dict[str, Any], *, check_mode: bool) -> transaction.Outcome:
    """Return what a call with the options ``given`` has done. Raises TlsError."""
    return convergence.converge(
        target.read(given),
        convergence.Login(given["port"], given["login_unix_socket"], given["login_user"]),
        int(time.time()),
        given["controller_time"],
        check_mode=check_mode,
        kind=KINDS[given["state"]](),
    )


def answered(given: dict[str, Any], *, check_mode: bool) -> tuple[transaction.Outcome, dict[str, Any], list[str]]:
    """Return what a call with the options ``given`` has done, the result for it, and warnings. Raises TlsError."""
    now = int(time.time())
    before = asking.recovered_first(given, now, check_mode=check_mode) if given["patroni_api"] else []
    outcome = converged(given, check_mode=check_mode)
    facts, warnings = answer.of(outcome, given, now, check_mode=check_mode)
    if before:
        facts.update(changed=True, changes=[*before, *facts["changes"]])
    return outcome, facts, warnings


def main() -> None:
    """Run the module."""
    required = [("patroni_api", True, ("patroni_trusted_clients", "patroni_issuing"))]
    module = AnsibleModule(argument_spec(), supports_check_mode=True, required_if=required)
    hide_secrets(module, "hba", *PEM, rules=module.params["hba"])
    try:
        with options.named(module.params["option_names"]):
            outcome, facts, warnings = answered(module.params, check_mode=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in warnings:
        module.warn(warning)
    if outcome.late is not None:
        module.fail_json(**{**facts, **outcome.late.as_result()})
    if outcome.next_run:
        module.warn(f"The next run with what is declared is going to change: {'; '.join(outcome.next_run)}")
    module.exit_json(**facts)


if __name__ == "__main__":
    main()
