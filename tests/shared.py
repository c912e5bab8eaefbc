# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of different kinds mean by the same name."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".ansible" / "collections"
ROLE_FOLDERS = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
SITE = ROOT / "playbooks" / "site.yml"

DAY = 86_400
FIVE_YEARS = 5 * 365 * DAY
NOW = 1_800_000_000  # Unix seconds, for tests that do not look at the clock
PASSPHRASE = "never-to-be-seen-4711"

AUTHORITY_NAMES = ("server", "client")
PHASES = ("stage", "switch", "retire", "finish")
STEPS = ("stage", "switch", "retire", "retire", "finish")  # the calls that it takes: retire is two

IS_THOROUGH = bool(os.environ.get("ALL_FAULTS"))  # as make test-all sets it
STEP = 1 if IS_THOROUGH else 5  # from one point at which a long transaction dies, or fails, to the next
ONLY_THOROUGH = pytest.mark.skipif(not IS_THOROUGH, reason="make test-all sets ALL_FAULTS: it takes a minute or more")

RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
SILENT = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}  # a host that refuses at once
# In place of ssh: it notes whom it is to call, and runs the command here
LOCAL_SSH = """#!/bin/sh
for word; do before=$last; last=$word; done
echo "$before" >> {log}
exec sh -c "$last"
"""
# Sums up all files of a host that a run could write to, without those of logins and of the database itself
FILES = (
    "{ find /etc /home /root -path '*/.ansible*' -prune -o -type f -printf '%p %i %T@ %s\\n'; find /var/lib/postgresql "
    "\\( -path '*/pg_*' -o -path '*/base' -o -path '*/global' \\) -prune -o -type f -printf '%p %i %T@ %s\\n'; } "
    "| sort | sha256sum"
)


def is_running(pid: int) -> bool:
    """Return whether a process exists and has not ended: one that has ended stays until its parent looks at it.

    While another of its threads still ends, as that of PgBouncer for names does, its files and ports are open.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Return whether a process that was killed ends within half a minute: a busy machine takes a moment."""
    deadline = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)
