# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that checks the variables of role postgres_server on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: server_problems
short_description: Say what is wrong with the variables of a server
version_added: 0.1.0
description:
  - Checks what can be checked without a look at the host, so that a mistake is found before anything changes anywhere.
options:
  _input:
    description:
      - The variables of role P(pgops.tls.postgres_server#role) by their names.
      - With C(postgres_ca_certificate_lifetime) of role P(pgops.tls.postgres_ca#role) among them,
        C(postgres_server_renew_before) has to be shorter than that.
    type: dict
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Check the input
  ansible.builtin.include_role:
    name: pgops.tls.postgres_server
    tasks_from: check # uses the filter
"""

RETURN = r"""
_value:
  description: A sentence for each problem; none when everything is right.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import problems


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"server_problems": problems.of_server}
