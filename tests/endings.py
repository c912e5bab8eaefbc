# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How runs of playbooks have to end, and what they printed."""

from __future__ import annotations

import subprocess

Run = subprocess.CompletedProcess[str]


def well(done: Run) -> str:
    """Return the output of a run that went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(done: Run) -> str:
    """Return the output of a run that a host's failure ended, see ``as_line``."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return as_line(done)


def as_line(done: Run) -> str:
    """Return the output without line breaks, which Ansible puts where a terminal ends, and without JSON's escapes."""
    return " ".join((done.stdout + done.stderr).replace("\\n", " ").replace('\\"', '"').split())
