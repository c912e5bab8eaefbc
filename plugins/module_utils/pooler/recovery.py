# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a PgBouncer is consistent, if nobody knows what an interrupted run changed."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.settings import not_in_force
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import Target


def half(target: Target, found: Found, lines: Sequence[ini.Line]) -> list[str]:
    """Return what is inconsistent, in words. ``lines`` are those that PgBouncer would load.

    A consistent PgBouncer shows the certificate on disk, uses the settings there, and would start with its files.
    """
    broken = ini.broken(lines, found.config, found.version)
    ours = {name: one.value for name, one in ini.settings(lines).items() if one.file == target.included}
    chain = target.pair.server.chain(found.generation)
    faults = [broken] if broken else []
    if not found.generation and not ours:
        return faults  # nothing of ours is in use
    if not chain or chain[0].sha256 != found.served:
        faults.append("PgBouncer shows another certificate than the one on disk")
    if not ours:
        faults.append(f"{target.config_file} does not include {target.included}")
    return [*faults, *not_in_force(ours, found.config), *filter(None, found.kept.unfit.values())]
