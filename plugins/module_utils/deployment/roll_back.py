# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back: a transaction whose target is the generation before the one in use.

Its files become a new generation, which is rehearsed, switched to and proven like any other change. The generation that
is left stays, as the one before. A mark in the new one records the roll-back, so the next one does nothing.
"""

from __future__ import annotations

import abc
from typing import Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.engine import R, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import F, P, Service
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rollback_checks


def start(one: Transaction[Any]) -> tuple[str | None, bool]:
    """Return the generation that a roll-back leaves (None: there is none), and whether nothing is to be done.

    Undoing an interrupted run counts as the roll-back, unless that run was a roll-back itself. Raises TlsError.
    """
    is_open = one.journal.is_open() and not one.journal.damage()
    in_use = one.journal.originals()[0] if is_open else one.store.current()
    is_undone = is_open and one.store.left_for(one.journal.staged()) is None
    return in_use, is_undone or one.store.left_for(in_use) is not None


def before(one: Transaction[Any], in_use: str | None, so: str, remedy: str = "") -> str:
    """Return the generation before the one in use. Raises TlsError if there is none, ``so`` says what that means."""
    name = one.store.before(in_use)
    if name is None:
        raise TlsError(
            f"{one.store.generations}: there is no generation before {in_use or 'the first one'}, so {so}. Nothing was "
            "changed.",
            remedy=remedy,
            code="previous_generation_missing",
        )
    return name


def refuse_same(differing: Sequence[str], in_use: str) -> None:
    """Raise TlsError if a generation does not differ from the one in use."""
    if not differing:
        raise TlsError(
            f"It has the same files as {in_use}, so a roll-back would change nothing.",
            code="previous_generation_identical",
        )


class RollBack(Service[P, F, R]):
    """The roll-back of a program. The declared state serves for the rehearsal."""

    finds_what_is_due = False
    stays: P  # the plan if nothing is to be done

    def _run(self, *, check_mode: bool) -> R:
        self.start = start(self)
        return super()._run(check_mode=check_mode)

    def _plan(self, found: F) -> P:
        in_use, is_back = self.start
        if is_back:
            return self.stays
        name = before(self, in_use, "a roll-back is impossible")
        with rollback_checks.explained(name, self.store.generations):
            plan = self._plan_back(found, in_use or "", name)
        changes = [f"generation: from {in_use} back to the files of {name}", *plan.changes]
        complete: P = plan._replace(changes=changes, left=in_use or "")
        return complete

    def _contents_of(self, name: str, files: Sequence[str]) -> dict[str, bytes]:
        """Return files of a generation. Raises TlsError when one cannot be read."""
        contents = {file: self._read(name, file) for file in files}
        missing = [file for file, content in contents.items() if content is None]
        if missing:
            raise TlsError(
                f"{', '.join(missing)}: expected in it, and readable for its OS user; found none.",
                code="generation_file_missing",
            )
        return {file: content for file, content in contents.items() if content is not None}

    def _next_run(self, plan: P, found: F) -> list[str]:
        try:
            return self._next(plan.contents or found.generation, found)
        except TlsError as error:
            return [error.message]

    @abc.abstractmethod
    def _plan_back(self, found: F, in_use: str, name: str) -> P:
        """Return the plan that leads to a generation. Raises TlsError for one that must not come back."""

    @abc.abstractmethod
    def _next(self, generation: Mapping[str, bytes], found: F) -> list[str]:
        """Return what the declared state will change of a generation, in words. Raises TlsError."""
