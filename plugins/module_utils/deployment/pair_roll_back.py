# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a program that is server and client at once: see ``roll_back.py``."""

from __future__ import annotations

import abc
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs, roll_back
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_outcome import Outcome, T
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_service import PairService
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, F, P


class PairRollBack(roll_back.RollBack[P, F, "Outcome[P, F, T]"], PairService[P, F, T]):
    """One such program that is rolled back. The declared names, role and authorities serve for the rehearsal."""

    @abc.abstractmethod
    def _own(self, found: F) -> dict[str, bytes]:
        """Return the files of a generation that no roll-back brings back, as they are to be."""

    def _plan_back(self, found: F, in_use: str, name: str) -> P:
        own = self._own(found)
        contents = self._contents_of(name, [file for file in self.modes if file not in own])
        pairs.refuse_lost(self.target.pair, contents, self.now)
        differing = [file for file in contents if contents[file] != found.generation.get(file)]
        roll_back.refuse_same(differing, in_use)
        changes = [f"{file}: changed" for file in differing]
        plan: P = self.stays._replace(contents={**contents, **own}, changes=changes)
        return plan

    def _outcome(self, plan: P, found: F, done: Done) -> Outcome[P, F, T]:
        after = self._leaves(plan.contents or found.generation)
        return super()._outcome(plan, found, done._replace(after=after))

    def _next(self, generation: Mapping[str, bytes], found: F) -> list[str]:
        kept = found.kept._replace(generation=generation, repairs=(), unfit={})
        wished = self._wished(self._leaves(generation))
        declared = self.target._replace(pair=self.target.pair.renewing(wished))
        return list(self._make(declared, self._loaded(found._replace(kept=kept))).changes)
