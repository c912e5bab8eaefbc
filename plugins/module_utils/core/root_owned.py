# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files that belong to root, which the OS user of a service may only read: changed and put back as root.

Debian gives PgBouncer's configuration to the OS user of PgBouncer, in a directory of root. That user may change it,
but only root can replace it.

That user owns the journal of the transaction and, through its service, says where the files are. So nothing that it
wrote or named decides what root writes: a file counts only under its usual name, given to that user's group, below
directories that root alone can write; and it is put back from a copy that lies beside it, where root alone can put one.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import as_root

_KEPT = re.compile(r"[0-9a-f]{64}")


class RootFiles:
    """Root's files with one of these names (or patterns) that are readable by a group; for a process that root started.

    ``owner`` is another user id that may own such a file.
    """

    def __init__(self, names: tuple[str, ...], group: int, owner: int = 0) -> None:
        self.names = names
        self.group = group
        self.owners = (0, owner)

    def objection(self, path: str, name: str) -> str:
        """Return why the file cannot be kept here, '' if it can. ``name`` is the name that it must have."""
        if os.getuid() != 0:
            return "this does not run as root"
        is_plain = path.startswith("/") and not path.startswith("//") and os.path.normpath(path) == path
        is_usual = any(fnmatch.fnmatchcase(name, one) for one in self.names)
        if not is_usual or os.path.basename(path) != name or not is_plain:
            return f"it is not called {name}, or its path is a detour"
        try:
            found, foreign = os.lstat(path), _foreign_parent(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            return str(error)
        if foreign:
            return f"{foreign} is not a directory that only root can write to"
        is_owned = found.st_uid in self.owners and found.st_gid == self.group
        others = 0o022 if found.st_uid == 0 else 0o002  # the group of an owner who may write is no danger to root
        if not stat.S_ISREG(found.st_mode) or not is_owned or found.st_mode & others:
            return (
                f"it is not a file of root that group {self.group} may read and nobody else may write "
                f"(root:{self.group}, mode 0640)"
            )
        return ""

    def replace(self, path: str, before: bytes, after: bytes) -> None:
        """Replace the content of a file, which is to be ``before``, and keep the first one until ``forget``.

        Owner, group and mode stay. Raises TlsError, OSError.
        """
        with as_root():
            kept = self._kept(path)
            if files.read(path) != before:
                raise TlsError(
                    f"{path}: somebody changed it during this run.",
                    remedy="Rerun.",
                    code="file_changed_during_run",
                )
            directory, name = os.path.split(path)
            original = kept[0] if kept else path  # kept under a name for each content that it was replaced by
            os.link(original, os.path.join(directory, f"{_prefix(name)}{hashlib.sha256(after).hexdigest()}"))
            files.sync_directory(directory)
            files.rewrite(path, after)

    def refuse_foreign_change(self, path: str) -> None:
        """Raise TlsError unless the file is as ``replace`` found or left it."""
        with as_root():
            kept = self._kept(path)
            if kept and not _is_before(path, kept[0]) and _digest(path) not in [one[-64:] for one in kept]:
                raise TlsError(
                    f"{path}: a run that was interrupted had changed this file, and somebody changed it since. What it "
                    f"held before is in {kept[0]}.",
                    remedy=f"Merge the two by hand, then remove {' and '.join(kept)} and rerun.",
                    code="file_changed_since",
                )

    def restore(self, path: str) -> None:
        """Put back what ``replace`` kept, if it kept anything. Raises TlsError, OSError."""
        self.refuse_foreign_change(path)
        with as_root():
            kept = self._kept(path)
            if not kept:
                return
            if not _is_before(path, kept[0]):
                os.rename(kept.pop(0), path)
            for one in kept:  # rename() would do nothing between two names of one file
                os.unlink(one)
            files.sync_directory(os.path.dirname(path))

    def original(self, path: str) -> bytes | None:
        """Return what ``restore`` would put back, or the present content if nothing was kept."""
        with as_root():
            return files.read([*self._kept(path), path][0])

    def forget(self, path: str) -> None:
        """Remove what ``replace`` kept: the change stays."""
        with as_root():
            for kept in self._kept(path):
                os.unlink(kept)
                files.sync_directory(os.path.dirname(path))

    def _kept(self, path: str) -> list[str]:
        """Return the paths of the old file beside the present one; each of its names stands for a newer content."""
        self._refuse(path)
        directory, name = os.path.split(path)
        prefix = _prefix(name)
        found = [one for one in os.listdir(directory) if one.startswith(prefix) and _KEPT.fullmatch(one[len(prefix) :])]
        return [os.path.join(directory, one) for one in found]

    def _refuse(self, path: str) -> None:
        objection = self.objection(path, os.path.basename(path))
        if objection:
            raise TlsError(
                f"{path}: expected a file that only root can change: {objection}.",
                remedy="Restore its owner, group and mode.",
                code="root_file_unfit",
            )


def _foreign_parent(path: str) -> str:
    """Return a directory on the way to a file that is not root's alone, or a link; '' for none.

    A link that root made is resolved before, one that somebody else planted belongs to somebody else.
    """
    at = os.path.dirname(path)
    while True:
        found = os.lstat(at)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            return at
        if at == "/":
            return ""
        at = os.path.dirname(at)


def _prefix(name: str) -> str:
    return f".{name}.pgops-before-"


def _is_before(path: str, kept: str) -> bool:
    """Return whether the file was not replaced yet: it and the kept one are two names of one file."""
    return os.path.samestat(os.lstat(path), os.lstat(kept))


def _digest(path: str) -> str:
    return hashlib.sha256(files.read(path) or b"").hexdigest()
