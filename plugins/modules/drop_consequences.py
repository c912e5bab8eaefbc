# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of action drop_consequences."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drop_consequences
short_description: Fail and say what breaks when a root is dropped
version_added: 1.0.0
description:
  - The message has a line for each certificate that nobody would accept any more. Those whose holders are not in the
    inventory come first, since no run can give them other ones.
  - It runs on the controller. Set C(run_once) for it.
extends_documentation_fragment:
  - pgops.tls.attributes
  - pgops.tls.attributes.info
options:
  refused:
    description: The result of M(pgops.tls.certificate_authority), which refused to drop a root.
    type: dict
    required: true
author:
  - The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Say what would break
  run_once: true
  pgops.tls.drop_consequences:
    refused: "{{ ansible_failed_result }}"
"""

RETURN = r"""
code:
  description: A word for the kind of failure, for programs.
  returned: failure
  type: str
  sample: certificates_would_be_refused
"""
