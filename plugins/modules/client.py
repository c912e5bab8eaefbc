#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give the OS users of a host their keys, certificates and trust for PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client
short_description: Set up keys, certificates and trust for the OS users of a host who log in to PostgreSQL
version_added: 1.0.0
description:
  - Takes the whole desired state of a host's clients in one call. Either it converges, or it returns certificate
    RV(requests) with the reasons. Sign them with M(pgops.tls.certificate). A second call with O(certificates) installs
    the certificates.
  - The private keys are generated on the host and never leave it.
  - C(psql) and every other program with libpq find the files automatically, because they are linked to libpq's default
    names in C(~/.postgresql). Each role is also a service of the same name in C(~/.pg_service.conf), for
    C(service=ROLE).
  - libpq uses files at its default names for every server. When they appear for the first time, a warning says what
    that means for servers outside the inventory, in check mode too. O(identities[].default_files) keeps the names free.
  - The files of an OS user change in one transaction. They are written as a new generation and rehearsed with a login
    in memory. One rename switches to it. If anything fails, the previous files are restored. If a run is interrupted,
    the next run undoes it.
  - Other services on the host can have certificates in the same way, see O(identities[].names) and V(none) of
    O(identities[].login). O(identities[].after_change) reloads or restarts what uses the files.
  - O(state=previous) restores the previous generation, in such a transaction.
  - The module works below an OS user's home directory with that user's rights, so the user cannot gain rights through
    links in it.
  - It needs Python's standard library and the C(openssl) command on the host. It must run as root, or as the OS user
    if all identities are that user's.
  - Role P(pgops.tls.postgres_client#role) calls it. Use the module directly to build your own role.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details: With O(renew=true) or O(new_keys=true) every call without O(certificates) requests new certificates.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.hosts
  - pgops.tls.credential
  - pgops.tls.credential.clock
  - pgops.tls.option_names
options:
  state:
    description:
      - V(present) brings the OS users of O(identities) to the declared state.
      - V(previous) restores private keys, certificates and C(root.crt) of the previous generation, for each of these
        OS users. Links and C(~/.pg_service.conf) are not part of a generation and do not change. The previous
        generation must contain a valid certificate for each identity, and must trust the declared roots. If it does
        not, the module names what is missing, and changes nothing for any of the OS users.
      - The restored files become a new generation. The generation that was in use is kept as the previous one, until
        the next change. While an OS user is rolled back, V(previous) changes nothing, so it goes back one generation
        and never forward again.
      - If an earlier run was interrupted, V(previous) only undoes that run for that OS user. Call it again to go back
        further.
      - A later call with V(present) keeps certificates that are valid and not due. It restores the declared roots.
        RV(next_run) shows what it would change.
      - V(absent) removes keys, certificates, links and services of all OS users in O(identities). Files that were kept
        as C(NAME.before-pgops) get their names back. Before any change, and in check mode, it stops if these
        directories are not writable.
    type: str
    choices: [present, previous, absent]
    default: present
  identities:
    description:
      - Who logs in as which role, and which other services have certificates. The first identity of an OS user that
        logs in gets libpq's default file names, unless one of them says otherwise with O(identities[].default_files).
      - An impossible identity (no such OS user, no home directory, somebody else's files in its place) stops the call
        before the files of any OS user change.
      - If you remove an identity, its key and certificate are removed, as long as its OS user has another identity. If
        you remove the last identity of an OS user, that user's files stay. Remove them yourself.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description:
          - The PostgreSQL role, and the common name of the certificate. It may have at most 63 bytes, all printable.
          - Each identity has a role or O(identities[].names).
        type: str
      names:
        description:
          - DNS names and IP addresses of a service that is not PostgreSQL, such as the web side of an exporter. It gets
            a server certificate for these names, issued by O(server_issuing).
          - Such an identity needs O(identities[].name). It has no role, databases, login or default files.
        type: list
        elements: str
      trusts_clients:
        description:
          - Whether the service of O(identities[].names) accepts client certificates of O(identities[].authority).
          - Then the roots and issuing CAs of that authority are in C(NAME/trusted-clients.crt), and its lists of
            revoked certificates, if there are any, in C(NAME/trusted-clients.crl).
          - The other identities ignore it.
        type: bool
        default: false
      name:
        description:
          - The name of its directory and service. By default it is the role.
          - It may have at most 63 bytes, all printable, without a slash, a closing bracket or a leading dot.
          - Several identities of an OS user with the same role need it, to have files of their own.
        type: str
      os_user:
        description: The OS user who logs in as the role. It must exist and own its home directory.
        type: str
        required: true
      home:
        description:
          - The directory for C(.postgresql) and C(.pg_service.conf), instead of the OS user's home directory.
          - The OS user must own it.
          - Use it for accounts without their own home directory. Programs find the files there if E(HOME) names it
            (libpq 14 and newer), or by their paths.
        type: path
      databases:
        description:
          - The databases that the identity uses. Its service connects to the first one by default.
          - If O(identities[].endpoints) is set, it also has a service for each server and database.
        type: list
        elements: str
        default: []
      servers:
        description: Roles of this collection use it. This module ignores it.
        type: list
        elements: str
      address:
        description: Roles of this collection use it. This module ignores it.
        type: list
        elements: str
      authority:
        description:
          - The name of the client authority in O(other_authorities) that issues its certificate. By default it is the
            authority of O(issuing).
        type: str
      default_files:
        description:
          - Whether the files of this identity get the names in C(~/.postgresql) that libpq reads by default.
          - V(false) keeps these names free. Services and programs that name the files still work. Links that this
            module created earlier are removed, and files that were kept as C(NAME.before-pgops) get their names back.
            If the OS user has several identities, V(false) for one of them counts for all, unless another one has
            V(true).
          - V(true) takes the files of this identity, even if it is not the first one of the OS user.
          - By default the files are those of the first identity. But see O(known_servers).
        type: bool
      login:
        description:
          - V(certificate) and V(both) give the identity a key and a certificate. With V(both), servers also ask for a
            password.
          - V(password) gives it the trusted roots and a service with C(sslmode=verify-full), and no key or certificate.
            The module requests nothing for it. If the identity had a key and a certificate from this module, they are
            removed.
          - If the identity whose files get libpq's default names has V(password), there is no client certificate at
            these names. Files that were kept as C(NAME.before-pgops) get their names back.
          - V(none) gives it a key and a certificate for a service that is not PostgreSQL. It gets no service in
            C(~/.pg_service.conf) and no default files.
        type: str
        choices: [certificate, password, both, none]
        default: certificate
      formats:
        description:
          - The forms of key and certificate. V(pem) are C(postgresql.crt) and C(postgresql.key), which always exist.
          - V(bundle) is also C(NAME/bundle.pem), one file with the key and the chain, such as HAProxy reads.
          - V(pk8) is also C(NAME/postgresql.pk8), the key in unencrypted PKCS#8 DER, for Java. It is linked to
            C(~/.postgresql/postgresql.pk8), where pgjdbc looks by default, if the identity has the default files.
          - V(pkcs12) is also C(NAME/postgresql.p12), key and chain under the alias C(user). Its password is in
            C(NAME/postgresql.p12.password), without a line break, unless it is in O(pkcs12_passwords). The module makes
            it once and keeps it.
          - V(truststore) is also C(truststore.p12) beside C(root.crt), the O(roots) for Java. It has no password. Java
            opens it with any password, and without one.
          - V(environment) is also C(NAME/environment), libpq's variables for this identity (E(PGUSER), E(PGSSLMODE),
            E(PGSSLROOTCERT), E(PGSSLCERT), E(PGSSLKEY) and others) as an C(EnvironmentFile) of systemd. It has no
            password. E(PGHOST) and E(PGPORT) are in it if the identity has one server in O(identities[].endpoints).
          - With O(identities[].login=password) only V(pem) and V(truststore) are possible.
        type: list
        elements: str
        choices: [pem, bundle, pk8, pkcs12, truststore, environment]
        default: [pem]
      after_change:
        description:
          - What to run after the files of the identity have changed, such as the restart of the service that uses
            them. O(roots) and O(crls) count as files of each identity.
          - It runs once for all identities on the host that have the same, and after the files of all OS users have
            changed. So a call that returns RV(requests) does not run it. The call with O(certificates) does, also where
            some or all of them are empty.
          - O(state=absent) does not run it.
          - If it fails, the call fails and the new files stay. The next call runs it again, until it succeeds. The same
            happens after an interrupted run.
          - A unit or program that the host does not have is an error before anything changes.
        type: dict
        suboptions:
          unit:
            description:
              - A unit of systemd. A unit that is not running stays as it is. A failed unit is restarted.
              - One second later the unit must still be running.
            type: str
          action:
            description: What to do with the unit. The default is V(restart).
            type: str
            choices: [reload, restart]
          command:
            description:
              - A program and its arguments, in place of a unit. No shell reads them.
              - It runs as the OS user of the identity. After 120 seconds it is stopped.
              - Results and messages name the program, and hide its arguments and what looks like a password in its
                output.
            type: list
            elements: str
          as_root:
            description: Whether the command runs as root. The default is V(false).
            type: bool
      strict_services:
        description:
          - Whether the services of the identity, and V(environment) in O(identities[].formats), also refuse every other
            way of logging in.
          - With O(identities[].login=certificate), the server must request the certificate (C(sslcertmode=require)) and
            must not ask for a password (C(require_auth=none)).
          - With O(identities[].login=password), no certificate is sent (C(sslcertmode=disable)), and the password is
            used only with SCRAM (C(require_auth=scram-sha-256)), and only on the connection whose certificate was
            verified (C(channel_binding=require), not if one of O(identities[].endpoints) is a pooler).
          - V(both) combines these.
          - Where libpq and the server are version 17 or newer, TLS begins at once (C(sslnegotiation=direct)).
          - Services have only parameters that libpq of the host knows, and libpq must be installed. C(sslcertmode) and
            C(require_auth) exist since version 16. A program that reads the services with an older libpq of its own, or
            without libpq, may refuse them.
        type: bool
        default: false
      servers_ready:
        description:
          - Whether all servers of the identity let it in by what is declared.
          - With V(false) a valid certificate stays as it is if the identity should get one of another authority, or
            log in by password. Otherwise a server that still trusts the former authority alone, or still asks for the
            certificate, would refuse the client. A warning says so.
        type: bool
        default: true
      endpoints:
        description:
          - Where this client host reaches the servers of the identity.
          - The identity gets a service NAME@SERVER for each of them, with host, port and its first database. For each
            other database it gets a service NAME@SERVER/DATABASE.
          - With O(trust) they are servers outside the inventory.
        type: list
        elements: dict
        default: []
        suboptions:
          server:
            description: The name of the server in the inventory, or any name for a server outside.
            type: str
            required: true
          host:
            description: A name in the certificate of the server.
            type: str
            required: true
          port:
            description: The port at this name.
            type: int
            required: true
          version:
            description:
              - Its major version of PostgreSQL. With V(0) it is unknown, and C(sslnegotiation) in its services stays
                as it is.
            type: int
            default: 0
          is_pooler:
            description: Whether it is a pooler.
            type: bool
            default: false
  roots:
    description:
      - PEM certificates of the roots that servers' certificates must come from, for C(root.crt). At least one of them
        must be valid now. Every run warns about the others, and keeps them.
      - A self-signed certificate of a server is a root for that server alone.
    type: str
    required: true
  issuing:
    description:
      - PEM certificates of the authorities that issue clients' certificates, first the one that issues now.
      - Certificates from the others stay until they are due for another reason.
      - Certificates in a chain that are not in this list, or do not lead to a trusted root, are removed from the file.
        Key and certificate stay.
    type: str
    required: true
  trusted_clients:
    description: PEM certificates of the authorities whose client certificates servers accept, for the rehearsal.
    type: str
    required: true
  crls:
    description:
      - PEM certificate revocation lists (CRLs) for C(root.crl), of every authority that issues for servers. libpq
        checks whole chains, so it refuses servers if a list is missing or expired. A missing or expired list is an
        error.
      - O(roots) may also contain lists of other roots. If this option is not empty, it must contain one for every
        root.
      - Services name the file with C(sslcrl), and it is at libpq's default location. libpq silently ignores a missing
        file, so every call checks that it exists.
      - O(state=previous) keeps the declared lists.
    type: str
    default: ''
  revoked:
    description:
      - Serial numbers of revoked client certificates, in lower-case hexadecimal. An identity whose certificate is
        among them needs a new one, for the reason V(revoked).
    type: list
    elements: str
    default: []
  trusted_clients_crls:
    description:
      - PEM certificate revocation lists (CRLs) of the authority of O(issuing), for services with
        O(identities[].trusts_clients).
    type: str
    default: ''
  server_issuing:
    description:
      - PEM certificates of the authorities that issue servers' certificates, first the one that issues now. Identities
        with O(identities[].names) need it.
    type: str
    default: ''
  server_revoked:
    description: Serial numbers of revoked server certificates, as in O(revoked).
    type: list
    elements: str
    default: []
  other_authorities:
    description:
      - Client authorities beside that of O(issuing), O(trusted_clients) and O(revoked). An identity that is in
        O(identities[].authority) of another one moves to it with its next certificate, which is due at once.
      - List every authority that issued a certificate in use on this host. A certificate of an unknown one is an error.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      issuing:
        description: See O(issuing).
        type: str
        required: true
      trusted_clients:
        description: See O(trusted_clients).
        type: str
        required: true
      revoked:
        description: See O(revoked).
        type: list
        elements: str
        default: []
      trusted_clients_crls:
        description: See O(trusted_clients_crls).
        type: str
        default: ''
  pkcs12_passwords:
    description:
      - Passwords of the files C(NAME/postgresql.p12), by RV(identities[].id) of identities with V(pkcs12) in
        O(identities[].formats). Such a password is in no file of the host. By default the module makes one.
      - A password has 6 to 128 printable ASCII characters. A new password is a change of the file.
      - With other states than O(state=present), passwords of identities that are not in O(identities) are ignored.
    type: dict
    default: {}
  known_servers:
    description:
      - Names and addresses of all servers that are managed together.
      - If C(~/.pgpass) or a service written by hand in C(~/.pg_service.conf) names another server, this OS user's
        programs would use files at libpq's default names for that server, too. So before these files appear for the
        first time, the module fails, and changes nothing on the host. Set O(identities[].default_files) to say what
        you want.
      - Wildcard hosts in C(~/.pgpass), directories of sockets, and services that name all three files or use no TLS do
        not count.
      - By default the module does not look into these files.
    type: list
    elements: str
  trust:
    description:
      - PEM certificates of the roots for servers outside the inventory, such as databases of a cloud provider, by
        OS_USER/NAME of the identities that connect to them.
      - They are in C(NAME/root.crt) and, with the format V(truststore), in C(NAME/truststore.p12). C(root.crt) and the
        default names have none of them. The services of the identity name the file.
      - Such an identity has O(identities[].login=password). Each call without O(certificates) looks at its endpoints,
        see RV(endpoints). If an endpoint shows a root that the file in use has and the new one does not, the call fails
        before anything of the OS user changes. What an endpoint shows is no other reason to fail, but a warning.
    type: dict
    default: {}
  certificates:
    description:
      - PEM chains (leaf first) that the authority issued for the requests of the first call, by RV(requests[].id).
      - A certificate for another key than the one generated for its request is refused.
      - An empty text means that the certificate comes in a later run. The identity keeps the one that it has. Without
        one it is left out of this call.
      - A renewal by O(renew=true) or O(new_keys=true) is remembered with an empty text. Later calls request
        it again without these options, until another certificate is installed, or other CAs may issue.
      - As long as an identity waits for its first certificate, nothing is removed for its OS user. Services and
        certificates of other names stay, such as its former one. If libpq's default files are to be those of this
        identity, they stay as they are.
    type: dict
    default: {}
  renew:
    description:
      - Whether to get new certificates even if none is due.
      - A key in use stays, so that a program that opens certificate and key during the change gets a matching pair.
    type: bool
    default: false
  new_keys:
    description:
      - Whether to get new keys and certificates. Certificates are renewed as with O(renew).
      - A program that opens its certificate before the change and its key after the change has a mismatched pair.
        libpq then reports C(key values mismatch) for that one connection.
      - A key is also replaced without this option if its certificate is revoked, if O(key_type) changes, if its file
        is damaged, or if its owner or mode was wrong at the time of a renewal.
    type: bool
    default: false
  renew_to_new_root:
    description:
      - Whether O(renew=true) also replaces a valid certificate below a root that is not in O(trusted_clients), so that
        the client moves to the new root.
      - With V(false) this is an error, and the client keeps its files. Set it while servers still trust only the old
        root, for example if none of them could follow. A renewal that an earlier call remembers ignores it.
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

- name: Give an exporter a server certificate, and restart it when that changes
  pgops.tls.client:
    identities:
      - name: exporter
        os_user: prometheus
        names: [app1.example.com]
        trusts_clients: true
        after_change:
          unit: prometheus-postgres-exporter
    roots: "{{ postgres_ca_authorities.server.roots }}"
    server_issuing: "{{ postgres_ca_authorities.server.issuing }}"
    issuing: "{{ postgres_ca_authorities.client.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    controller_time: "{{ now().timestamp() }}"

- name: Give a program in Java its key, and the roots that it trusts
  pgops.tls.client:
    identities:
      - role: app
        os_user: shop
        databases: [shop]
        formats: [pem, pk8, pkcs12, truststore]
        after_change:
          unit: shop
          action: reload
    roots: "{{ postgres_ca_authorities.server.roots }}"
    issuing: "{{ postgres_ca_authorities.client.issuing }}"
    trusted_clients: "{{ postgres_ca_authorities.client.bundle }}"
    controller_time: "{{ now().timestamp() }}"

- name: Go back to the previous generation, for one OS user
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
  description: What was changed, or would be changed in check mode, in words.
  returned: always; after a failure, with the changes for other OS users
  type: list
  elements: str
  sample: ["alice/reporting: new certificate (expires_in_12d)"]
reasons:
  description: Why new certificates are needed. Empty if the current ones are as declared.
  returned: success
  type: list
  elements: str
  sample: ["alice/reporting: expires_in_12d"]
requests:
  description: The needed certificates. Sign the requests and call the module again with O(certificates).
  returned: success; also if some OS users fail and others need certificates
  type: list
  elements: dict
  contains:
    id:
      description: See RV(identities[].id).
      type: str
    role:
      description: The role that the certificate is for. Empty for a server certificate.
      type: str
    names:
      description: The names that a server certificate is for.
      type: list
      elements: str
    reasons:
      description: Why it is needed.
      type: list
      elements: str
    csr:
      description: The PEM certificate request. Omitted in check mode.
      type: str
endpoints:
  description:
    - What servers outside the inventory show now, a row for each identity in O(trust) and each of its endpoints.
    - The other keys of a row are those of RV(pgops.tls.endpoint_info#module:trust), except for C(file). If there is a
      problem, only C(findings) is there.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: OS_USER/NAME of the identity.
      type: str
    host:
      description: The name of the endpoint.
      type: str
    port:
      description: Its port.
      type: int
    problem:
      description: Why it could not be looked at. Empty if it could.
      type: str
    findings:
      description: What needs attention, see RV(pgops.tls.endpoint_info#module:trust[].findings).
      type: list
      elements: str
not_asked:
  description:
    - The identities with certificates (OS_USER/NAME) of the OS users that failed, if others need certificates. In the
      next call, give them an empty text in O(certificates).
  returned: if some OS users fail and others need certificates
  type: list
  elements: str
next_run:
  description: What a later call with O(state=present) would change, in words.
  returned: success, empty unless O(state=previous)
  type: list
  elements: str
  sample: ["alice/reporting: new certificate (expires_in_12d)"]
identities:
  description: The identities that have certificates, and these after the call. Those with V(password) are left out.
  returned: success; also beside RV(not_asked)
  type: list
  elements: dict
  contains:
    id:
      description: OS_USER/NAME. The name is O(identities[].name).
      type: str
    role:
      description: The PostgreSQL role. Empty for a server certificate.
      type: str
    names:
      description: See O(identities[].names).
      type: list
      elements: str
    os_user:
      description: The OS user.
      type: str
    certificate:
      description: Path of the certificate chain. Renewals do not change it.
      type: str
    key:
      description: Path of the private key. Renewals do not change it.
      type: str
    is_held:
      description: Whether the certificate stays until the servers follow. See O(identities[].servers_ready).
      type: bool
    serial:
      description: Serial number in hexadecimal. Null if there is no certificate yet.
      type: str
    not_after:
      description: When it ends, ISO 8601 in UTC. Null if there is no certificate yet.
      type: str
    sha256:
      description: Fingerprint in hexadecimal. Null if there is no certificate yet.
      type: str
    pem:
      description: The certificate itself (PEM), without its chain. Null if there is none yet.
      type: str
    renewal:
      description: When it becomes due for renewal, ISO 8601 in UTC. Null if there is no certificate yet.
      type: str
rolled_back:
  description: Whether the files of each failed OS user were restored.
  returned: when a change failed after something live was touched
  type: bool
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: root_changed
"""

import time
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target, transaction, user_files
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins

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
PEM = (
    *("roots", "issuing", "trusted_clients", "crls", "certificates", "other_authorities"),
    *("server_issuing", "trusted_clients_crls", "trust"),
)


# Where an identity reaches a server
ENDPOINT: dict[str, dict[str, Any]] = {
    "server": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "version": {"type": "int", "default": 0},
    "is_pooler": {"type": "bool", "default": False},
}

# What runs when the files of an identity have changed
AFTER_CHANGE: dict[str, dict[str, Any]] = {
    "unit": {"type": "str"},
    "action": {"type": "str", "choices": ["reload", "restart"]},
    "command": {"type": "list", "elements": "str"},
    "as_root": {"type": "bool"},
}

# The options of an identity
IDENTITY: dict[str, dict[str, Any]] = {
    "role": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "trusts_clients": {"type": "bool", "default": False},
    "name": {"type": "str"},
    "os_user": {"type": "str", "required": True},
    "home": {"type": "path"},
    "databases": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "list", "elements": "str"},
    "address": {"type": "list", "elements": "str"},
    "authority": {"type": "str"},
    "default_files": {"type": "bool"},
    "login": {"type": "str", "choices": [*logins.LOGINS, logins.NONE], "default": logins.CERTIFICATE},
    "formats": {
        "type": "list",
        "elements": "str",
        "choices": list(user_files.FORMATS),
        "default": [user_files.PEM],
    },
    "after_change": {"type": "dict", "options": AFTER_CHANGE},
    "strict_services": {"type": "bool", "default": False},
    "servers_ready": {"type": "bool", "default": True},
    "endpoints": {"type": "list", "elements": "dict", "default": [], "options": ENDPOINT},
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    client_authority = {
        "name": {"type": "str", "required": True},
        "issuing": {"type": "str", "required": True},
        "trusted_clients": {"type": "str", "required": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "trusted_clients_crls": {"type": "str", "default": ""},
    }
    return {
        "state": {"type": "str", "choices": list(KINDS), "default": "present"},
        "identities": {"type": "list", "elements": "dict", "required": True, "options": IDENTITY},
        **spec.OPTIONS,
        "roots": {"type": "str", "required": True, "no_log": True},
        "issuing": {"type": "str", "required": True, "no_log": True},
        "trusted_clients": {"type": "str", "required": True, "no_log": True},
        "crls": {"type": "str", "default": "", "no_log": True},
        "revoked": {"type": "list", "elements": "str", "default": []},
        "trusted_clients_crls": {"type": "str", "default": "", "no_log": True},
        "server_issuing": {"type": "str", "default": "", "no_log": True},
        "server_revoked": {"type": "list", "elements": "str", "default": []},
        "other_authorities": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": client_authority,
            "no_log": True,
        },
        "certificates": {"type": "dict", "default": {}, "no_log": True},
        "trust": {"type": "dict", "default": {}, "no_log": True},
        "pkcs12_passwords": {"type": "dict", "default": {}, "no_log": True},
        "known_servers": {"type": "list", "elements": "str"},
        "renew": {"type": "bool", "default": False},
        "new_keys": {"type": "bool", "default": False, "no_log": False},
        "renew_to_new_root": {"type": "bool", "default": True},
        "controller_time": {"type": "float", "required": True},
        **options.ARGUMENT,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    hide_secrets(module, *PEM)
    now = int(time.time())
    try:
        with options.named(module.params["option_names"]):
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
