# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Patroni that runs a server: found among the processes of the server's OS user, by what they were started with."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_list

_SCRIPTS = ("patroni", "patroni.py")  # the second one, and python -m patroni, without an installation


class Patroni(NamedTuple):
    """A process, the Python that runs it, and its configuration file."""

    pid: int
    python: str
    config: str


def find(uid: int, data_directory: str) -> Patroni | None:
    """Return the Patroni whose configuration names this data directory; the postmaster is no child of it.

    As PID 1 of a container, Patroni runs in a child of the same command line, and passes signals on to it.
    """
    wanted = os.path.realpath(data_directory)
    return next((one for one in running(uid) if _data_directory(one.config) == wanted), None)


def running(uid: int) -> Iterator[Patroni]:
    """Return the Patronis of an OS user, oldest first."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):  # it has ended
            if os.stat(f"/proc/{pid}").st_uid != uid:
                continue
            command = os.fsdecode(files.read(f"/proc/{pid}/cmdline") or b"").split("\0")
            found = started(command)
            if found:
                yield Patroni(pid, command[0], os.path.join(os.readlink(f"/proc/{pid}/cwd"), found))


def started(command: Sequence[str]) -> str:
    """Return the configuration file that a command line of Patroni names, '' for any other command line."""
    names = [os.path.basename(word) for word in command]
    script = next((at for at, name in enumerate(names) if name in _SCRIPTS), 0)
    if not script or not names[0].startswith("python"):
        return ""
    return next((word for word in command[script + 1 :] if word and word[0] != "-"), "")


def signal_reload(patroni: Patroni, uid: int) -> None:
    """Tell Patroni to read its configuration again, through the gate (``gate.py``) alone. Raises TlsError."""
    try:
        if os.stat(f"/proc/{patroni.pid}").st_uid != uid:
            raise ProcessLookupError
        os.kill(patroni.pid, signal.SIGHUP)
    except OSError as error:
        raise TlsError(
            f"Patroni (process {patroni.pid}, {patroni.config}) has ended during this run.",
            remedy="Start it, then rerun.",
            code="patroni_not_running",
        ) from error


def _data_directory(config: str) -> str:
    """Return the data directory that a configuration file names, '' if it names none that can be read."""
    try:
        text = (files.read(config) or b"").decode("utf-8")
        return os.path.realpath(found) if (found := yaml_list.scalar(text, "data_dir", config)) else ""
    except (TlsError, OSError, UnicodeDecodeError):
        return ""
