# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that completes the certificate requests of a client host from the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_requests
short_description: Complete the certificate requests of a client host from the inventory
version_added: 0.1.0
description:
  - Roles come from the inventory, and ids get the host's name, so that no host can ask for what is not its own.
options:
  _input:
    description: The requests that M(pgops.tls.client) returned on the host.
    type: list
    elements: dict
    required: true
  identities:
    description: The identities that the inventory gives to the host.
    type: list
    elements: dict
    required: true
  host:
    description: The name of the host in the inventory.
    type: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show what would be signed for this host
  ansible.builtin.debug:
    msg: "{{ converged.requests | pgops.tls.client_requests(postgres_client_identities, inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Requests for M(pgops.tls.certificate).
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.client import fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"client_requests": explained(fleet.complete)}
