# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command, reaps all that it leaves behind, and ends all of it when this is told to, or when its parent dies.

Usage: reaper.py COMMAND... A Patroni waits forever for a PostgreSQL that nobody has reaped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def children() -> list[int]:
    """Return the processes whose parent this is now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1] == str(os.getpid()):
                found.append(int(path.parent.name))
    return found


def end(*_signal: object) -> None:
    """Kill everything below; what loses its parent comes here."""
    while True:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)


def main() -> None:
    """Run the command until somebody ends this."""
    libc = ctypes.CDLL(None)
    signal.signal(signal.SIGTERM, end)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    with subprocess.Popen(sys.argv[1:], start_new_session=True):
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                signal.pause()


if __name__ == "__main__":
    main()
