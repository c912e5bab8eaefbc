# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that lists where the hosts of a fleet keep what this collection has given them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tls_directories
short_description: List the TLS directories of a fleet
version_added: 0.1.0
description:
  - Lists the hosts in C(postgres_servers) and C(postgres_clients) with the directories in which this collection keeps
    their TLS files. A home that the inventory does not name is written as C(~OS_USER).
positional: groups
options:
  _input:
    description: The variables of all hosts of the inventory, C(hostvars).
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show where the keys of this host are
  ansible.builtin.debug:
    msg: "{{ hostvars | pgops.tls.tls_directories(groups) | selectattr(0, 'eq', inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Lists of two, the name of a host and a directory.
  type: list
  elements: list
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import traces


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"tls_directories": traces.tls_directories}
