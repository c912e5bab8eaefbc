# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says which certificates are in use that the ledger does not hold."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unrecorded
short_description: Say which certificates are in use that the ledger does not hold
version_added: 0.1.0
description:
  - For the option O(pgops.tls.certificate_authority#module:shown) of M(pgops.tls.certificate_authority). It reads what
    the roles P(pgops.tls.postgres_server#role) and P(pgops.tls.postgres_client#role) have learnt in the same run.
  - The ledger lacks what was issued after the backup that it was restored from.
positional: groups, issued
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  groups:
    description: The groups of the inventory with the names of their hosts.
    type: dict
    required: true
  issued:
    description: RV(pgops.tls.certificate_authority#module:issued) as the run began. Without it nothing is known.
    type: dict
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Stop where a certificate is in use that the ledger does not hold
  ansible.builtin.assert:
    that: hostvars | pgops.tls.unrecorded(groups, ca.issued) | length == 0
"""

RETURN = r"""
_value:
  description: By authority, a dictionary with C(id) and C(certificate) (PEM) for each; empty when there are none.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import serials


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"unrecorded": serials.unrecorded}
