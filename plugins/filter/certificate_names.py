# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that gives the names of a server as its certificate has them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_names
short_description: Take the names for a certificate from those that are declared for a server
version_added: 1.0.0
description:
  - An element of O(pgops.tls.postgres_server#role:main:postgres_server_names) is a text, or a dictionary that also says
    who reaches the server by that name. The certificate contains all of them.
options:
  _input:
    description: The declared names.
    type: list
    elements: raw
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show the names in the certificate of this server
  ansible.builtin.debug:
    msg: "{{ (postgres_server_names + postgres_server_extra_names) | pgops.tls.certificate_names }}"
"""

RETURN = r"""
_value:
  description: The names alone, for option C(names) of M(pgops.tls.server).
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import server_names
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"certificate_names": explained(server_names.texts)}
