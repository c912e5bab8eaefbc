# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action verification_summary."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verification_summary
short_description: Sum up what the client hosts of a run have verified
version_added: 1.0.0
description:
  - It runs on the controller, and reads the results of M(pgops.tls.connection_info) that
    P(pgops.tls.postgres_verify#role) has left on the hosts of the play. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
  - pgops.tls.limit
options:
  show:
    description: V(all) shows every connection, V(problems) those that are not as expected or were skipped.
    type: str
    choices: [all, problems]
    default: all
seealso:
  - module: pgops.tls.expected_connections
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Sum up what was verified
  run_once: true
  pgops.tls.verification_summary:
    show: problems
  register: verification

- name: Fail where anything was not as expected
  ansible.builtin.fail:
    msg: "{{ verification.faults[inventory_hostname] | join('\n') }}"
  when: inventory_hostname in verification.faults
"""

RETURN = r"""
lines:
  description:
    - A table with one line for each connection, and a line that counts them. A host without a result is named.
    - Lines below say why no connection is verified at all (no identity in the whole inventory, no servers, all
      skipped), and which hosts C(--limit) leaves out.
  returned: success
  type: list
  elements: str
faults:
  description:
    - What was not as expected, by client host. Hosts where everything was as expected are left out.
    - A sentence for each cause has client host, server, name, what was expected, what happened and what to look at. If
      the client host does not know a name, the sentence says which variable has it.
    - What is wrong with servers that failed earlier in the run is known, and left out. A host that could not verify
      anything has a sentence, too.
  returned: success
  type: dict
  sample:
    app1: ["Client app1, OS user www as role app to server db1 by name db1, port 5432: expected a connection; it ..."]
"""
