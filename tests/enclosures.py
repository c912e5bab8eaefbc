# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of this machine with mounts of its own, which nobody else sees and which end with it.

It is a user namespace with all user ids of this machine. So it takes no right that a container's root does not have.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ALL = "0 0 65536"  # every user id is itself inside; so are groups


@dataclass
class Enclosure:
    """The namespaces of a process."""

    pid: int

    def within(self, directory: Path | str = "/") -> list[str]:
        """Return what begins a command that is to run in there, with this working directory."""
        enter = ["nsenter", f"--target={self.pid}", "--user", "--mount", "--setuid=0", "--setgid=0", "--"]
        return [*enter, "env", f"--chdir={directory}"]

    def run(self, script: str, *arguments: object) -> str:
        """Run a shell script as root in there; it has to succeed. Return its output."""
        command = [*self.within(), "sh", "-ec", script, "sh", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def enclosure() -> Iterator[Enclosure]:
    """Make namespaces; what was mounted in them ends with them."""
    command = ["unshare", "--user", "--mount", "sh", "-c", "echo made; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "made\n":
                pytest.skip("this machine allows no user namespaces")
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{process.pid}/{name}").write_text(_ALL, encoding="ascii")
            yield Enclosure(process.pid)
        finally:
            process.kill()
