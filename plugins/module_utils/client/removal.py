# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal for one OS user: a transaction after which its files are as they were before this collection."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.client import default_files, service_file, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.outcome import UserOutcome
from ansible_collections.pgops.tls.plugins.module_utils.client.transaction import Transaction
from ansible_collections.pgops.tls.plugins.module_utils.core import directory, files


class _Steps(NamedTuple):
    """Our links with the files that replace them (None: nothing does), and the new service file."""

    links: dict[str, str | None]
    service: bytes | None


class Removal(Transaction):
    """All identities of one OS user. Files moved aside are restored, and our directory is removed with its keys."""

    def refuse_unfit(self) -> None:
        """Raise TlsError for foreseeable failures, before any OS user of the host is touched."""
        if not self.home.is_set_up():
            return  # nothing is to be removed, whatever this home is like
        self.home.refuse_unfit()
        parts = service_file.split(files.read(self.home.service_file) or b"", self.home.service_file)
        services = [os.path.dirname(os.path.realpath(self.home.service_file))] if parts.block else []
        why = "from which files are to be removed with that user's rights"
        for path in (self.home.directory, self.store.directory, *services):
            directory.refuse_unwritable(path, f"OS user {self.user.name!r}", why)

    def warnings(self, _outcome: UserOutcome) -> list[str]:
        """Return the notes about a damaged journal; nothing else is managed any more."""
        return self.notes

    def _run(self, *, check_mode: bool) -> UserOutcome:
        if not self.home.is_set_up():
            return self._outcome(self.home.found([]), _Steps({}, None), [])
        with files.locked(self.home.store.directory):
            recovered = self._recover(check_mode=check_mode)
            found = self.home.found([one.name for one in self.identities])
            steps = self._steps(found)
            if not check_mode:
                self._transact(None, lambda: self._take(steps))
                shutil.rmtree(self.home.store.directory)
            return self._outcome(found, steps, [*recovered, *self._in_words(steps)])

    def _steps(self, found: HomeFiles) -> _Steps:
        parts = service_file.split(found.service or b"", self.home.service_file)
        return _Steps(self.home.former_files(), parts.before + parts.after if parts.block else None)

    def _take(self, steps: _Steps) -> None:
        default_files.give_back(steps.links, self.journal)
        if steps.service:
            self.journal.put_file(self.home.service_file, steps.service)
        elif steps.service is not None:
            self.journal.remove(os.path.realpath(self.home.service_file))

    def _in_words(self, steps: _Steps) -> list[str]:
        words = planning.former_in_words(steps.links)
        if steps.service is not None:
            words.append(f"{self.home.service_file}: the services of this collection are removed")
        return [*words, f"{self.home.store.directory}: removed"]

    def _outcome(self, found: HomeFiles, steps: _Steps, changes: list[str]) -> UserOutcome:
        plan = planning.Plan({}, [], False, {}, steps.service, [], changes, former=steps.links)
        return UserOutcome(plan, bool(changes), changes, [], user_files.leaves(found), {}, found)
