# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan changes, as texts before and after for ``--diff``, without keys and passwords."""

from __future__ import annotations

import contextlib

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.outcome import described, entries
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, redaction
from ansible_collections.pgops.tls.plugins.module_utils.server.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem


def of_plan(plan: Plan, target: Target, before: Certificate | None, ssl_conf_before: str) -> list[dict[str, str]]:
    """Return the differences of a plan in the form that Ansible prints: one entry for each thing that changes."""
    found = [
        (rewrite.name, redaction.masked(_shown(rewrite.before)), redaction.masked(_shown(rewrite.after)))
        for rewrite in plan.rules
    ]
    if plan.config:  # the rest of that file is not ours, and may hold passwords
        before_after = configuration.includes(plan.config.before), configuration.includes(plan.config.after)
        found.insert(0, (plan.config.name, *before_after))
    if plan.reasons or (plan.left and described(before) != _coming(plan, target)):
        found.insert(0, ("server.crt", described(before), _coming(plan, target)))
    if target.ssl_conf != ssl_conf_before:
        found.append(("ssl.conf", redaction.masked(_shown(ssl_conf_before)), target.ssl_conf))
    return entries(found)


def _coming(plan: Plan, target: Target) -> str:
    """Return the received certificate in a few lines; if there is none, what is requested, and why."""
    with contextlib.suppress(TlsError):  # in check mode it was not checked yet
        return described(read_pem(target.certificate or "", "certificate")[0])
    names = ", ".join(name.value for name in target.names)
    return f"names: {names}\nkey: {target.key_type}\nto be issued, because: {', '.join(plan.reasons)}\n"


def _shown(text: str) -> str:
    """Return a text with a replacement character for each byte that is not UTF-8: results are JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
