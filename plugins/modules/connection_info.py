#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Try real connections and compare what happens with what is expected."""

from __future__ import annotations

DOCUMENTATION = r"""
module: connection_info
short_description: Try real connections and compare the results with expectations
version_added: 1.0.0
description:
  - Connects with PostgreSQL's own client library libpq, as the OS user that owns the certificate, over TCP, with a
    separate environment. C(PG*) variables have no effect.
  - An accepted connection must be encrypted, and the server's C(pg_stat_ssl) must show protocol, cipher and exactly
    the client certificate on disk. The server must show the certificate of the intended server, see
    O(expectations[].certificates). libpq reports the certificate that the server showed.
  - A forbidden connection must be refused with the expected message. It counts only if the same connection with the
    right parameters works. Any other error proves nothing.
  - All connections of one call run in one remote execution, several at once.
  - Changes nothing. For a foreign certificate it creates a throw-away authority with the C(openssl) command in a
    directory that only the OS user can read, and removes it afterwards.
  - A server may speak any language (C(lc_messages)). A refusal is then recognized by its SQLSTATE and by the function
    of PostgreSQL that refused.
  - Must run as root, or as the only OS user that O(expectations) names.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  expectations:
    description:
      - The connections to try. M(pgops.tls.expected_connections) generates the list from an inventory.
    type: list
    elements: dict
    required: true
    suboptions:
      expect:
        description: The expected result.
        type: str
        choices: [accepted, refused]
        default: accepted
      kind:
        description:
          - Why the server or client must refuse this connection. Required with O(expectations[].expect=refused), and
            not allowed otherwise.
          - V(plaintext) uses C(sslmode=disable).
          - V(no_certificate) presents no client certificate.
          - V(foreign_certificate) presents a certificate with the right common name, signed by a throw-away authority.
          - V(another_authority) presents the identity's own certificate to a server that trusts another client
            authority. It counts if the same certificate is accepted by another server in the same call.
          - V(another_role) presents the certificate of O(expectations[].certificate_role).
          - V(wrong_name) connects to the server's address under a name that no server has.
          - V(foreign_root) trusts the throw-away authority instead of the server's.
        type: str
        choices:
          - plaintext
          - no_certificate
          - foreign_certificate
          - another_authority
          - another_role
          - wrong_name
          - foreign_root
      server:
        description:
          - The server's name in the report. By default the servers of O(expectations[].certificates), otherwise
            O(expectations[].host).
        type: str
      host:
        description: The DNS name or address to connect to, which the server's certificate must contain.
        type: str
        required: true
      hostaddr:
        description: The address to connect to, if O(expectations[].host) should not be resolved.
        type: str
      port:
        description: The port to connect to.
        type: int
        default: 5432
      database:
        description: The database to connect to.
        type: str
        default: postgres
      replication:
        description:
          - Make a physical replication connection, as a standby does. In C(pg_hba.conf) its O(expectations[].database)
            is V(replication).
          - The server shows no details of such a connection. So protocol and cipher come from libpq, and the client
            certificate that the server verified is not compared.
        type: bool
        default: false
      role:
        description: The role to log in as.
        type: str
        required: true
      os_user:
        description: The OS user that connects.
        type: str
        required: true
      home:
        description: The directory with C(.postgresql), if it is not the home directory of the OS user.
        type: path
      certificate:
        description:
          - V(own) presents a client certificate and expects the server to have verified it.
          - V(none) presents none.
        type: str
        choices: [own, none]
        default: own
      certificate_role:
        description: The role whose certificate is presented. By default O(expectations[].role).
        type: str
      identity:
        description:
          - The name of the identity whose files and service are used. By default O(expectations[].certificate_role).
          - See O(pgops.tls.client#module:identities[].name).
        type: str
      files:
        description:
          - V(named) passes the paths of all files to libpq.
          - V(default) passes none, so the files in C(~/.postgresql) must be right.
          - V(service) passes only a host, a port, a database and the service of O(expectations[].identity). With
            O(expectations[].service) it passes that alone.
        type: str
        choices: [named, default, service]
        default: named
      service:
        description:
          - A service that has everything that libpq needs, for O(expectations[].files=service). It must agree with
            O(expectations[].host), O(expectations[].port) and O(expectations[].database).
        type: str
      sslcert:
        description:
          - Path of the client certificate. By default the one that M(pgops.tls.client) keeps for
            O(expectations[].identity).
        type: path
      sslkey:
        description: Path of its private key. By default the one that M(pgops.tls.client) keeps for the role.
        type: path
      sslrootcert:
        description: Path of the trusted roots. By default those that M(pgops.tls.client) keeps for the OS user.
        type: path
      sslmode:
        description: The C(sslmode) of libpq.
        type: str
        choices: [require, verify-ca, verify-full]
        default: verify-full
      skip:
        description: Do not connect. Report this check as skipped, for this reason.
        type: str
      asks_for_password:
        description:
          - Whether rules of the server may ask for a password in addition to the certificate
            (C(clientcert=verify-full) with C(scram-sha-256), for example).
          - If so, a connection may end at the password prompt because C(.pgpass) of the OS user has no password for
            it. This is not a deviation if the same connection without a certificate is refused because the certificate
            is missing.
        type: bool
        default: false
      needs_password:
        description:
          - Whether the server must ask for a password. If it accepts the connection without asking (C(trust), for
            example), this is a deviation.
          - A connection may end at the password prompt, as with O(expectations[].asks_for_password). With
            O(expectations[].certificate=none), no other connection counts.
        type: bool
        default: false
      pooler:
        description:
          - What a PgBouncer at this host requires of its clients, its C(client_tls_sslmode). Without it, the host is a
            PostgreSQL server.
          - Through a pooler, C(pg_stat_ssl) shows the pooler's connection to PostgreSQL. So protocol and cipher come
            from libpq, the client certificate is not compared, and the one that PostgreSQL saw must be
            O(expectations[].certificates[].back_serial).
          - Unless the pooler demands a certificate (V(verify-ca), V(verify-full)), a connection may end at the password
            prompt.
        type: str
        choices: [allow, prefer, require, verify-ca, verify-full]
      certificates:
        description:
          - The servers that may answer and their certificates. Several servers may share a name (an alias, a virtual
            address, a load balancer). The certificate that the server shows on this same connection must be one of
            these. By default it is not compared.
          - Another certificate is accepted if another run has issued it in the meantime, for exactly the names of one
            of these servers.
        type: list
        elements: dict
        suboptions:
          server:
            description: The server's name in the report.
            type: str
            required: true
          serial:
            description:
              - Serial number of its certificate in hexadecimal, as M(pgops.tls.server) returns it. Without it the
                module cannot tell whether this server has answered, and the result says so.
            type: str
          not_before:
            description: When its certificate becomes valid, as M(pgops.tls.server) returns it.
            type: str
          back_serial:
            description:
              - For a pooler, the serial number in hexadecimal of the certificate by which it logs in to PostgreSQL.
            type: str
          names:
            description: All names of its certificate.
            type: list
            elements: str
  connect_timeout:
    description:
      - Timeout in seconds for a connection to each address of the host, and for the answer to its one query.
    type: int
    default: 10
seealso:
  - module: pgops.tls.expected_connections
  - module: pgops.tls.endpoint_info
  - name: SSL support of libpq
    description: The rules by which libpq chooses and checks certificates.
    link: https://www.postgresql.org/docs/current/libpq-ssl.html
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Prove that app reaches db1 with TLS, and only with its own certificate
  pgops.tls.connection_info:
    expectations:
      - {host: db1.example.com, role: app, os_user: app}
      - {host: db1.example.com, role: app, os_user: app, expect: refused, kind: plaintext}
      - {host: db1.example.com, role: app, os_user: app, expect: refused, kind: no_certificate}
      - host: db1.example.com
        role: postgres
        os_user: app
        certificate_role: app
        expect: refused
        kind: another_role

- name: Prove that a certificate kept elsewhere works
  pgops.tls.connection_info:
    expectations:
      - host: db1.example.com
        role: report
        os_user: report
        sslcert: /srv/report/report.crt
        sslkey: /srv/report/report.key
        sslrootcert: /srv/report/root.crt
"""

RETURN = r"""
checks:
  description: The result of each expectation, in order.
  returned: when the connections could be tried
  type: list
  elements: dict
  contains:
    status:
      description:
        - V(ok) if it is as expected, V(deviation) if not, V(skipped) if it cannot be tried.
        - V(prompt) if it is as expected up to the password prompt. See O(expectations[].asks_for_password)
          and O(expectations[].needs_password).
        - V(unproven) if a refusal was expected, but the same connection with the right parameters fails, too.
      type: str
    reason:
      description: The reason, in words.
      type: str
    wanted:
      description: What was expected, in words.
      type: str
    expect:
      description: What was expected, V(accepted) or V(refused).
      type: str
    server:
      description: The server's name.
      type: str
    servers:
      description: The servers that may answer.
      type: list
      elements: str
    answered_by:
      description: The server that showed its own certificate. Empty if none did, or if that is unknown.
      type: str
    note:
      description: More about the server that answered.
      type: str
    host:
      description: The name that the client connected to.
      type: str
    port:
      description: Its port.
      type: int
    os_user:
      description: The OS user that connected.
      type: str
    role:
      description: The requested role.
      type: str
    identity:
      description: The name of the identity that connected. See O(expectations[].identity).
      type: str
    protocol:
      description: Protocol of an accepted connection, empty otherwise.
      type: str
    cipher:
      description: Cipher of an accepted connection, empty otherwise.
      type: str
    group:
      description:
        - Group of the key exchange of an accepted connection, such as V(X25519MLKEM768). Empty otherwise, and if the
          OpenSSL of this host's libpq is older than 3.0.
      type: str
    client_dn:
      description: Subject of the client certificate that the server verified, as PostgreSQL truncates it.
      type: str
    message:
      description: The message of a refused connection, empty otherwise.
      type: str
  sample:
    - status: ok
      reason: the server asked for a client certificate
      wanted: "refused: no client certificate"
      expect: refused
      server: db1
      servers: [db1]
      answered_by: db1
      note: ""
      host: db1.example.com
      port: 5432
      os_user: app
      role: app
      identity: app
      protocol: ""
      cipher: ""
      group: ""
      client_dn: ""
      message: connection requires a valid client certificate
deviations:
  description: A sentence for each check that is not as expected or unproven.
  returned: when the connections could be tried
  type: list
  elements: str
libpq:
  description: Major version of the host's libpq.
  returned: when there were connections to try
  type: int
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: connections_not_as_expected
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.verification import checks, expectation, libpq, report
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS

EXPECTATION = {
    "expect": {"type": "str", "choices": ["accepted", "refused"], "default": "accepted"},
    "kind": {"type": "str", "choices": list(REFUSALS)},
    "server": {"type": "str"},
    "host": {"type": "str", "required": True},
    "hostaddr": {"type": "str"},
    "port": {"type": "int", "default": 5432},
    "database": {"type": "str", "default": "postgres"},
    "replication": {"type": "bool", "default": False},
    "role": {"type": "str", "required": True},
    "os_user": {"type": "str", "required": True},
    "home": {"type": "path"},
    "certificate": {"type": "str", "choices": ["own", "none"], "default": "own"},
    "certificate_role": {"type": "str"},
    "identity": {"type": "str"},
    "service": {"type": "str"},
    "files": {"type": "str", "choices": ["named", "default", "service"], "default": "named"},
    "sslcert": {"type": "path"},
    "sslkey": {"type": "path", "no_log": False},
    "sslrootcert": {"type": "path"},
    "sslmode": {
        "type": "str",
        "choices": ["require", "verify-ca", "verify-full"],
        "default": "verify-full",
    },
    "skip": {"type": "str"},
    "asks_for_password": {"type": "bool", "default": False, "no_log": False},
    "needs_password": {"type": "bool", "default": False, "no_log": False},
    "pooler": {"type": "str", "choices": list(expectation.POOLER_MODES)},
    "certificates": {
        "type": "list",
        "elements": "dict",
        "options": {
            "server": {"type": "str", "required": True},
            "serial": {"type": "str"},
            "not_before": {"type": "str"},
            "back_serial": {"type": "str"},
            "names": {"type": "list", "elements": "str"},
        },
    },
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        "expectations": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": EXPECTATION,
        },
        "connect_timeout": {"type": "int", "default": 10},
    }


def result(options: dict[str, Any]) -> dict[str, Any]:
    """Try what the options say and return the module's result. Raises TlsError."""
    expected = [
        expectation.read(item, f"expectations[{number}]") for number, item in enumerate(options["expectations"])
    ]
    if not expected:
        return {"changed": False, "checks": [], "deviations": []}
    library = libpq.load()
    found = [report.as_result(check) for check in checks.verify(expected, library, max(1, options["connect_timeout"]))]
    deviations = [report.sentence(check) for check in found if report.is_fault(check)]
    return {"changed": False, "checks": found, "deviations": deviations, "libpq": library.major}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    try:
        outcome = result(module.params)
    except TlsError as error:
        module.fail_json(**error.as_result())
    if outcome["deviations"]:
        count = f"{len(outcome['deviations'])} of {len(outcome['checks'])} connections"
        causes = " ".join(report.causes(outcome["checks"]))
        module.fail_json(msg=f"{count} were not as expected: {causes}", code="connections_not_as_expected", **outcome)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
