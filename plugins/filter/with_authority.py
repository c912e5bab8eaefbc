# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that gives the identities of a client host the authorities that their certificates come from."""

from __future__ import annotations

DOCUMENTATION = r"""
name: with_authority
short_description: Give identities the client authorities that their certificates come from
version_added: 0.1.0
description:
  - An identity gets its certificate from the client authority that its servers trust.
  - Fails for an identity whose servers trust different authorities.
positional: trust, groups
options:
  _input:
    description: The identities, as O(pgops.tls.postgres_client#role:main:postgres_client_identities) has them.
    type: list
    elements: dict
    required: true
  trust:
    description: The result of M(pgops.tls.client_authorities).
    type: dict
    required: true
  groups:
    description: The groups of the inventory.
    type: dict
    required: true
seealso:
  - module: pgops.tls.client_authorities
  - module: pgops.tls.client
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Learn which client authority each server trusts
  run_once: true
  pgops.tls.client_authorities:
  register: trust

- name: Show which authority most identities of this host have their certificates from
  ansible.builtin.debug:
    msg: "{{ (postgres_client_identities | pgops.tls.with_authority(trust, groups)).authority }}"
"""

RETURN = r"""
_value:
  description: The identities, and their authority.
  type: dict
  contains:
    authority:
      description: The name of the authority of the identities that name none.
      type: str
      sample: client
    identities:
      description: The identities. Those of another authority have its name in C(authority).
      type: list
      elements: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils import filters
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust


def as_data(identities: Sequence[Mapping[str, Any]], trust: Mapping[str, Any], groups: Any) -> dict[str, Any]:
    """Return the identities of a host, and their usual authority, as templates can use it."""
    return Trust(trust["usual"], trust["exceptions"], groups).own(identities)._asdict()


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"with_authority": filters.explained(as_data)}
