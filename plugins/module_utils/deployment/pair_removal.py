# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal of a program that is server and client at once: its configuration loses what is ours, and our files go.

What the configuration says besides takes effect again, and is proven like any other change.
"""

from __future__ import annotations

import abc

from ansible_collections.pgops.tls.plugins.module_utils.deployment import removal
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_outcome import Outcome, T
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_service import PairService
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, F, P


class PairRemoval(PairService[P, F, T]):
    """One such program that loses the files of this collection."""

    def _run(self, *, check_mode: bool) -> Outcome[P, F, T]:
        recovered = self._recover(check_mode=check_mode)
        found, plan = self._found(), self.stays
        text = self._text_without_ours(found)
        added = [f"{self.file.named}: without what this collection has added"] if text != found.text else []
        changes = added or self._still_used(found)
        if changes:
            plan = plan._replace(text=text, changes=changes)
            leaf = self._refuse_removal(found, text)
            if not check_mode:
                self._transact(None, lambda: self._take_out(found, text, leaf))
        place = self.store.directory, self.account, self.program
        cleared = removal.clear(*place, is_wanted=True, check_mode=check_mode)
        done = [*recovered, *plan.changes, *cleared]
        return self._outcome(plan, found, Done(done, {}, self._leaves(found.generation), {}, None))

    @abc.abstractmethod
    def _text_without_ours(self, found: F) -> str:
        """Return the text of the configuration file without what is ours. Raises TlsError."""

    def _still_used(self, _found: F) -> list[str]:
        """Return in words which of our files are used although nothing of ours is in the configuration file."""
        return []

    @abc.abstractmethod
    def _refuse_removal(self, found: F, text: str) -> str:
        """Return the fingerprint of the leaf that clients see then, '' for no TLS.

        Raises TlsError where the program would not load the text, or clients would lose TLS that they use.
        """

    @abc.abstractmethod
    def _take_out(self, found: F, text: str, leaf: str) -> None:
        """Write the text if it differs, have the program load it, and prove that clients see this leaf.

        Raises TlsError.
        """
