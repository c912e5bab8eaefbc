# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action session_table."""

from __future__ import annotations

DOCUMENTATION = r"""
module: session_table
short_description: Show the sessions that continue with certificates which were replaced
version_added: 0.1.0
description:
  - Shows one aligned line for each session of RV(pgops.tls.session_info#module:sessions) with a finding other than
    V(plaintext), one for each server that could not be asked, and a last one that counts.
  - It runs on the controller, and reads what the entry point C(sessions) of P(pgops.tls.postgres_server#role) has left.
    Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
seealso:
  - module: pgops.tls.session_info
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show who still uses an old certificate
  run_once: true
  pgops.tls.session_table:
"""

RETURN = r"""
msg:
  description: The lines.
  returned: success
  type: list
  elements: str
"""
