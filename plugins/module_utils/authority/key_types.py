# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an authority may have another type of keys than the one that is wished: its keys are for life."""

from __future__ import annotations

from typing import Collection

from ansible_collections.pgops.tls.plugins.module_utils.authority import lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def refuse_other(found: Lineage, wished: str, rotate: Collection[str]) -> None:
    """Raise TlsError for an authority that has another type of keys than is wished, and is not about to get it.

    ``rotate`` names those whose roots are being replaced. Below a company's root each issuing CA may have a type
    of its own.
    """
    if found.current.company is not None:
        return
    present = found.authority.issuing.key_type
    coming = found.staged.issuing.key_type if found.staged else None
    is_next = found.phase == lineage.STEADY and found.name in rotate
    is_coming = wished == coming if coming else is_next
    if present != wished and not is_coming:
        raise TlsError(
            f"key_type: {wished} was asked for, but the {found.name} CA in {found.current.folder} has {present} "
            f"keys{f', and {coming} keys staged' if coming else ''}.",
            remedy=(
                f"An authority keeps its keys for life: set key_type back to {coming or present}, or replace the "
                "authority, with ansible-playbook pgops.tls.rotate_ca. Nothing was changed."
            ),
            code="key_type_changed",
        )
