# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that only "make test-all" runs can be imported: else nobody would notice before that."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.pgops.tls.tests.shared import ROOT

FOLDERS = ("clusters", "examples", "matrix", "pictures", "services")


def test_all_tests_of_a_folder_are_found() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *(f"tests/{name}" for name in FOLDERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"tests/{name}/test_" in done.stdout for name in FOLDERS)
