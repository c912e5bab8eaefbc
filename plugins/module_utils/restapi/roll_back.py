# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a REST API: see ``deployment/roll_back.py``. The keys in patroni.yml stay."""

from __future__ import annotations

from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs, roll_back
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done
from ansible_collections.pgops.tls.plugins.module_utils.restapi import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import (
    API,
    API_CERTIFICATE,
    CTL,
    FORMER,
    MODES,
    ROOTS,
    TRUSTED,
)
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Outcome, Transaction


class RollBack(roll_back.RollBack[Plan, Found, Outcome], Transaction):
    """One REST API that is rolled back. The declared names and authorities serve for the rehearsal."""

    stays = Plan({API: (), CTL: ()}, None, None, (), reloads=False)

    def _plan_back(self, found: Found, in_use: str, name: str) -> Plan:
        contents = self._contents_of(name, [file for file in MODES if file != FORMER])
        trusts = (TRUSTED, self.target.ctl), (ROOTS, self.target.api)
        pairs.refuse_lost(self.target.credentials, contents, trusts, self.now)
        differing = [file for file in contents if contents[file] != found.generation.get(file)]
        roll_back.refuse_same(differing, in_use)
        return self.stays._replace(
            contents={**contents, FORMER: found.generation.get(FORMER, b"")},
            changes=[f"{file}: changed" for file in differing],
            reloads=API_CERTIFICATE in differing,
        )

    def _outcome(self, plan: Plan, found: Found, done: Done) -> Outcome:
        after = self._leaves(plan.contents or found.generation)
        return super()._outcome(plan, found, done._replace(after=after))

    def _next(self, generation: Mapping[str, bytes], found: Found) -> list[str]:
        answer = found.answer and found.answer._replace(leaf=self._leaves(generation).get(API))
        coming = found._replace(generation=generation, repairs=(), unfit={}, answer=answer)
        return list(planning.make(self.target._replace(renew=False), coming, self.now).changes)
