# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps authorities that are missing from being made."""

from __future__ import annotations

import os
from typing import Collection, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option


def refuse_to_replace_what_is_lost(
    directory: str, missing: Sequence[str], found: Collection[str], awaited: Collection[str]
) -> None:
    """Raise TlsError for an authority that is missing, where certificates were issued.

    A client authority may be new beside those that were ``found``, as long as the ledger holds no certificate of it. So
    may any authority whose certificates came from a source before, and those ``awaited`` from a company.
    """
    if not missing or not ledger.exists(directory):
        return
    has_clients = bool(set(found) - {profiles.SERVER})
    lost = []
    if not ledger.knows_sources(directory):
        lost = [name for name in missing if name not in awaited and (not has_clients or name == profiles.SERVER)]
    lost += [name for name in missing if name not in lost and ledger.has_issued(directory, name)]
    if lost:
        raise TlsError(
            f"{os.path.join(directory, lost[0])}: the {lost[0]} CA is missing, although "
            f"{os.path.join(directory, ledger.FILE)} says that this directory has issued certificates.",
            remedy=(
                "Nobody would trust a new one in its place: restore the directory from its backup, or name another one "
                "for new authorities."
            ),
            code="authority_lost",
        )


def refuse_to_create(directory: str, missing: Sequence[str]) -> None:
    """Raise TlsError for authorities that are missing, where a caller wants none made."""
    if missing:
        raise TlsError(
            f"{directory}: expected the authorities of this fleet, but found no {' CA and no '.join(missing)} CA. "
            "Nothing was changed.",
            remedy=(
                f"Set {option('directory')} to where they are, on the host that has them, or restore the directory "
                "from its backup."
            ),
            code="authority_missing",
            missing=list(missing),
        )
