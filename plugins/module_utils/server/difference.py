# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan changes, as texts before and after for ``--diff``, without keys and passwords."""

from __future__ import annotations

import contextlib

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, redaction
from ansible_collections.pgops.tls.plugins.module_utils.server.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_pem


def described(leaf: Certificate | None) -> str:
    """Return a certificate in a few lines; '' for none."""
    if leaf is None:
        return ""
    names = ", ".join(name.value for name in leaf.names)
    end = clock.instant(leaf.not_after)
    return f"names: {names}\nkey: {leaf.key_type}\nserial: {leaf.serial:x}\nnot after: {end}\n"


def of_plan(plan: Plan, target: Target, before: Certificate | None, ssl_conf_before: str) -> list[dict[str, str]]:
    """Return the differences of a plan in the form that Ansible prints: one entry for each thing that changes."""
    found = [
        _entry(rewrite.name, redaction.masked(_shown(rewrite.before)), redaction.masked(_shown(rewrite.after)))
        for rewrite in plan.rules
    ]
    if plan.config:  # the rest of that file is not ours, and may hold passwords
        found.insert(0, _entry(plan.config.name, *map(configuration.includes, (plan.config.before, plan.config.after))))
    if plan.reasons or (plan.left and described(before) != _coming(plan, target)):
        found.insert(0, _entry("server.crt", described(before), _coming(plan, target)))
    if target.ssl_conf != ssl_conf_before:
        found.append(_entry("ssl.conf", ssl_conf_before, target.ssl_conf))
    return found


def _coming(plan: Plan, target: Target) -> str:
    """Return the received certificate in a few lines; if there is none, what is requested, and why."""
    with contextlib.suppress(TlsError):  # in check mode it was not checked yet
        return described(read_pem(target.certificate or "", "certificate")[0])
    names = ", ".join(name.value for name in target.names)
    return f"names: {names}\nkey: {target.key_type}\nto be issued, because: {', '.join(plan.reasons)}\n"


def _shown(text: str) -> str:
    """Return a text with a replacement character for each byte that is not UTF-8: results are JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _entry(name: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name, "before": before, "after": after}
