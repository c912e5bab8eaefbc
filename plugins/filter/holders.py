# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says whose certificates a run has seen in use."""

from __future__ import annotations

DOCUMENTATION = r"""
name: holders
short_description: Say whose certificates a run has seen in use
version_added: 0.1.0
description:
  - For the option O(pgops.tls.certificate_authority#module:holders) of M(pgops.tls.certificate_authority). It reads
    what the roles P(pgops.tls.postgres_server#role) and P(pgops.tls.postgres_client#role) have learnt in the same run.
positional: groups
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show whose certificates are in use
  ansible.builtin.debug:
    msg: "{{ hostvars | pgops.tls.holders(groups) }}"
"""

RETURN = r"""
_value:
  description: By authority, C(server) and C(client), a dictionary with C(id) and C(serial) for each certificate.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import rotation


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"holders": rotation.holders}
