# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that a journal describes: what was at a path, what is there now, and how files are put aside."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def state(path: str) -> dict[str, Any]:
    """Return what is at a path, as a journal describes it. Raises TlsError for what no change of ours may replace."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return {"kind": "absent"}
    if stat.S_ISLNK(found.st_mode):
        return {"kind": "link", "link": os.readlink(path)}
    if not stat.S_ISREG(found.st_mode):
        raise TlsError(
            f"{path}: expected a file, a link or nothing, found another kind.",
            remedy="Rename it.",
            code="file_kind_wrong",
        )
    state: dict[str, Any] = {"kind": "file", "mode": found.st_mode & 0o7777, "owner": [found.st_uid, found.st_gid]}
    with contextlib.suppress(PermissionError):  # of somebody else in this user's directory: it can be put aside
        state["sha256"] = hashlib.sha256(files.read(path) or b"").hexdigest()
    return state


def check(journal: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for what is no journal: nothing may be half put back because of it."""
    for change in journal["changes"]:
        before, aside = change["before"], change["aside"]
        paths, numbers = [change["path"], *(one for one in (aside, change.get("kept")) if one is not None)], []
        if before["kind"] == "link":
            paths.append(before["link"])
        elif before["kind"] == "file" and aside is None:
            paths.append(before["backup"])
            numbers = [before["mode"], *files.Owner(*before["owner"])]
        if any("\0" in os.fsdecode(os.fsencode(path)) for path in paths):
            raise ValueError("a path in it is none")
        if not all(isinstance(number, int) and 0 <= number < 2**31 for number in numbers):
            raise ValueError("a mode or an owner in it is none")
        if not isinstance(change["written"], dict):
            raise TypeError("a change in it is incomplete")
    for name in (journal["previous"], journal["staged"]):
        if name is not None and not (isinstance(name, str) and name.isdigit()):
            raise ValueError("its generations have no numbers")


def is_known(now: dict[str, Any], change: dict[str, Any]) -> bool:
    """Return whether a file's state is the one before, after or in the middle of a change of ours."""
    before = change["before"]
    return (
        all(now.get(key) == value for key, value in change["written"].items())
        or all(now.get(key) == before.get(key) for key in ("kind", "sha256", "link"))
        or (now["kind"] == "absent" and change["aside"] is not None and os.path.lexists(change["aside"]))
    )


def keep(path: str, aside: str) -> None:
    """Give a file a second name; where the file system refuses that (foreign owner, no hard links), move it."""
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError:
        os.rename(path, aside)
    files.sync_directory(os.path.dirname(path))


def take_back(path: str, aside: str) -> None:
    """Undo ``keep`` and whatever was put at ``path`` afterwards; the file itself comes back, not a copy."""
    if not os.path.lexists(aside):
        return  # the run ended before it was kept
    if os.path.lexists(path) and os.path.samestat(os.lstat(path), os.lstat(aside)):
        os.unlink(aside)  # rename() does nothing between two names of one file
    else:
        os.rename(aside, path)
    files.sync_directory(os.path.dirname(path))
