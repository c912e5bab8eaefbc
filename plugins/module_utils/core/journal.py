# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an open transaction: what to put back if it fails or its process dies.

``DIRECTORY/journal.json`` exists only while a transaction is open. It is written before each change that it describes,
so a later run finds every change that may have happened and undoes it. The caller holds the directory's lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.pgops.tls.plugins.module_utils.core import changes, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles


ASIDE = ".damaged"
# What is no passing fault: another kind of file, one that is too large, or none that its user may read
_UNREADABLE = (errno.EINVAL, errno.ENXIO, errno.ELOOP, errno.EFBIG, errno.EACCES, errno.EPERM)


class DamagedError(TlsError):
    """The journal cannot be used to put anything back; ``remedy`` is what a person can do."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(fault, remedy=remedy, code="journal_damaged")


class Journal:
    """The changes of one transaction on a generation store and on files outside it."""

    def __init__(self, store: GenerationStore, rooted: RootFiles | None = None) -> None:
        self.store = store
        self.rooted = rooted  # keeps what it needs to put root's files back, out of reach of who owns the store
        self.path = store.journal
        self.backups = store.backups

    def is_open(self) -> bool:
        """Return whether a transaction was begun and neither committed nor rolled back."""
        return os.path.exists(self.path)

    def damage(self) -> str:
        """Return what is wrong with a journal by which nothing can be put back, '' for a sound one and for none."""
        if self.is_open():
            try:
                self._refuse_other_copies(self._read())
            except DamagedError as error:
                return error.fault
        return ""

    @property
    def remedy(self) -> str:
        """Return what a person can do about damage: look, then one command. It removes nothing."""
        return (
            f"The previous contents of files are in {self.backups}, if it exists. Compare them. To continue with the "
            f"files as they are, run: mv {shlex.quote(self.path)} {shlex.quote(self.path + ASIDE)}. Then rerun."
        )

    def set_aside(self) -> str:
        """Rename a damaged journal and the copies beside it, and return its new path. Raises OSError."""
        aside = files.free_name(self.path + ASIDE)
        if os.path.lexists(self.backups):
            os.rename(self.backups, files.free_name(self.backups + ASIDE))
        os.rename(self.path, aside)
        files.sync_directory(self.store.directory)
        return aside

    def clear(self) -> None:
        """Remove the copies that a run left which died while it closed its transaction."""
        if not self.is_open():
            files.remove_tree(self.backups)

    def begin(self, staged: str | None) -> None:
        """Open a transaction that is going to switch to generation ``staged`` (None: it stays as it is).

        An open one must be rolled back first: its journal is all that is known about it.
        """
        if self.is_open():
            raise TlsError(f"{self.path}: the transaction of an interrupted run is open.", code="transaction_open")
        files.remove_tree(self.backups)
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

    def put_rooted(self, path: str, before: bytes, content: bytes) -> None:
        """Write a file of root (the path has no links in it) that is still as ``before``. Raises TlsError, OSError."""
        journal = self._read()
        journal["changes"].append({"path": path, "before": {"kind": "rooted"}, "written": {}, "aside": None})
        self._write(journal)
        self._rooted(path).replace(path, before, content)

    def put_link(self, path: str, target: str, aside: str | None = None) -> None:
        """Make ``path`` a symbolic link, in place of any file or link there. Raises OSError.

        ``aside``, a free path in the same directory, is where the file or link stays that was there before.
        """
        if aside is not None and os.path.lexists(aside):
            fault = f"{aside}: expected nothing there, to keep {path} under that name."
            raise TlsError(fault, remedy="Rename it.", code="path_taken")
        self._note(path, {"link": target}, aside)
        if aside is not None:
            changes.keep(path, aside)
        files.point(path, target)

    def put_back(self, path: str, aside: str) -> None:
        """Rename what is kept at ``aside`` to ``path``, in place of the link there. Raises OSError."""
        journal, kept = self._read(), changes.state(aside)
        written = {key: kept[key] for key in ("sha256", "link") if key in kept}
        change = {"path": path, "before": changes.state(path), "written": written, "aside": None, "kept": aside}
        journal["changes"].append(change)
        self._write(journal)
        os.rename(aside, path)
        files.sync_directory(os.path.dirname(path))

    def remove(self, path: str) -> None:
        """Remove a file or a link. Raises OSError."""
        self._note(path, {"kind": "absent"})
        os.unlink(path)
        files.sync_directory(os.path.dirname(path))

    def commit(self) -> None:
        """Close the transaction: what was changed stays."""
        listed = self._read()["changes"]
        self._close()
        with contextlib.suppress(OSError, TlsError):  # the next run does it
            for path in (change["path"] for change in listed if change["before"]["kind"] == "rooted"):
                self._rooted(path).forget(path)

    def roll_back(self, *, discard: bool = True, tell: Callable[[], object] | None = None) -> None:
        """Put everything back, last change first, and close the transaction.

        ``tell`` notifies the program that uses the files. It is called while the journal is still open: should this
        process die before, the next run does both again, and no program still uses what is not in the files any more.
        Without ``discard`` the staged generation stays, for a program that may be reading it; ``discard_unused`` of the
        store removes it later.
        Raises TlsError if somebody else changed a file in the meantime: then nothing is put back and the journal stays.
        """
        journal = self._read()
        self._refuse_foreign_switch(journal)
        for path in {change["path"] for change in journal["changes"]}:
            self._refuse_foreign_change(path, [change for change in journal["changes"] if change["path"] == path])
        for change in reversed(journal["changes"]):
            self._restore(change)
        self.store.switch(journal["previous"])
        if discard and journal["staged"] is not None:
            self.store.discard(journal["staged"])
        if tell is not None:
            tell()
        self._close()

    def staged(self) -> str | None:
        """Return the generation that the open transaction switches to; None when it keeps the current one."""
        name: str | None = self._read()["staged"]
        return name

    def originals(self) -> tuple[str | None, dict[str, bytes | None]]:
        """Return to which generation and contents of files (None: no file) a roll-back would lead, without doing it."""
        journal = self._read()
        befores = {change["path"]: change["before"] for change in reversed(journal["changes"])}
        return journal["previous"], {path: self._original(path, before) for path, before in befores.items()}

    def _original(self, path: str, before: dict[str, Any]) -> bytes | None:
        if before["kind"] == "rooted":
            return self._rooted(path).original(path)
        return files.read(before["backup"]) if "backup" in before else None

    def _rooted(self, path: str) -> RootFiles:
        if self.rooted is None:
            raise TlsError(
                f"{self.path}: it names {path} as a file of root, but this transaction has no such file.",
                remedy="Find out who wrote that, then remove the journal and rerun.",
                code="root_file_unexpected",
            )
        return self.rooted

    def _note(self, path: str, written: dict[str, str], aside: str | None = None) -> None:
        """Write down what is at ``path`` and what is going to be; nothing but that may be done to it afterwards."""
        journal = self._read()
        before = changes.state(path)
        if before["kind"] == "file" and aside is None:
            before["backup"] = os.path.join(self.backups, str(len(journal["changes"])))
            content = files.read(path) or b""
            before["sha256"] = hashlib.sha256(content).hexdigest()
            files.write_atomically(before["backup"], content, 0o600)
        journal["changes"].append({"path": path, "before": before, "written": written, "aside": aside})
        self._write(journal)

    def _refuse_foreign_switch(self, journal: dict[str, Any]) -> None:
        current = self.store.current()
        if current not in (None, journal["previous"], journal["staged"]):
            raise TlsError(
                f"{self.store.current_link}: a run was interrupted between generation {journal['previous']} and "
                f"{journal['staged']}, and somebody has pointed the link at {current} since.",
                remedy="Point it at one of the two and rerun.",
                code="link_changed_since",
            )

    def _refuse_foreign_change(self, path: str, own: list[dict[str, Any]]) -> None:
        """Raise TlsError unless a file is as it was before or after one of our changes to it."""
        if own[0]["before"]["kind"] == "rooted":
            self._rooted(path).refuse_foreign_change(path)
            return
        now = changes.state(path)
        if not any(changes.is_known(now, change) for change in own):
            kept = own[0]["before"].get("backup") or own[0]["aside"] or "no file: it did not exist"
            raise TlsError(
                f"{path}: a run that was interrupted had changed this file, and somebody changed it since. "
                f"What it held before is in {kept}.",
                remedy=f"Merge the two by hand, then remove {self.path} and rerun.",
                code="file_changed_since",
            )

    def _restore(self, change: dict[str, Any]) -> None:
        path, before = change["path"], change["before"]
        if "kept" in change and not os.path.lexists(change["kept"]):
            changes.keep(path, change["kept"])
        if before["kind"] == "rooted":
            self._rooted(path).restore(path)
        elif change["aside"] is not None:
            changes.take_back(path, change["aside"])
        elif before["kind"] == "file":
            with open(before["backup"], "rb") as stream:
                files.write_atomically(path, stream.read(), before["mode"], files.Owner(*before["owner"]))
        elif before["kind"] == "link":
            files.point(path, before["link"])
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                files.sync_directory(os.path.dirname(path))

    def _read(self) -> dict[str, Any]:
        """Return what the journal says. Raises DamagedError for what is none."""
        try:
            found = json.loads((self._content(self.path) or b"").decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._damaged("something else than JSON") from error
        try:
            changes.check(found)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged("JSON of another form") from error
        journal: dict[str, Any] = found
        return journal

    def _content(self, path: str) -> bytes | None:
        """Return what a file holds, None if it does not exist. Raises DamagedError if nobody could read it, OSError."""
        try:
            return files.read(path)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            raise self._damaged(f"{path}, which cannot be read ({error.strerror})") from error

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{self.path}: expected the journal of an interrupted run, found {what}.", self.remedy)

    def _refuse_other_copies(self, journal: dict[str, Any]) -> None:
        """Raise DamagedError when a copy is not what the journal says that a file held before."""
        for change in journal["changes"]:
            copy = change["before"].get("backup") if change["aside"] is None else None
            if copy is None:
                continue
            content = self._content(copy)
            if content is None or hashlib.sha256(content).hexdigest() != change["before"].get("sha256"):
                raise self._damaged(f"one whose copy of {change['path']} ({copy}) is missing or changed")

    def _write(self, journal: dict[str, Any]) -> None:
        files.write_atomically(self.path, json.dumps(journal, indent=1).encode("utf-8"), 0o600)

    def _close(self) -> None:
        os.unlink(self.path)
        with contextlib.suppress(OSError):  # it is closed; if it came back after a power cut, it would be rolled back
            files.sync_directory(self.store.directory)
        files.remove_tree(self.backups)
