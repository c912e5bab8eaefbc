# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that writes the findings of module session_info as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: session_table
short_description: Write the sessions that something is to be said against as a table
version_added: 0.1.0
description:
  - One aligned line for each session of RV(pgops.tls.session_info#module:sessions) with one of the findings, one for
    each server that could not be asked, and a last one that counts.
positional: findings
options:
  _input:
    description: The results of M(pgops.tls.session_info) by server.
    type: dict
    required: true
  findings:
    description: Which findings to show. By default all but V(plaintext), for a look after a rotation.
    type: list
    elements: str
    choices: [plaintext, revoked_certificate, old_certificate, other_issuer, old_server_certificate]
    default: [revoked_certificate, old_certificate, other_issuer, old_server_certificate]
seealso:
  - module: pgops.tls.session_info
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show who still uses an old certificate
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: found} | pgops.tls.session_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.report import tables


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"session_table": tables.session_lines}
