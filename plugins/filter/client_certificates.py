# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that picks the certificates of a client host from those of the fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_certificates
short_description: Pick the certificates of a client host from those of the fleet
version_added: 0.1.0
description:
  - The counterpart of P(pgops.tls.client_requests#filter).
options:
  _input:
    description: The certificates that M(pgops.tls.certificate) returned, by the ids of their requests.
    type: dict
    required: true
  host:
    description: The name of the host in the inventory.
    type: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show the certificates of this host
  ansible.builtin.debug:
    msg: "{{ signed.certificates | pgops.tls.client_certificates(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Certificates for the option O(pgops.tls.client#module:certificates) of M(pgops.tls.client).
  type: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.client import fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"client_certificates": explained(fleet.of_host)}
