# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call changes, as texts before and after for ``--diff``, without keys and without lines of others."""

from __future__ import annotations

import difflib

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome
from ansible_collections.pgops.tls.plugins.module_utils.deployment.outcome import entries
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Outcome


def of(outcome: Outcome) -> list[dict[str, str]]:
    """Return the differences in the form that Ansible prints: one entry for each thing that changes."""
    plan, found = outcome.plan, outcome.found
    changed = pair_outcome.described(outcome)
    if plan.text is not None:
        rows = list(difflib.ndiff(found.text.splitlines(keepends=True), plan.text.splitlines(keepends=True)))
        gone, new = ("".join(row[2:] for row in rows if row.startswith(sign)) for sign in ("- ", "+ "))
        changed.append((found.config, gone, new))
    return entries(changed)
