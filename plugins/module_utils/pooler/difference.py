# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call changes, as texts before and after for ``--diff``, without keys and without lines of others."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome
from ansible_collections.pgops.tls.plugins.module_utils.deployment.outcome import entries
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import CONF
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Outcome


def of(outcome: Outcome) -> list[dict[str, str]]:
    """Return the differences in the form that Ansible prints: one entry for each thing that changes."""
    plan, found, target = outcome.plan, outcome.found, outcome.target
    changed = pair_outcome.described(outcome)
    conf = found.generation.get(CONF, b"").decode("utf-8", "replace")
    coming = target.conf(found.kept.current or "").decode()  # the number of the generation is no difference to be shown
    changed.append((CONF, conf, coming if plan.contents is not None else conf))
    after_text = found.text if plan.text is None else plan.text
    changed.append((target.config_file, ini.includes(found.text), ini.includes(after_text)))
    return entries(changed)
