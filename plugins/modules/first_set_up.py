# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action first_set_up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: first_set_up
short_description: Warn about defaults of servers that are set up for the first time
version_added: 1.0.0
description:
  - Looks for servers of the play that M(pgops.tls.server) found without a certificate. If the inventory does not set
    how they treat plaintext, their rules or their names, it warns what the defaults mean for clients.
  - It runs on the controller, after the first call of M(pgops.tls.server). Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.server
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Warn about defaults of servers that are set up for the first time
  run_once: true
  pgops.tls.first_set_up:
"""

RETURN = r"""
warnings:
  description: What the defaults mean, and the servers. Empty if no server is set up for the first time.
  returned: success
  type: list
  elements: str
"""
