# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a generation that identities have left behind, and that the next one does not have."""

from __future__ import annotations

import os
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.home import TRUST, TRUSTSTORE, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity


def in_words(identities: Sequence[Identity], found: HomeFiles) -> list[str]:
    """Return which identities have files that go, in words."""
    user, declared = identities[0].os_user, {one.name: one for one in identities}
    held: dict[str, set[str]] = {}
    for path in found.contents:
        held.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
    changes = []
    for name in sorted(held.keys() - {"", *found.kept}):
        one, pair = declared.get(name), held[name] - {TRUST, TRUSTSTORE}
        if pair and not (one and one.has_certificate):
            why = "logs in by password" if one else "no longer declared"
            changes.append(f"{user}/{name}: {why}, its key and certificate are removed")
        elif not pair and not (one and one.is_managed):
            changes.append(f"{user}/{name}: has no endpoints any more, its {TRUST} is removed")
    return changes
