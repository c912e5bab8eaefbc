# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that writes the results of module connection_info as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verification_table
short_description: Write the results of module connection_info as a table
version_added: 0.1.0
description: One aligned line for each connection, and a last one that counts them.
positional: show, notes
options:
  _input:
    description: The results of M(pgops.tls.connection_info) by client host. A result without checks is shown as such.
    type: dict
    required: true
  show:
    description: V(all) shows every connection, V(problems) those that are not as expected or were skipped.
    type: str
    choices: [all, problems]
    default: all
  notes:
    description: Lines below the table, such as those of P(pgops.tls.verification_gaps#filter).
    type: list
    elements: str
    default: []
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show what was verified from this host
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: verified} | pgops.tls.verification_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.verification import report
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"verification_table": explained(report.table)}
