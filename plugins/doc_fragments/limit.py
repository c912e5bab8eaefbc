# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the actions that verify a fleet learn what a run is for."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by actions expected_connections and verification_summary."""

    DOCUMENTATION = r"""
options:
  hosts:
    description:
      - The hosts of the run, if C(--limit) leaves some out.
      - Servers outside the run are not tried, unless the run contains no server.
    type: list
    elements: str
    default: []
"""
