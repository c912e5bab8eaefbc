# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that writes a value of postgresql.conf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: setting
short_description: Write a value as postgresql.conf wants it
version_added: 1.0.0
description: Booleans become V(on) and V(off), anything else is quoted.
options:
  _input:
    description: The value.
    type: raw
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show a setting
  ansible.builtin.debug:
    msg: "ssl_min_protocol_version = {{ 'TLSv1.3' | pgops.tls.setting }}"
"""

RETURN = r"""
_value:
  description: The value's text, quotes included.
  type: str
"""

from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.plugin_utils import option_names
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


def _written(value: Any) -> str:
    with option_names.named("postgres_server"):
        return settings.written(value)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"setting": explained(_written)}
