# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the kits of an inventory what module client_kit takes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: module_kits
short_description: Make the kits of an inventory what module client_kit takes
version_added: 1.0.0
description:
  - A kit gets the client authority that its servers trust, and the places where its servers are reached by names that
    are for every host.
  - Fails for a kit whose servers trust different authorities, and for one without such a server.
positional: servers, groups
options:
  _input:
    description: The kits, as O(pgops.tls.postgres_ca#role:main:postgres_ca_kits) has them.
    type: list
    elements: dict
    required: true
  servers:
    description: The result of M(pgops.tls.known_servers).
    type: dict
    required: true
  groups:
    description: The groups of the inventory.
    type: dict
    required: true
seealso:
  - module: pgops.tls.known_servers
  - module: pgops.tls.client_kit
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn what there is to know of the servers
  run_once: true
  pgops.tls.known_servers:
  register: servers

- name: Show where the servers of kits are reached
  run_once: true
  ansible.builtin.debug:
    msg: "{{ postgres_ca_kits | pgops.tls.module_kits(servers, groups) | map(attribute='endpoints') }}"
"""

RETURN = r"""
_value:
  description: The kits, for option C(kits) of M(pgops.tls.client_kit).
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import filters, kits


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"module_kits": filters.explained(kits.as_module)}
