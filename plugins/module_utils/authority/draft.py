# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to authorities, decided and not yet written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority import planning, rollover, seen
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import company_request, crl, revocation


class Draft(NamedTuple):
    """What is to be done, decided on what was read; nothing is written yet.

    ``found`` are the authorities that exist, ``made`` those that were missing, in memory. ``lost`` is what hosts
    show and the ledger lacks; ``loose`` are paths of keys that others can read. ``asked`` are the companies that sign
    issuing CAs, by the names of authorities.
    """

    found: dict[str, Lineage]
    made: dict[str, Lineage]
    lost: seen.Lost
    loose: list[str]
    plan: planning.Plan
    revoked: revocation.Revoked | None
    lists: crl.Lists | None
    asked: Mapping[str, company_request.Asked]

    @property
    def changes(self) -> list[str]:
        """Return what is to be done, in words."""
        return [
            *(f"make the {one.name} CA: {rollover.in_words(one.current)}" for one in self.made.values()),
            *(f"make {path} readable for its owner only (mode 0600)" for path in self.loose),
            *(step.change for step in self.plan.steps),
            *(change for ask in self.plan.asks for change in ask.changes),
            *self.lost.changes,
            *(self.revoked.changes if self.revoked else []),
            *(self.lists.changes if self.lists else []),
        ]

    @property
    def warnings(self) -> list[str]:
        """Return what users may not expect, in words."""
        return [
            *self.plan.warnings,
            *self.lost.warnings,
            *(self.revoked.warnings if self.revoked else []),
            *(self.lists.warnings if self.lists else []),
        ]
