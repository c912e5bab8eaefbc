#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have a standby or subscriber replicate with its client certificate in use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication
short_description: Have a standby or subscriber replicate with its client certificate
version_added: 1.0.0
description:
  - A server that replicates from another one reads its certificate when it connects. So a standby and a subscription
    use the certificate from before a renewal until they connect again, for months.
  - On a standby, this module sets C(sslmode=verify-full), the role and the paths of its files in C(primary_conninfo),
    by C(ALTER SYSTEM) and a reload. Everything else in it stays, such as host and port.
  - If the certificate was replaced since a standby or a subscription connected, the module makes it connect again. The
    server is never restarted. Connection strings of subscriptions do not change.
  - Before any change, C(psql) makes the same connection with the new files, as the server's OS user. If that fails,
    the module fails with the other server's words, and the old connection continues.
  - With C(sync_replication_slots), a standby of PostgreSQL 17 or later also connects to the database in C(dbname) of
    C(primary_conninfo). That connection is tried, too, before new parameters are written. After a renewal its process
    ends, and the server starts another one within 10 seconds.
  - Afterwards the server itself must show the new connection. If it does not, C(primary_conninfo) is restored. To learn
    which certificate the primary sees, look at RV(pgops.tls.session_info#module:sessions) there.
  - The module refuses a standby whose C(primary_conninfo) Patroni, Stolon, CloudNativePG or pg_auto_failover writes.
  - A primary without subscriptions is left alone. So the same options suit all servers of a cluster, before and after
    they swap roles.
  - It needs PostgreSQL 13 or later, Python's standard library and PostgreSQL's C(psql) on the host. It must run as root
    or as the OS user that the server runs as.
attributes:
  check_mode:
    support: full
    details: The connection with the new files is tried in check mode, too, if there are files.
  diff_mode:
    support: none
  idempotent:
    support: full
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.login
  - pgops.tls.option_names
options:
  role:
    description: The PostgreSQL role that a standby logs in as.
    type: str
    required: true
  identities:
    description:
      - Dictionaries as in O(pgops.tls.postgres_client#role:main:postgres_client_identities), of this host.
      - The one with O(role) and the OS user that the server runs as has the files. M(pgops.tls.client) makes them.
    type: list
    elements: dict
    required: true
seealso:
  - module: pgops.tls.client
  - module: pgops.tls.server
  - module: pgops.tls.session_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Replicate with the certificate of role replicator
  pgops.tls.replication:
    role: replicator
    identities:
      - {role: replicator, os_user: postgres, databases: [replication]}
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be changed in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["standby: a new connection, with the certificate in use now"]
replication:
  description: What M(pgops.tls.server) returns as RV(pgops.tls.server#module:replication), after the changes.
  returned: success, for a standby or a server with an enabled subscription
  type: dict
manager:
  description: The program that writes C(primary_conninfo).
  returned: when it stopped the call
  type: str
rolled_back:
  description: Whether C(primary_conninfo) was restored, and a standby that was streaming was proven to stream again.
  returned: when a change failed after C(primary_conninfo) was changed
  type: bool
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: replication_refused
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core import options
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import LOGIN_OPTIONS
from ansible_collections.pgops.tls.plugins.module_utils.replication import convergence


def argument_spec() -> dict[str, Any]:
    """Return the module's options."""
    return {
        **LOGIN_OPTIONS,
        "role": {"type": "str", "required": True},
        "identities": {"type": "list", "elements": "dict", "required": True},
        **options.ARGUMENT,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    try:
        with options.named(module.params["option_names"]):
            outcome = convergence.converge(module.params, int(time.time()), check_mode=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    for warning in outcome.warnings:
        module.warn(warning)
    facts = {} if outcome.replication is None else {"replication": outcome.replication}
    module.exit_json(changed=bool(outcome.changes), changes=outcome.changes, **facts)


if __name__ == "__main__":
    main()
