# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a REST API is consistent, if nobody knows what an interrupted run changed."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.patroni import settings, told
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import Target


def half(target: Target, found: Found, *, is_there: bool) -> list[str]:
    """Return what is inconsistent, in words. ``is_there``: a generation is in use.

    A consistent REST API shows the certificate that its file holds, and Patroni could load its files again.
    """
    faults = [f"{section}: {fault}" for section, fault in found.settings.faults.items() if fault]
    named = {section: found.settings.sections[section].get("certfile") for section in (settings.RESTAPI, settings.CTL)}
    ours = [section for section, path in named.items() if path == target.values[section]["certfile"]]
    if len(ours) == 1 or (ours and not is_there):
        faults.append(f"{found.config} names files of this collection in {', '.join(ours)} alone, or they are missing")
    leaf = told.leaf_at(named[settings.RESTAPI] or "")
    if found.answer is None:
        faults.append("the REST API gives no answer")
    elif found.answer.fingerprint != (leaf.sha256 if leaf else ""):
        faults.append("the REST API shows another certificate than its file")
    return faults
