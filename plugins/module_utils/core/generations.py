# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories of numbered generations; one rename of a symbolic link switches from one to the next.

``DIRECTORY/current -> generations/0007``, ``DIRECTORY/generations/0007/...``, ``DIRECTORY/pending/NAME.key``: keys that
wait for their certificate, ``NAME.renew``: that it was asked for. The caller holds the directory's lock.
"""

from __future__ import annotations

import os
import re
from typing import Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

_NUMBERED = re.compile(r"[0-9]{4,}")
_PENDING = 3600  # seconds after which a key waits for no run that is at work
KEPT = 2  # the current generation and the one before it, for a roll-back
_WISH = ".renew"
LEFT = "rolled-back-from"  # in a generation with the files of an older one: which generation was left for it


class File(NamedTuple):
    """A file of a generation: its bytes and its permission bits."""

    content: bytes
    mode: int


class GenerationStore:
    """The generations below one directory; everything in it belongs to ``owner``."""

    def __init__(self, directory: str, owner: files.Owner, mode: int = 0o755) -> None:
        self.directory = directory
        self.owner = owner
        self.mode = mode
        self.current_link = os.path.join(directory, "current")
        self.generations = os.path.join(directory, "generations")
        self.pending = os.path.join(directory, "pending")
        self.journal = os.path.join(directory, "journal.json")  # while a transaction is open
        self.backups = os.path.join(directory, "backup")  # of files outside, while one is open

    def path(self, name: str, *parts: str) -> str:
        """Return the path of a generation or of a file in it."""
        return os.path.join(self.generations, name, *parts)

    def current(self) -> str | None:
        """Return the name of the generation in use or None. Raises TlsError when ``current`` is something else."""
        try:
            target = os.readlink(self.current_link)
        except FileNotFoundError:
            return None
        except OSError:
            raise TlsError(
                f"{self.current_link}: expected a symbolic link to a generation, found another kind of file.",
                remedy=f"Rename it. In its place, make a link generations/NNNN to the newest in {self.generations}.",
                code="current_link_wrong",
            ) from None
        parent, name = os.path.split(target)
        if parent != "generations" or not _NUMBERED.fullmatch(name):
            raise TlsError(
                f"{self.current_link}: expected a link to generations/NNNN, found a link to {target!r}. "
                "Somebody changed it by hand.",
                remedy=f"Point it at the generation in use, the newest in {self.generations}.",
                code="current_link_wrong",
            )
        return name if os.path.isdir(self.path(name)) else None

    def names(self) -> list[str]:
        """Return the names of all generations on disk, oldest first."""
        try:
            found = os.listdir(self.generations)
        except FileNotFoundError:
            return []
        return sorted((name for name in found if _NUMBERED.fullmatch(name)), key=int)

    def next_name(self) -> str:
        """Return the name that ``stage`` gives to the next generation."""
        return f"{int((self.names() or ['0'])[-1]) + 1:04d}"

    def before(self, name: str | None) -> str | None:
        """Return the newest generation that is older than ``name``, or None."""
        older = [one for one in self.names() if name is not None and int(one) < int(name)]
        return older[-1] if older else None

    def left_for(self, name: str | None) -> str | None:
        """Return which generation a roll-back left for ``name``; None when no roll-back made that."""
        mark = self.read(name, LEFT)
        return mark.decode("ascii", "replace").strip() if mark is not None else None

    def read(self, name: str | None, *parts: str) -> bytes | None:
        """Return the bytes of a file of a generation, or None when generation or file are missing."""
        return files.read(self.path(name, *parts)) if name else None

    def readable(self, name: str | None, *parts: str) -> bytes | None:
        """Return what ``read`` returns, None for a file that its user may not read, too."""
        try:
            return self.read(name, *parts)
        except PermissionError:
            return None

    def stage(self, contents: Mapping[str, File], left: str = "") -> str:
        """Write a new generation that nothing uses yet and return its name. Keys are paths in it. Raises OSError.

        ``left`` is the generation that a roll-back leaves for it, if a roll-back makes it.
        """
        contents = {**contents, LEFT: File(f"{left}\n".encode("ascii"), 0o644)} if left else contents
        self._make_directories()
        name = self.next_name()
        staging = os.path.join(self.generations, ".staging")
        files.remove_tree(staging)  # left by a run that died
        try:
            files.make_directory(staging, self.mode, self.owner)
            for path, file in sorted(contents.items()):
                folder = os.path.dirname(os.path.join(staging, path))
                files.make_directory(folder, self.mode, self.owner)
                files.write_new(os.path.join(staging, path), file.content, file.mode, self.owner)
                files.sync_directory(folder)
            files.sync_directory(staging)
            os.rename(staging, self.path(name))
        except OSError:
            files.remove_tree(staging)
            raise
        files.sync_directory(self.generations)
        return name

    def switch(self, name: str | None) -> None:
        """Make a generation the current one (None: no generation) by one rename."""
        if name is not None:
            files.point(self.current_link, f"generations/{name}")
        elif os.path.islink(self.current_link):
            os.unlink(self.current_link)
            files.sync_directory(self.directory)

    def discard(self, name: str) -> None:
        """Remove a generation that is not the current one."""
        if name != self.current():
            files.remove_tree(self.path(name))

    def discard_unused(self) -> None:
        """Remove what a run that died before its transaction left: half files, generations newer than the current."""
        for directory in (self.directory, self.generations, self.pending):
            files.sweep(directory)
        files.remove_tree(os.path.join(self.generations, ".staging"))
        for name in self.names():
            if int(name) > int(self.current() or 0):
                self.discard(name)

    def prune(self) -> None:
        """Remove all generations but the current and the previous one."""
        for name in self.names()[:-KEPT]:
            self.discard(name)

    def pending_key(self, name: str) -> str:
        """Return the path at which the new key of ``name`` waits for its certificate."""
        return os.path.join(self.pending, f"{name}.key")

    def keep_pending_key(self, name: str, key: str) -> None:
        """Store a new private key (PEM) until its certificate comes."""
        self._make_directories()
        files.write_atomically(self.pending_key(name), key.encode("ascii"), 0o600, self.owner)

    def drop_pending_key(self, name: str) -> None:
        """Remove a pending key once a generation holds it."""
        if os.path.exists(self.pending_key(name)):
            os.unlink(self.pending_key(name))
            files.sync_directory(self.pending)

    def drop_stale_keys(self, now: int) -> None:
        """Remove keys that wait for no certificate any more: nothing is due, and no run can still be at work with one.

        One stays while a renewal is wished. ``now`` is in Unix seconds. Raises OSError.
        """
        wished = {self.pending_key(name) for name in self.wishes()}
        for path in (os.path.join(self.pending, name) for name in self._pending() if name.endswith(".key")):
            if path not in wished and os.lstat(path).st_mtime < now - _PENDING:
                os.unlink(path)
                files.sync_directory(self.pending)

    def wish(self, name: str) -> str:
        """Return what is remembered of a renewal of ``name`` that was asked for, '' for nothing. Raises OSError."""
        return (files.read(self._wish(name)) or b"").decode("ascii", "replace")

    def keep_wish(self, name: str, text: str) -> None:
        """Remember that a renewal of ``name`` was asked for. Raises OSError."""
        if text != self.wish(name):
            self._make_directories()
            files.write_atomically(self._wish(name), text.encode("ascii"), 0o600, self.owner)

    def wishes(self) -> list[str]:
        """Return the names for which a renewal is remembered. Raises OSError."""
        return [name[: -len(_WISH)] for name in self._pending() if name.endswith(_WISH)]

    def drop_wish(self, name: str) -> None:
        """Forget a renewal. Raises OSError."""
        os.unlink(self._wish(name))
        files.sync_directory(self.pending)

    def _wish(self, name: str) -> str:
        return os.path.join(self.pending, f"{name}{_WISH}")

    def _pending(self) -> list[str]:
        try:
            return os.listdir(self.pending)
        except FileNotFoundError:
            return []

    def _make_directories(self) -> None:
        files.make_directory(self.directory, self.mode, self.owner)
        files.make_directory(self.generations, self.mode, self.owner)
        files.make_directory(self.pending, 0o700, self.owner)
