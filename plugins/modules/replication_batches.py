# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action replication_batches."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_batches
short_description: Say which standbys and subscribers must connect again
version_added: 1.0.0
description:
  - It decides from what M(pgops.tls.server) and M(pgops.tls.client) have returned in the same run. No host is asked.
  - A host is due if it has O(pgops.tls.postgres_server#role:main:postgres_server_replication_role), and if a connection
    has other parameters or began before its certificate was replaced. It is also due if its client identities changed
    in this run.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.replication
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn who must connect again
  run_once: true
  pgops.tls.replication_batches:
  register: found

- name: Connect again
  ansible.builtin.include_role:
    name: pgops.tls.postgres_server
    tasks_from: replication
  loop: "{{ found.batches }}"
  loop_control: {loop_var: postgres_server_replication_batch}
"""

RETURN = r"""
batches:
  description:
    - Hosts that may connect at the same time, at most one of each cluster. Synchronous standbys come last.
    - Hosts with the same RV(pgops.tls.server#module:system_identifier) are one cluster.
  returned: success
  type: list
  elements: dict
  contains:
    replicas:
      description: The hosts that connect again.
      type: list
      elements: str
    upstreams:
      description: For each of them and each of its connections, the servers of the run that the connection leads to.
      type: dict
    assumed:
      description:
        - For each of them, the connections whose host and port are no name of a server. They may lead elsewhere.
      type: dict
    asked:
      description: All of these servers.
      type: list
      elements: str
    after:
      description: For each of them, the hosts of its cluster that come before it.
      type: dict
  sample:
    - {replicas: [db2], upstreams: {db2: {standby: [db1]}}, assumed: {db2: []}, asked: [db1], after: {db2: []}}
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: name_missing
"""
