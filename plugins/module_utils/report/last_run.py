# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run of playbook site ended last without a failure: that run notes it beside the report, for the next one."""

from __future__ import annotations

import json
import os

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, files

NAME = "last-run.json"
_KEY = "ended_without_failure"
_MODE = 0o644  # as the report
_PATIENCE = 5.0  # seconds for a report that is being written


def note(directory: str, now: int) -> None:
    """Note that a run has ended without a failure. ``now`` is in Unix seconds. Raises TlsError, OSError."""
    text = json.dumps({_KEY: clock.instant(now)}) + "\n"
    with files.locked(directory, _PATIENCE):
        files.write_atomically(os.path.join(directory, NAME), text.encode("ascii"), _MODE)


def read(directory: str) -> str | None:
    """Return when that was, None if no run has noted it, or if the note cannot be read: the next run replaces it."""
    try:
        found = json.loads(files.read(os.path.join(directory, NAME)) or b"{}")
        return clock.instant(clock.seconds(found[_KEY]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
