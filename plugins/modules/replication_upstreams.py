# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action replication_upstreams."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_upstreams
short_description: Say which servers standbys and subscribers replicate from
version_added: 1.0.0
description:
  - It looks up the hosts and ports of connections, as M(pgops.tls.session_info) has returned them in the same run, in
    the names of the servers of the inventory. No host is asked.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.session_info
  - module: pgops.tls.fleet_report
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Ask the servers
  ansible.builtin.import_role:
    name: pgops.tls.postgres_server
    tasks_from: sessions

- name: Learn from which servers the others replicate
  run_once: true
  pgops.tls.replication_upstreams:
  register: found
"""

RETURN = r"""
replication:
  description:
    - By host and connection (RV(pgops.tls.session_info#module:replication)), the servers that it leads to and that
      answered, and whether O(pgops.tls.postgres_server#role:main:postgres_server_replication_role) is set.
    - A standby whose host and port are no name of a server leads to a server of its cluster whose wildcard covers the
      host, or to the primary.
  returned: success
  type: dict
  sample: {db2: {standby: {upstreams: [db1], is_managed: true}}}
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: name_missing
"""
