# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a removal: what this collection kept in a directory goes, once nothing uses it any more."""

from __future__ import annotations

import os
import shutil
from typing import Iterable

from ansible_collections.pgops.tls.plugins.module_utils.core import directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import ASIDE
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

_OURS = ("current", "generations", "pending", "journal.json", "backup")  # the last two if an interrupted run left them


def clear(path: str, account: Account, program: str, *, is_wanted: bool, check_mode: bool) -> list[str]:
    """Remove what is ours in a directory if that is wanted, and the directory if it is empty; return that in words.

    Files of others stay, and then the directory stays as well. ``program`` is what used the files. Raises TlsError.
    """
    names = os.listdir(path) if os.path.isdir(path) else []
    ours = [name for name in names if _is_ours(name) and is_wanted]
    if not check_mode:
        _remove([os.path.join(path, name) for name in ours], path, program)
        directory.remove_empty(path, account)  # also one that a run created only to lock it
    others = sorted(name for name in names if not _is_ours(name) and not name.endswith(".pgops-new"))
    if not ours:
        return []
    return [f"{path}: removed" + (f", except for what others put there: {', '.join(others)}" if others else "")]


def _is_ours(name: str) -> bool:
    """Return whether this collection created it; damaged journals have a suffix."""
    return name.partition(ASIDE)[0] in _OURS


def _remove(paths: Iterable[str], within: str, program: str) -> None:
    """Remove what nothing uses any more. Raises TlsError: the transaction is committed, so nothing is restored."""
    try:
        for path in paths:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
    except OSError as error:
        subject = program[0].upper() + program[1:]
        raise TlsError(
            f"{error.filename or within}: {error.strerror or error}. {subject} no longer uses this collection, but "
            f"{within} is only partly removed, and keys may be left in it.",
            remedy="Fix that (permissions, kind of file system), then rerun: the next run removes the rest.",
            code="directory_not_removed",
            changed=True,
        ) from error
