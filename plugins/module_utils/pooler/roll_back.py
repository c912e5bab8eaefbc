# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a PgBouncer: see ``deployment/pair_roll_back.py``. Settings stay as declared."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_roll_back import PairRollBack
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan, changes_back
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import CONF, FRONT, Target
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Transaction


class RollBack(PairRollBack[Plan, Found, Target], Transaction):
    """One PgBouncer that is rolled back."""

    def _own(self, found: Found) -> dict[str, bytes]:
        return {CONF: self.target.conf(found.kept.current or "")}

    def _plan_back(self, found: Found, in_use: str, name: str) -> Plan:
        plan = super()._plan_back(found, in_use, name)
        contents = plan.contents or {}
        is_shown = self._leaves(contents)[FRONT].sha256 == found.served
        return plan._replace(changes_back=changes_back(found, contents), relies_on_log=is_shown)

    def _refuse(self, plan: Plan, found: Found, *, check_mode: bool) -> None:
        if plan.changes:
            super()._refuse(plan, found, check_mode=check_mode)
