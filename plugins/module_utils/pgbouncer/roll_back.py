# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a PgBouncer: a transaction whose target is the generation before the one in use.

Its files become a new generation, which is rehearsed, switched to and proven like any other. Settings stay as declared.
"""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import (
    CONF,
    FRONT,
    MODES,
    OF_BACK,
    ROOTS,
    TRUSTED,
    Target,
)
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rollback_checks

_STAYS = Plan({"front": (), "back": ()}, None, None, (), changes_back=False, relies_on_log=False)


class RollBack(Transaction):
    """One PgBouncer that is rolled back. The declared names, role and authorities serve for the rehearsal."""

    def run(self, *, check_mode: bool) -> Outcome:
        """Recover, plan, and unless ``check_mode`` roll back. Raises TlsError, OSError.

        Undoing an interrupted run counts as the roll-back, unless that run was a roll-back itself.
        """
        is_back = self.journal.is_open() and self.store.left_for(self.journal.staged()) is None
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        before = after = self._leaves(found.generation)
        plan = _STAYS
        if not is_back and self.store.left_for(found.current) is None:
            plan = self._plan_back(found)
            self._refuse(plan, found)
            after = self._leaves(plan.contents or {})
            if not check_mode:
                self._apply(plan, found)
        if not check_mode:
            self._tidy()
        declared = self.target._replace(renew=False)
        coming = found._replace(generation=plan.contents or found.generation, repairs=(), unfit={})
        next_run = [one for one in self._next(declared, coming) if not one.startswith((CONF, "reload"))]
        changes = [*recovered, *plan.changes]
        return Outcome(
            plan, changes, {}, before, after, self.version, self.target, found, self.warnings, next_run=next_run
        )

    def _plan_back(self, found: Found) -> Plan:
        """Return the plan that leads to the generation before. Raises TlsError for one that must not come back."""
        name = self.store.before(found.current)
        if name is None:
            raise TlsError(
                f"{self.store.generations}: there is no generation before {found.current or 'the first one'}, so a "
                "roll-back is impossible. Nothing was changed.",
                code="previous_generation_missing",
            )
        with rollback_checks.explained(name, self.store.generations):
            contents = {file: self.look.read(name, file) for file in MODES if file != CONF}
            whole = {file: content for file, content in contents.items() if content is not None}
            missing = sorted({*contents} - {*whole})
            if missing:
                raise TlsError(f"{', '.join(missing)}: expected in it, found none.", code="generation_file_missing")
            self._refuse_unfit(whole)
            differing = [file for file in whole if whole[file] != found.generation.get(file)]
            if not differing:
                raise TlsError(
                    f"It has the same files as {found.current}, so a roll-back would change nothing.",
                    code="previous_generation_identical",
                )
        leaf = self._leaves(whole)[FRONT]
        return Plan(
            reasons={"front": (), "back": ()},
            contents=whole,
            text=None,
            changes=[f"generation: from {found.current} back to the files of {name}", *map(_changed, differing)],
            changes_back=any(file in differing for file in OF_BACK),
            relies_on_log=leaf.sha256 == found.served,
            left=found.current or "",
        )

    def _refuse_unfit(self, contents: dict[str, bytes]) -> None:
        """Raise TlsError for certificates that would be refused, and for trust that is lost."""
        leaves = self._leaves(contents)
        for one in self.target.credentials:
            if one.name not in leaves:
                raise TlsError(f"{one.certificate}: it is damaged.", code="certificate_damaged")
            rollback_checks.refuse_dates(leaves[one.name], one.certificate, self.now)
            rollback_checks.refuse_revoked(leaves[one.name], one.certificate, one.spec.revoked)
        for file, one in ((TRUSTED, self.target.back), (ROOTS, self.target.front)):
            rollback_checks.refuse_lost_trust(
                contents[file].decode("ascii", "replace"), one.offer.roots, file, self.now
            )

    def _next(self, declared: Target, found: Found) -> list[str]:
        try:
            return list(planning.make(declared, found, self.now).changes)
        except TlsError as error:
            return [error.message]


def _changed(file: str) -> str:
    return f"{file}: changed"
