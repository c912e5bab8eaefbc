#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell who can get into a PostgreSQL server, and which rule decides."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hba_info
short_description: Show who can log in to a PostgreSQL server, and which rule decides
version_added: 1.0.0
description:
  - Shows, for a user, a database, an address and a certificate, which line of C(pg_hba.conf) decides on the
    connection, and the result. From the maps of C(pg_ident.conf) it finds the roles that a certificate may log in as.
  - It evaluates the rules itself, as PostgreSQL does, without connecting as any of these users. The answers cover only
    authentication, not whether the role or the database exists or whether the role may connect.
  - On a server's host it reads the files on disk and the files that they include. The server may have loaded older
    ones. O(hba) evaluates a text instead, and needs no server.
  - Unknown facts make an answer uncertain, never wrong.
  - It also reports rules that are probably unintended, such as one that never matches, and rules that let clients in
    without TLS or without a certificate.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
  - pgops.tls.login
  - pgops.tls.option_names
options:
  hba:
    description:
      - A text of C(pg_hba.conf) to evaluate instead of a server's files. Files that it includes are not followed.
      - The passwords of C(ldapbindpasswd) and C(radiussecrets) in it are never shown.
    type: str
  ident:
    description: A text of C(pg_ident.conf) to use with O(hba).
    type: str
    default: ''
  version:
    description: Major version of PostgreSQL that O(hba) is for. Regular expressions for users and databases need 16.
    type: int
    default: 17
  questions:
    description: The connections to evaluate.
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description: The role to log in as. Without it, the answer names each role of the server that may log in.
        type: str
      database:
        description: The database. By default any database.
        type: str
      address:
        description:
          - The client's address. By default any address. A zone, as in V(fe80::1%eth0), is ignored.
        type: str
      local:
        description: Whether the connection is made over the Unix socket.
        type: bool
        default: false
      tls:
        description: Whether it uses TLS. By default both are possible. A connection with a certificate uses TLS.
        type: bool
      common_name:
        description: Common name of the client's certificate. Without any name, the client shows no certificate.
        type: str
      distinguished_name:
        description: Subject of the certificate as RFC 2253 writes it, such as V(CN=alice,O=example).
        type: str
      os_user:
        description: The OS user who connects over the socket.
        type: str
      replication:
        description: Whether it is a physical replication connection, which has no database.
        type: bool
        default: false
seealso:
  - module: pgops.tls.server
  - module: pgops.tls.connection_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Ask who can get in
  pgops.tls.hba_info:
    questions:
      - {user: app, database: shop, address: 192.0.2.10, common_name: app}
      - {user: postgres, address: 192.0.2.10, tls: false}
      - {common_name: alice, database: shop} # which roles this certificate may become
  become: true
  register: access

- name: Refuse a text of rules that lets anybody in without TLS
  pgops.tls.hba_info:
    hba: |
      hostssl all all all cert
      host all all all reject
    questions:
      - {user: postgres, tls: false}
  register: coming
  failed_when: coming.answers[0].verdict != 'refused'
"""

RETURN = r"""
answers:
  description: The answers, in order. A question without a user has one for each role that may log in.
  returned: success
  type: list
  elements: dict
  contains:
    question:
      description: Number of the question, from 0.
      type: int
    user:
      description: The role.
      type: str
    verdict:
      description:
        - V(accepted), V(refused), V(asked) (a password or another proof than a certificate decides) or V(unknown).
      type: str
    certain:
      description: Whether it is known which rule decides.
      type: bool
    rule:
      description: The rule that decides. Null if no rule matches, which refuses the connection, or if that is unknown.
      type: dict
      contains:
        file:
          description: Path of its file. C(pg_hba.conf) for O(hba).
          type: str
        line:
          description: Number of its line.
          type: int
        text:
          description: The line without passwords.
          type: str
        method:
          description: Its method.
          type: str
    reason:
      description: The reason.
      type: str
    may_decide:
      description: If that is unknown, each rule that may decide, with C(rule), C(verdict) and C(reason).
      type: list
      elements: dict
  sample:
    - question: 0
      user: app
      verdict: accepted
      certain: true
      rule: {file: /etc/postgresql/17/main/pg_hba.conf, line: 3, text: hostssl all app all cert, method: cert}
      reason: CN 'app' may be role 'app'
      may_decide: []
advice:
  description:
    - Advice on the rules, independent of the questions. It contains only what is certain.
    - Lines that the server would refuse, and rules that depend on them, are omitted. See M(pgops.tls.server) for
      these.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: Path of the rule's file. C(pg_hba.conf) for O(hba).
      type: str
    line:
      description: Number of its line.
      type: int
    name:
      description:
        - V(never_matches) (earlier rules match all its connections, with another method), V(any_certificate) (C(trust)
          with C(clientcert=verify-ca)), V(unused_clientname), V(unknown_map), V(dn_without_map), V(no_dn) (a line of a
          map for C(clientname=DN) contains a value that is not a DN), V(no_ca) (C(ssl_ca_file) is empty).
        - V(map_for_two_names), V(without_ipv6), V(without_tls) and V(without_certificate) are information.
      type: str
    level:
      description: V(warning) for rules that are probably unintended, V(information) for rules that may be intended.
      type: str
    reason:
      description: What is wrong.
      type: str
    remedy:
      description: What to do.
      type: str
  sample:
    - file: /etc/postgresql/17/main/pg_hba.conf
      line: 4
      name: never_matches
      level: warning
      reason: "it never matches: line 3 before it decides on all that it is for"
      remedy: Move it before what decides, or remove it.
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: command_missing
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.no_log import hide_secrets
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.server import visitors

_QUESTION = {
    "user": {"type": "str"},
    "database": {"type": "str"},
    "address": {"type": "str"},
    "local": {"type": "bool", "default": False},
    "tls": {"type": "bool"},
    "common_name": {"type": "str"},
    "distinguished_name": {"type": "str"},
    "os_user": {"type": "str"},
    "replication": {"type": "bool", "default": False},
}


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        **LOGIN_OPTIONS,
        "hba": {"type": "str", "no_log": True},
        "ident": {"type": "str", "default": ""},
        "version": {"type": "int", "default": 17},
        "questions": {"type": "list", "elements": "dict", "required": True, "options": _QUESTION},
        **options.ARGUMENT,
    }


def answer_all(given: dict[str, Any]) -> dict[str, Any]:
    """Return the answers to all questions, and what there is to say of the rules. Raises TlsError, OSError."""
    if given["hba"] is not None:
        rules = visitors.of_texts(given["hba"], given["ident"], given["version"])
    else:
        rules = visitors.of_server(given["port"], given["login_unix_socket"], given["login_user"])
    numbered = enumerate(given["questions"])
    answers = [{"question": number, **one} for number, question in numbered for one in rules.answers(question)]
    return {"answers": answers, "advice": rules.advised()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module, "hba", rules=module.params["hba"] or "")
    try:
        with options.named(module.params["option_names"]):
            result = answer_all(module.params)
    except TlsError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        message = f"{error.filename}: {error.strerror}. Make it readable for the server's OS user."
        module.fail_json(msg=message, code="server_file_unreadable")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
