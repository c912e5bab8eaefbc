# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action patroni_batches."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_batches
short_description: Say which members of Patroni clusters have something to change
version_added: 1.0.0
description:
  - It decides from what M(pgops.tls.server) has returned in RV(pgops.tls.server#module:patroni) in the same run. No
    host is asked.
  - It runs on the controller, and the result is the same for all hosts. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.patroni
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which members have something to change
  run_once: true
  pgops.tls.patroni_batches:
  register: found

- name: Change one member of each cluster after the other
  ansible.builtin.include_role:
    name: pgops.tls.postgres_server
    tasks_from: patroni
  loop: "{{ found.batches }}"
  loop_control: {loop_var: postgres_server_patroni_batch}
  when: inventory_hostname in postgres_server_patroni_batch.members
"""

RETURN = r"""
batches:
  description:
    - Hosts that may change at the same time, at most one of each cluster. The leader comes last.
    - Hosts with the same RV(pgops.tls.server#module:system_identifier) are one cluster.
  returned: success
  type: list
  elements: dict
  contains:
    members:
      description: The hosts.
      type: list
      elements: str
    after:
      description:
        - For each of them, the hosts of its cluster that must not have failed before.
        - A member that would refuse any change stops those that get their first files, but no renewal.
      type: dict
    ends_trust:
      description: Those for which O(pgops.tls.patroni#module:ends_former_trust) is true.
      type: list
      elements: str
  sample:
    - {members: [pg2], after: {pg2: []}, ends_trust: []}
    - {members: [pg1], after: {pg1: [pg2]}, ends_trust: []}
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: name_missing
"""
