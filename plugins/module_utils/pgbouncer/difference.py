# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call changes, as texts before and after for ``--diff``, without keys and without lines of others."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import CONF
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.transaction import Outcome
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def of(outcome: Outcome) -> list[dict[str, str]]:
    """Return the differences in the form that Ansible prints: one entry for each thing that changes."""
    plan, found, target = outcome.plan, outcome.found, outcome.target
    entries = []
    for one in target.credentials:
        before = _described(outcome.before.get(one.name))
        after = _described(outcome.after.get(one.name))
        if one.name in outcome.requests:
            after = f"to be issued, because: {', '.join(plan.reasons[one.name])}\n"
        entries.append((one.certificate, before, after))
    conf = found.generation.get(CONF, b"").decode("utf-8", "replace")
    coming = target.conf(found.current or "").decode()  # the number of the generation is no difference to be shown
    entries.append((CONF, conf, coming if plan.contents is not None else conf))
    after_text = found.text if plan.text is None else plan.text
    entries.append((target.config_file, ini.includes(found.text), ini.includes(after_text)))
    return [
        {"before_header": name, "after_header": name, "before": before, "after": after}
        for name, before, after in entries
        if before != after
    ]


def _described(leaf: Certificate | None) -> str:
    if leaf is None:
        return ""
    names = ", ".join([*([leaf.common_name] if leaf.common_name else []), *(name.value for name in leaf.names)])
    return (
        f"names: {names}\nkey: {leaf.key_type}\nserial: {leaf.serial:x}\nnot after: {clock.instant(leaf.not_after)}\n"
    )
