# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says which hosts failed in the playbook of this collection."""

from __future__ import annotations

DOCUMENTATION = r"""
name: failures
short_description: Say which hosts failed in the run of the playbook
version_added: 1.0.0
description:
  - The playbook C(pgops.tls.site) continues after a failure with whatever does not depend on it, also for the host that
    failed. This says which hosts failed until now, and why. A host that could not be reached counts, too.
positional: hosts
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts to look at.
    type: list
    elements: str
    required: true
seealso:
  - module: pgops.tls.run_summary
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Leave out the hosts that failed before
  ansible.builtin.meta: end_host
  when: hostvars | pgops.tls.failures([inventory_hostname]) | length > 0
"""

RETURN = r"""
_value:
  description: The failures, in the order of the hosts; none when all went well.
  type: list
  elements: dict
  contains:
    host:
      description: The name of the host.
      type: str
    step:
      description: V(server), V(pooler), V(client) or V(verification).
      type: str
    message:
      description: What happened, and what to do, in one line.
      type: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import failures


def as_data(hostvars: Any, hosts: list[str]) -> list[dict[str, str]]:
    """Return what failed on the hosts as templates can use it."""
    return [failure._asdict() for failure in failures.failures(hostvars, hosts)]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"failures": as_data}
