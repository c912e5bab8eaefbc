# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of a server that Patroni runs.

Patroni makes postgresql.conf, which includes a file that stays: our include goes into that one. It makes pg_hba.conf
and pg_ident.conf if patroni.yml or its store has lists for them: then our lines go into the lists of patroni.yml, which
are read and written here as if they were the files that Patroni makes of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.patroni import addresses, check, gate, process, yaml_list
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import read, text_of
from ansible_collections.pgops.tls.plugins.module_utils.patroni.yaml_list import SECTION
from ansible_collections.pgops.tls.plugins.module_utils.postgres import managers, settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import OnDisk, ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts, root_files
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator

_INCLUDE = re.compile(r"^include '((?:[^'\\]|''|\\\\)+)'$", re.MULTILINE)
_LISTS = {"pg_hba.conf": "pg_hba", "pg_ident.conf": "pg_ident"}
_PATIENCE = 60.0  # seconds for Patroni to load its file: it does so once in a loop_wait, 10 s unless set otherwise
_PAUSE = 0.1


class PatroniTexts(Texts):
    """The files by their usual names; where Patroni makes one from a list, that list in patroni.yml."""

    way_out = (
        " If it does, start it, with a configuration file that names this data directory (postgresql.data_dir). Then "
        "rerun."
    )

    def __init__(self, found: ServerState, account: Account) -> None:
        super().__init__(found, account)
        self.generated = self.named["postgresql.conf"]
        lasting = _INCLUDE.findall(super().read("postgresql.conf"))[0].replace("''", "'").replace("\\\\", "\\")
        self.named["postgresql.conf"] = os.path.join(os.path.dirname(self.generated), lasting)
        self.paths["postgresql.conf"] = os.path.realpath(self.named["postgresql.conf"])
        self.rooted = root_files(account, account.uid)
        self.patroni = process.find(account.uid, found.value("data_directory"))

    def read(self, name: str, missing: str | None = None) -> str:
        """Return a file's text; of one that Patroni makes, the list that it is made of."""
        made = super().read(name, missing)
        return self._listed(name, made, self._config()) if _is_made(made) else made

    def before(self, name: str, originals: Mapping[str, bytes | None], now: str) -> str:
        """Return what a file was before a transaction."""
        made = super().read(name, "")
        if not _is_made(made):
            return super().before(name, originals, now)
        content = originals.get(self._file_of_patroni().path) if self.patroni else None
        return now if content is None else self._listed(name, made, content.decode("utf-8", "replace"))

    def refuse_unwritable(self, rewrite: Rewrite) -> None:
        """Raise TlsError when a file cannot be replaced, or when patroni.yml would not be what it is to be."""
        if not _is_made(super().read(rewrite.name, "")):
            super().refuse_unwritable(rewrite)
            return
        patroni, name, before = self._running(), _LISTS[rewrite.name], self._config()
        after = yaml_list.rewritten(before, name, rewrite.after, patroni.config)
        sides = [check.Side(one, yaml_list.read(one, name, patroni.config).rules) for one in (before, after)]
        check.refuse_other_change(patroni, self.account, name, *sides)
        gate.refuse_unsafe(patroni, self.account, "Nothing was changed.")
        self._file_of_patroni().refuse_unwritable()

    def write(self, rewrite: Rewrite, journal: Journal) -> None:
        """Replace a file, or its list in patroni.yml, within a transaction. Raises TlsError, OSError."""
        made = super().read(rewrite.name, "")
        if not _is_made(made):
            super().write(rewrite, journal)
            return
        before = self._config()
        if self._listed(rewrite.name, made, before) != rewrite.before:
            raise check.changed_meanwhile(self._running())
        after = yaml_list.rewritten(before, _LISTS[rewrite.name], rewrite.after, self._running().config)
        self._file_of_patroni().write(before, after, journal)

    def files(self) -> list[ServiceFile]:
        """Return all of them, and patroni.yml."""
        return super().files() + ([self._file_of_patroni()] if self.patroni else [])

    def write_rules(self, steps: Sequence[Rewrite], journal: Journal) -> None:
        """Replace rules and maps, and have Patroni write those that it makes. Raises TlsError, OSError."""
        super().write_rules(steps, journal)
        if self._is_changed(journal):
            gate.signal(self._running(), self.account)
            self._wait()

    def _is_changed(self, journal: Journal) -> bool:
        return self.patroni is not None and self._file_of_patroni().path in journal.originals()[1]

    def _wait(self) -> None:
        """Wait until Patroni, which was told to reload, has written the files. Raises TlsError."""
        deadline = time.monotonic() + _PATIENCE
        while pending := list(self._not_loaded()):
            if time.monotonic() > deadline:
                raise TlsError(
                    f"Patroni has not written {', '.join(pending)} within {_PATIENCE:.0f} s after it was told to "
                    "reload.",
                    remedy=f"Check its log, and that its loop_wait is below {_PATIENCE:.0f} s.",
                    code="patroni_not_reloaded",
                )
            time.sleep(_PAUSE)

    def tell(self, journal: Journal, administrator: Administrator) -> None:
        """Have everything loaded that a roll-back put back, unless that could block Patroni. Raises TlsError."""
        if self._is_changed(journal):
            try:
                gate.signal(self._running(), self.account)
            except TlsError as error:
                self.untold = error
            else:
                self._wait()
        super().tell(journal, administrator)

    def prove_previous(self) -> None:
        """Raise TlsError if Patroni was not told what a roll-back put back, and has other rules in force."""
        if self.untold and any(self._not_loaded()):
            raise self.untold

    def refuse_overrides(self, wanted: Mapping[str, str], state: ServerState) -> None:
        """Refuse settings that Patroni writes below our include. Raises TlsError."""
        last = {row.name: row for row in state.on_disk if row.file == self.generated}
        rows = [last[name] for name in wanted if name in last]
        rows = [row for row in rows if _normal(row, state) != _normal(row._replace(value=wanted[row.name]), state)]
        if rows:
            listed = "; ".join(f"{row.name} = {row.value!r} (line {row.line})" for row in rows)
            lines = "; ".join(f"{row.name} = {settings.written(row.value)}" for row in rows)
            raise TlsError(
                f"Patroni sets {listed} in {self.generated}, which takes precedence over this collection. Nothing was "
                "changed.",
                remedy=f"So that clients notice nothing, first append what is set now to "
                f"{self.named['postgresql.conf']}, each on a line of its own: {lines}. Then remove these settings from "
                "postgresql.parameters in patroni.yml and by patronictl edit-config, reload Patroni, and rerun.",
                code="settings_overridden",
            )

    def refuse_names(self, coming: Sequence[Name], served: Sequence[Name] | None) -> None:
        """Refuse a new certificate without the name by which verifying members reach the server. Raises TlsError."""
        if self.patroni is None:
            return
        try:
            said = read(self.patroni, self.account, text_of(self.patroni))
        except TlsError:  # told in the result: a file that cannot be read is not to stop a renewal
            return
        addresses.refuse_lost(self.patroni.config, said, coming, served)

    def signs(self) -> list[str]:
        """Return by what this server is known to be one that Patroni runs, if that Patroni does not run now."""
        line = managers.PATRONI_HEADER.split("\n")[1]
        return [] if self.patroni else [f"{self.generated} line 2: {line!r}"]

    def warnings(self, rewrites: Sequence[Rewrite]) -> list[str]:
        """Return what does not stop a run: lists that are new, and lists that Patroni has not read yet."""
        if self.patroni is None:
            return []
        new = {one.name for one in rewrites if _is_made(super(PatroniTexts, self).read(one.name, ""))}
        found = [
            f"{self.patroni.config}: {SECTION}.{_LISTS[name]} is new in this file. It begins with the lines of "
            f"{self.named[name]}, and on this node it replaces the list in Patroni's store (patronictl edit-config): "
            "later changes there do not apply to this node."
            for name in sorted(new)
            if not yaml_list.read(self._config(), _LISTS[name], self.patroni.config).rules
        ]
        return found + [
            f"{self.named[name]}: Patroni has not loaded {SECTION}.{_LISTS[name]} of {self.patroni.config}. If "
            "its REST API answers, reload Patroni."
            for name in self._not_loaded()
            if name not in new
        ]

    def _not_loaded(self) -> Iterator[str]:
        """Return the files that differ from the lists in patroni.yml."""
        for name, key in _LISTS.items():
            made = super().read(name, "")
            if _is_made(made):
                with contextlib.suppress(TlsError):
                    rules = yaml_list.read(self._config(), key, self._running().config).rules
                    if rules and made != managers.PATRONI_HEADER + "".join(f"{line}\n" for line in rules):
                        yield name

    def _listed(self, name: str, made: str, config: str) -> str:
        """Return the list of a file that Patroni made. It is the file itself if the list is not in patroni.yml."""
        with contextlib.suppress(TlsError):  # another form, which is refused when it is to be written
            found = yaml_list.read(config, _LISTS[name], "")
            if found.rules:
                return found.text
        return made[len(managers.PATRONI_HEADER) :]

    def _config(self) -> str:
        return (files.text(self._running().config) if self.patroni else None) or ""

    def _running(self) -> Patroni:
        if self.patroni is None:
            raise TlsError(
                f"{self.generated}: Patroni wrote this file, but no Patroni runs with this data directory.",
                remedy="Start it, then rerun.",
                code="patroni_not_running",
            )
        return self.patroni

    def _file_of_patroni(self) -> ServiceFile:
        path = self._running().config
        real = os.path.realpath(path)
        return ServiceFile(os.path.basename(real), path, real, self.account, self.rooted, "server", "Patroni")


def _is_made(text: str) -> bool:
    return text.startswith(managers.PATRONI_HEADER)


def _normal(row: OnDisk, state: ServerState) -> str:
    return settings.normal(row.value, state.settings[row.name])
