# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says what breaks when a root is dropped."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drop_consequences
short_description: Say what breaks when a root is dropped
version_added: 0.1.0
description:
  - One line for each certificate that nobody would accept any more. Those whose holders are not in the inventory come
    first, since no run is going to give them other ones.
positional: hostvars, groups
options:
  _input:
    description: What M(pgops.tls.certificate_authority) said when it refused to drop a root.
    type: dict
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show what would break
  ansible.builtin.debug:
    msg: "{{ refused | pgops.tls.drop_consequences(hostvars, groups) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import rotation


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"drop_consequences": rotation.consequences}
