# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the authorities as a whole: its path, its owner and its lock."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option


@contextlib.contextmanager
def opened(directory: str) -> Iterator[None]:
    """Hold the lock of the authorities' directory, if it exists; its OSErrors become TlsErrors that say what to do."""
    with explained(directory), files.locked(directory) if os.path.isdir(directory) else contextlib.nullcontext():
        yield


def make(directory: str) -> None:
    """Make the directory of the authorities, for its owner only. Raises TlsError."""
    with explained(directory):
        files.make_directory(directory, 0o700)


@contextlib.contextmanager
def explained(directory: str) -> Iterator[None]:
    """Have OSErrors become TlsErrors that say what to do."""
    try:
        yield
    except OSError as error:
        raise TlsError(
            f"{error.filename or directory}: {error.strerror or error} (as user id {os.geteuid()}). Expected a "
            f"directory {directory} that this user can read and write, with free space.",
            remedy=_ownership(directory),
            code="directory_unusable",
        ) from error


def _ownership(directory: str) -> str:
    """Return whose a directory is that another user has made, such as a run as root."""
    try:
        owner = os.stat(directory).st_uid
    except OSError:
        return ""
    if owner == os.geteuid():
        return ""
    return (
        f"It belongs to user id {owner}. On the controller, the authorities must belong to the user that runs "
        "Ansible, because ansible_become has no effect there. Run Ansible as that user, or change the owner of this "
        "directory and of everything in it."
    )


def check_path(directory: str) -> None:
    """Raise TlsError for a directory that is not absolute or that is another kind of file."""
    if not os.path.isabs(directory) or not directory.isprintable():
        raise TlsError(
            f"{option('directory')}: expected an absolute path, found {shown(directory)}.",
            remedy="Begin it with /.",
            code="path_not_absolute",
        )
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise TlsError(
            f"{directory}: expected a directory (or nothing yet), found another kind of file.", code="not_a_directory"
        )


def check_writable(directory: str) -> None:
    """Raise TlsError when the directory, or what is to be made for it, cannot be written to."""
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise TlsError(
            f"{directory}: expected a directory that user id {os.geteuid()} can write to, found another. "
            "Nothing was changed.",
            remedy="Correct its owner and mode, or choose another directory.",
            code="directory_not_writable",
        )
