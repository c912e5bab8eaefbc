# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a PgBouncer: see ``deployment/roll_back.py``. Settings stay as declared."""

from __future__ import annotations

from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs, roll_back
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done
from ansible_collections.pgops.tls.plugins.module_utils.pooler import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import (
    BACK,
    CONF,
    FRONT,
    MODES,
    OF_BACK,
    ROOTS,
    TRUSTED,
)
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Outcome, Transaction


class RollBack(roll_back.RollBack[Plan, Found, Outcome], Transaction):
    """One PgBouncer that is rolled back. The declared names, role and authorities serve for the rehearsal."""

    stays = Plan({FRONT: (), BACK: ()}, None, None, (), changes_back=False, relies_on_log=False)

    def _plan_back(self, found: Found, in_use: str, name: str) -> Plan:
        contents = self._contents_of(name, [file for file in MODES if file != CONF])
        trusts = (TRUSTED, self.target.back), (ROOTS, self.target.front)
        pairs.refuse_lost(self.target.credentials, contents, trusts, self.now)
        differing = [file for file in contents if contents[file] != found.generation.get(file)]
        roll_back.refuse_same(differing, in_use)
        return self.stays._replace(
            contents=contents,
            changes=[f"{file}: changed" for file in differing],
            changes_back=any(file in differing for file in OF_BACK),
            relies_on_log=self._leaves(contents)[FRONT].sha256 == found.served,
        )

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:
        if plan.changes:
            super()._refuse(plan, found, check_mode=check_mode)

    def _outcome(self, plan: Plan, found: Found, done: Done) -> Outcome:
        after = self._leaves(plan.contents or found.generation)
        return super()._outcome(plan, found, done._replace(after=after))

    def _next(self, generation: Mapping[str, bytes], found: Found) -> list[str]:
        coming = found._replace(generation=generation, repairs=(), unfit={})
        changes = planning.make(self.target._replace(renew=False), coming, self.now).changes
        return [one for one in changes if not one.startswith((CONF, "reload"))]
