# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that lists the client authorities beside one of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: other_authorities
short_description: List the client authorities beside one of them
version_added: 1.0.0
description:
  - Makes the options O(pgops.tls.server#module:former_authorities) and O(pgops.tls.client#module:other_authorities)
    from RV(pgops.tls.certificate_authority#module:authorities). Without other authorities the list is empty.
positional: own, module
options:
  _input:
    description: The authorities by name.
    type: dict
    required: true
  own:
    description: The name of the client authority to leave out.
    type: str
    required: true
  module:
    description: The module that the list is for.
    type: str
    choices: [server, client]
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show which other client authorities there are
  ansible.builtin.debug:
    msg: "{{ postgres_ca_authorities | pgops.tls.other_authorities('client', 'server') | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description: The other client authorities.
  type: list
  elements: dict
"""

from typing import Any, Callable, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import client_authorities

_FORMS = {"server": client_authorities.as_former, "client": client_authorities.as_others}


def listed(authorities: Mapping[str, Any], own: str, module: str) -> list[dict[str, Any]]:
    """Return the client authorities beside ``own`` as a module takes them."""
    return _FORMS[module](authorities, own)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"other_authorities": listed}
