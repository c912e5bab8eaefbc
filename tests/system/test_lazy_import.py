# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that is loaded late, in a process of root that acts as a user who cannot read where the code is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.pgops.tls.plugins.module_utils"
PROGRAM = f"""
import os
from {PACKAGE}.core.lazy_import import lazy_import
from {PACKAGE}.core.privileges import acting_as
from {PACKAGE}.core.processes import account
durations = lazy_import("core.durations")
with acting_as(account("nobody", "x")):
    ids = os.geteuid(), os.getegid()
    assert durations.seconds("1d", "x") == 86400
    assert (os.geteuid(), os.getegid()) == ids
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_code_is_loaded_that_only_root_can_read_and_nothing_else_is_done_as_root(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(PLUGINS / "module_utils", archive / PACKAGE.replace(".", "/"))
    archive.chmod(0o700)
    # an interpreter that everybody can read, as on a managed host
    done = subprocess.run(
        ["/usr/bin/python3", "-c", PROGRAM],
        env={"PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
