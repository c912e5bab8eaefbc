# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that collects the serial numbers of the certificates that clients have."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_serials
short_description: Collect the serial numbers of the certificates that clients have
version_added: 0.1.0
description:
  - For O(pgops.tls.session_info#module:client_serials), after P(pgops.tls.postgres_client#role) has run on the client
    hosts in the same run.
  - A role is left out if one of the client hosts that have it in
    O(pgops.tls.postgres_client#role:main:postgres_client_identities) has not reported which certificate it has.
positional: clients
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  clients:
    description: The names of the client hosts.
    type: list
    elements: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Look who is connected by an old certificate
  pgops.tls.session_info:
    client_serials: "{{ hostvars | pgops.tls.client_serials(groups['postgres_clients']) }}"
  become: true
  register: found
"""

RETURN = r"""
_value:
  description: The serial numbers in hexadecimal, a list for each role.
  type: dict
  sample: {app: [4f2a71c3, 5ac6f1d9]}
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import serials


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"client_serials": serials.client_serials}
