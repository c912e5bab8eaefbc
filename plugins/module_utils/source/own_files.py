# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when the files that belong to a source cannot be read or written. The authorities have their own."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


@contextlib.contextmanager
def explained(place: str, directory: str) -> Iterator[None]:
    """Have OSErrors become TlsErrors that name a source by its ``place``, and ``directory`` if they name no file."""
    try:
        yield
    except OSError as error:
        raise TlsError(
            f"{place}: {error.filename or directory}: {error.strerror or error} (as user id {os.geteuid()}).",
            remedy="Correct its owner, its mode or the free space, then rerun.",
            code="source_files_unusable",
        ) from error
