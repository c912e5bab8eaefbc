# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an open transaction: what to put back if it fails or its process dies.

``DIRECTORY/journal.json`` exists only while a transaction is open. It is written before each change that it describes,
so a later run finds every change that may have happened and undoes it. The caller holds the directory's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore


class Journal:
    """The changes of one transaction on a generation store and on files outside it."""

    def __init__(self, store: GenerationStore) -> None:
        self.store = store
        self.path = os.path.join(store.directory, "journal.json")
        self.backups = os.path.join(store.directory, "backup")

    def is_open(self) -> bool:
        """Return whether a transaction was begun and neither committed nor rolled back."""
        return os.path.exists(self.path)

    def begin(self, staged: str | None) -> None:
        """Open a transaction that is going to switch to generation ``staged`` (None: it stays as it is)."""
        shutil.rmtree(self.backups, ignore_errors=True)
        files.make_directory(self.backups, 0o700)
        self._write({"previous": self.store.current(), "staged": staged, "changes": []})

    def switch(self) -> None:
        """Make the staged generation the current one."""
        staged = self._read()["staged"]
        if staged is not None:
            self.store.switch(staged)

    def put_file(self, path: str, content: bytes, mode: int = 0o644, owner: files.Owner | None = None) -> None:
        """Write a file outside the generations; an existing one keeps its mode and owner. Raises OSError."""
        real = os.path.realpath(path)
        self._note(real, {"sha256": hashlib.sha256(content).hexdigest()})
        if os.path.exists(real):
            files.rewrite(real, content)
        else:
            files.write_atomically(real, content, mode, owner)

    def put_link(self, path: str, target: str) -> None:
        """Make ``path`` a symbolic link, instead of whatever file or link is there. Raises OSError."""
        self._note(path, {"link": target})
        files.point(path, target)

    def commit(self) -> None:
        """Close the transaction: what was changed stays."""
        self._close()

    def roll_back(self) -> None:
        """Put everything back, last change first, and close the transaction.

        Raises TlsError when somebody else changed a file meanwhile: then nothing is put back and the journal stays.
        """
        journal = self._read()
        for change in journal["changes"]:
            self._refuse_foreign_change(change)
        for change in reversed(journal["changes"]):
            self._restore(change)
        self.store.switch(journal["previous"])
        if journal["staged"] is not None:
            self.store.discard(journal["staged"])
        self._close()

    def _note(self, path: str, written: dict[str, str]) -> None:
        journal = self._read()
        before = self._state(path)
        if before["kind"] == "file":
            before["backup"] = os.path.join(self.backups, str(len(journal["changes"])))
            with open(path, "rb") as stream:
                files.write_atomically(before["backup"], stream.read(), 0o600)
        journal["changes"].append({"path": path, "before": before, "written": written})
        self._write(journal)

    @staticmethod
    def _state(path: str) -> dict[str, Any]:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return {"kind": "absent"}
        if stat.S_ISLNK(found.st_mode):
            return {"kind": "link", "link": os.readlink(path)}
        if not stat.S_ISREG(found.st_mode):
            raise TlsError(f"{path}: expected a file, a link or nothing, found another kind. Move it away.")
        with open(path, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        return {
            "kind": "file",
            "mode": found.st_mode & 0o7777,
            "owner": [found.st_uid, found.st_gid],
            "sha256": digest,
        }

    def _refuse_foreign_change(self, change: dict[str, Any]) -> None:
        now, before, written = self._state(change["path"]), change["before"], change["written"]
        ours = all(now.get(key) == value for key, value in written.items())
        untouched = all(now.get(key) == before.get(key) for key in ("kind", "sha256", "link"))
        if not ours and not untouched:
            raise TlsError(
                f"{change['path']}: a run that was interrupted had changed this file, and somebody changed it since. "
                f"What it held before is in {before.get('backup', 'no file: it did not exist')}. "
                f"Merge the two by hand, then remove {self.path} and start again."
            )

    @staticmethod
    def _restore(change: dict[str, Any]) -> None:
        path, before = change["path"], change["before"]
        if before["kind"] == "file":
            with open(before["backup"], "rb") as stream:
                files.write_atomically(path, stream.read(), before["mode"], files.Owner(*before["owner"]))
        elif before["kind"] == "link":
            files.point(path, before["link"])
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, encoding="utf-8") as stream:
                journal: dict[str, Any] = json.load(stream)
        except ValueError as error:
            raise TlsError(
                f"{self.path}: expected the journal of an interrupted run, found damaged JSON ({error})."
            ) from error
        return journal

    def _write(self, journal: dict[str, Any]) -> None:
        files.write_atomically(self.path, json.dumps(journal, indent=1).encode("utf-8"), 0o600)

    def _close(self) -> None:
        os.unlink(self.path)
        files.sync_directory(self.store.directory)
        shutil.rmtree(self.backups, ignore_errors=True)
