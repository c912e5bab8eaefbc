# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says which phase of a replacement of roots comes next."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_step
short_description: Say which phase of a replacement of roots comes next
version_added: 0.1.0
description:
  - It looks at nothing but the authorities as they are, so a run that was stopped anywhere is gone on with.
  - An authority that is done is one in phase V(steady) whose root took the place of another one within the last day, or
    since the day before the root that another authority is just getting.
positional: phase, rotate
options:
  _input:
    description: RV(pgops.tls.certificate_authority#module:authorities)
    type: dict
    required: true
  phase:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_phase)
    type: str
    required: true
  rotate:
    description: O(pgops.tls.postgres_ca#role:rotate:postgres_ca_rotate)
    type: list
    elements: str
    required: true
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show where the authorities are
  ansible.builtin.debug:
    msg: "{{ (postgres_ca_authorities | pgops.tls.rotation_step('', ['server', 'client'])).message }}"
"""

RETURN = r"""
_value:
  description: The step.
  type: dict
  contains:
    phase:
      description: V(stage), V(switch), V(retire) or V(finish); empty if there is none to go through.
      type: str
    authorities:
      description: The authorities that it is for.
      type: list
      elements: str
    message:
      description: Where the authorities are, and how to continue.
      type: list
      elements: str
"""

import time
from typing import Any, Callable

from ansible_collections.pgops.tls.plugins.plugin_utils import rotation
from ansible_collections.pgops.tls.plugins.plugin_utils.filters import explained


@explained
def step(authorities: Any, phase: str, rotate: Any) -> dict[str, Any]:
    """Return the next step as templates can use it."""
    return rotation.next_step(authorities, phase, rotate, int(time.time()))._asdict()


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"rotation_step": step}
