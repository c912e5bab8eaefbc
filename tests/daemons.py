# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services beside PostgreSQL that use certificates of the collection: started by scripts that after_change can call."""

from __future__ import annotations

import os
import pwd
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Service(NamedTuple):
    """A program that runs as an OS user. ``script`` (start, reload) is what after_change calls."""

    name: str
    folder: Path
    os_user: str

    @classmethod
    def written(cls, folder: Path, os_user: str, name: str, command: str) -> Service:
        """Write the script of a service. ``command`` is a line of the shell, or several that end in one."""
        made = cls(name, folder, os_user)
        folder.mkdir(mode=0o755)
        script = f"""#!/bin/sh
# {name}: restart or reload
cd {folder} || exit 1
if [ "$1" = reload ]; then exec kill -HUP "$(cat pid)"; fi
[ -e pid ] && kill "$(cat pid)" 2>/dev/null && sleep 0.3
{command} >> log 2>&1 &
echo $! > pid
sleep 0.5
kill -0 "$(cat pid)" || {{ cat log; exit 1; }}
"""
        made.script.write_text(script)
        made.script.chmod(0o755)
        account = pwd.getpwnam(os_user)
        os.chown(folder, account.pw_uid, account.pw_gid)
        return made

    @property
    def script(self) -> Path:
        return self.folder / "service"

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """Stop it, if it runs."""
        if not (self.folder / "pid").exists():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            time.sleep(0.5)


def run_as(os_user: str, *argv: object) -> subprocess.CompletedProcess[str]:
    """Run a command as an OS user. Not by runuser: each session of it starts a manager of its own."""
    account = pwd.getpwnam(os_user)
    return subprocess.run(
        [*map(str, argv)],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "HOME": account.pw_dir, "LC_ALL": "C"},
    )


def fetch(url: str, roots: Path, pair: Sequence[Path] = ()) -> str:
    """Return what a page says to somebody who verifies its name and shows this certificate and key."""
    context = ssl.create_default_context(cafile=str(roots))
    if pair:
        context.load_cert_chain(*map(str, pair))
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:  # noqa: S310 (a URL of the test's own)
        return str(answer.read().decode())
