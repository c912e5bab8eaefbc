# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a REST API: see ``deployment/pair_roll_back.py``. The keys in patroni.yml stay."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_roll_back import PairRollBack
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API_CERTIFICATE, FORMER, Target
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Transaction


class RollBack(PairRollBack[Plan, Found, Target], Transaction):
    """One REST API that is rolled back."""

    def _own(self, found: Found) -> dict[str, bytes]:
        return {FORMER: found.generation.get(FORMER, b"")}

    def _plan_back(self, found: Found, in_use: str, name: str) -> Plan:
        plan = super()._plan_back(found, in_use, name)
        coming = (plan.contents or {}).get(API_CERTIFICATE)
        return plan._replace(reloads=found.generation.get(API_CERTIFICATE) != coming)
