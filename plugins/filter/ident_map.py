# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that writes a line of pg_ident.conf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ident_map
short_description: Write a mapping as a line of pg_ident.conf
version_added: 1.0.0
description: Quotes what needs quotes and refuses incomplete mappings.
positional: option
options:
  _input:
    description: 'A dictionary with map, system_user and database_user.'
    type: dict
    required: true
  option:
    description: What the value is called in an error, such as the variable and its index.
    type: str
    default: "mapping"
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show a mapping
  ansible.builtin.debug:
    msg: "{{ {'map': 'people', 'system_user': 'alice.a', 'database_user': 'alice'} | pgops.tls.ident_map }}"
"""

RETURN = r"""
_value:
  description: The line.
  type: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.postgres import rule_text
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"ident_map": explained(rule_text.ident_line)}
