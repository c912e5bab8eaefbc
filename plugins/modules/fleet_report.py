#!/usr/bin/python
# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write what was learned of a fleet as HTML, JSON and Prometheus text."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Write a report on a fleet as HTML, JSON and Prometheus text
version_added: 1.0.0
description:
  - Writes which certificates expire when, who still connects in plaintext, which sessions use old certificates, and
    how standbys and subscribers replicate, from the results of M(pgops.tls.session_info), M(pgops.tls.pgbouncer) and
    M(pgops.tls.client) for all hosts. It runs on the controller and connects to no host.
  - In O(directory) it writes C(report.html), C(report.json) and C(report.prom), each replaced by one rename.
  - The next report reads C(report.json) for earlier results, such as who was seen in plaintext, and the last known
    data of hosts that fail now. Clients that were not seen for 180 days, and hosts that have left the inventory, are
    dropped.
  - It also reads C(last-run.json) there, in which M(pgops.tls.run_summary) notes when a run of C(pgops.tls.site) ended
    without a failure.
  - Role P(pgops.tls.postgres_report#role) calls it.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each report has a time, and counts one more look.
extends_documentation_fragment:
  - pgops.tls.attributes
options:
  directory:
    description: Absolute path of the directory to write to. It is created with mode V(0755) if it is missing.
    type: path
    required: true
  servers:
    description:
      - The results of M(pgops.tls.session_info) by host, for all servers of the inventory.
      - An empty result means that the host was not asked. A result without sessions means that the host failed.
    type: dict
    required: true
  clients:
    description: The results of M(pgops.tls.client) in check mode by host, for all client hosts of the inventory.
    type: dict
    required: true
  poolers:
    description: The results of M(pgops.tls.pgbouncer) in check mode by host, for all poolers of the inventory.
    type: dict
    default: {}
  kits:
    description:
      - The kits, as in RV(pgops.tls.client_kit#module:kits) of a call in check mode. Those that are due, or were never
        made, are in the report as such.
      - An element with the keys C(name) and C(msg) is a kit about which nothing was learned. C(msg) says why, or is
        empty if nobody has looked.
    type: list
    elements: dict
    default: []
  authorities:
    description: The authorities, as in RV(pgops.tls.certificate_authority#module:authorities).
    type: dict
    default: {}
  authority_changes:
    description: What a run would change in them, as in RV(pgops.tls.certificate_authority#module:changes).
    type: list
    elements: str
    default: []
  clusters:
    description:
      - The cluster of each server that is in one, as in RV(pgops.tls.clusters#module:clusters).
      - It is a column of the page, a key of each server in C(report.json), and the label C(cluster) of its metrics.
    type: dict
    default: {}
  replication:
    description: What the inventory says of replication, as in RV(pgops.tls.replication_upstreams#module:replication).
    type: dict
    default: {}
  pooler_authorities:
    description:
      - The client authority that each pooler trusts. PgBouncer accepts the revoked certificates of this authority
        until they expire.
    type: dict
    default: {}
  logins:
    description:
      - Results of M(pgops.tls.session_info) with O(pgops.tls.session_info#module:login_host), for servers that this
        collection does not manage, by the names that they have in the report.
    type: dict
    default: {}
  connections:
    description:
      - Who connects to which servers and poolers, as in RV(pgops.tls.fleet_connections#module:connections).
      - The page draws them, with what servers have seen of each.
    type: list
    elements: dict
    default: []
  waiting:
    description:
      - Hosts that the replacement of a root waits for, as in RV(pgops.tls.rollover_step#module:waiting).
    type: list
    elements: str
    default: []
seealso:
  - module: pgops.tls.client_kit
  - module: pgops.tls.clusters
  - module: pgops.tls.fleet_connections
  - module: pgops.tls.replication_upstreams
  - module: pgops.tls.run_summary
  - module: pgops.tls.session_info
  - module: pgops.tls.pgbouncer
  - module: pgops.tls.client
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Report on one server
  pgops.tls.fleet_report:
    directory: "{{ inventory_dir }}/postgres-report"
    servers: "{{ {inventory_hostname: found} }}"
    clients: {}
  delegate_to: localhost
  vars:
    found: {msg: "no route to host", unreachable: true}
"""

RETURN = r"""
summary:
  description: The most important facts of the report, in a few lines.
  returned: success
  type: list
  elements: str
  sample:
    - "2 certificates, 0 due to be renewed, next to end: db1 in 89 days"
    - "db1: plaintext: none seen in 14 looks since 2026-11-07T02:05:00Z; sessions on old certificates: 0"
files:
  description: The files that were written.
  returned: success
  type: list
  elements: str
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: duration_invalid
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, writing


def _result(kit: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a kit in the form in which hosts answer."""
    if "msg" not in kit:
        return {"certificate": kit}
    return {"msg": kit["msg"]} if kit["msg"] else {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "servers": {"type": "dict", "required": True},
            "clients": {"type": "dict", "required": True},
            "authorities": {"type": "dict", "default": {}},
            "authority_changes": {"type": "list", "elements": "str", "default": []},
            "clusters": {"type": "dict", "default": {}},
            "connections": {"type": "list", "elements": "dict", "default": []},
            "waiting": {"type": "list", "elements": "str", "default": []},
            "poolers": {"type": "dict", "default": {}},
            "kits": {"type": "list", "elements": "dict", "default": []},
            "replication": {"type": "dict", "default": {}},
            "pooler_authorities": {"type": "dict", "default": {}},
            "logins": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    kits = {str(one.get("name")): _result(one) for one in module.params["kits"]}
    options = {**module.params, "kits": kits}
    learned = facts.Learned(**{name: options[name] for name in facts.Learned._fields})
    try:
        data = writing.write(options["directory"], learned, int(time.time()), is_dry=module.check_mode)
    except TlsError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        message = f"{error.filename or options['directory']}: {error.strerror}. Nothing was reported."
        module.fail_json(msg=message, code="report_unwritten")
    written = [os.path.join(options["directory"], name) for name in writing.NAMES]
    module.exit_json(changed=True, summary=facts.summary(data), files=written)


if __name__ == "__main__":
    main()
