# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that writes a line of pg_hba.conf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hba_rule
short_description: Write a rule as a line of pg_hba.conf
version_added: 1.0.0
description: Quotes what needs quotes and refuses rules that no server takes.
positional: option
options:
  _input:
    description:
      - A dictionary with user and method, perhaps type (default hostssl), database and address (default all).
      - Its other keys are options of the method, by their PostgreSQL names.
    type: dict
    required: true
  option:
    description: What the value is called in an error, such as the variable and its index.
    type: str
    default: "rule"
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show a rule
  ansible.builtin.debug:
    msg: "{{ {'database': 'app', 'user': 'app', 'method': 'cert'} | pgops.tls.hba_rule }}"
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
        return {"hba_rule": explained(rule_text.rule_line)}
