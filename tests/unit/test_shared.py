# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many tests rely on to tell when a process has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.pgops.tls.tests.shared import ends, is_running

ONE_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_a_process_runs_as_long_as_one_of_its_threads_and_has_ended_before_its_parent_looks() -> None:
    with subprocess.Popen([sys.executable, "-c", ONE_THREAD_ENDS]) as process:
        while state(process.pid) != "Z":
            pass
        assert is_running(process.pid)
        process.kill()
        assert ends(process.pid)
        assert state(process.pid) == "Z"
    assert not is_running(process.pid)
