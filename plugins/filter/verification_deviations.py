# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says what the results of module connection_info have wrong."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verification_deviations
short_description: Say what the results of module connection_info have wrong
version_added: 0.1.0
description:
  - A sentence for each cause of connections that were not as expected, with client host, server, name, what was
    expected, what happened and what to look at. A host that could not verify anything has a sentence too.
positional: behind, servers
options:
  _input:
    description: The results of M(pgops.tls.connection_info) by client host.
    type: dict
    required: true
  behind:
    description: The names of servers whose own run failed before. What is wrong with them is known, and left out.
    type: list
    elements: str
    default: []
  servers:
    description:
      - The variables of the server hosts. If a client host does not know a name, the sentence says which of
        O(pgops.tls.postgres_server#role:main:postgres_server_names) and
        O(pgops.tls.postgres_server#role:main:postgres_server_extra_names) has it.
    type: list
    elements: dict
    default: []
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Fail if anything was not as expected
  ansible.builtin.assert:
    that: "({inventory_hostname: verified} | pgops.tls.verification_deviations) is falsy"
"""

RETURN = r"""
_value:
  description: The sentences; none when everything is as expected.
  type: list
  elements: str
"""

from typing import Any, Callable, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.verification import report
from ansible_collections.pgops.tls.plugins.plugin_utils import fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


def deviations(
    results: Mapping[str, Mapping[str, Any]], behind: Iterable[str] = (), servers: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """Return what is wrong with the results of client hosts, see ``report.deviations``."""
    return report.deviations(results, frozenset(behind), fleet.origins(servers))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"verification_deviations": explained(deviations)}
