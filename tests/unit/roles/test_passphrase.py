# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passphrase of the authorities goes to modules through a pipe: without pipelining, Ansible writes it to a file."""

from __future__ import annotations

from pathlib import Path

import yaml

TASKS = Path(__file__).resolve().parents[3] / "roles" / "postgres_ca" / "tasks"


def test_every_task_that_is_given_the_passphrase_is_pipelined() -> None:
    tasks = [task for path in TASKS.glob("*.yml") for task in yaml.safe_load(path.read_text(encoding="utf-8"))]
    told = [task for task in tasks if "postgres_ca_passphrase" in str(task)]
    assert len(told) == 3
    assert [task["name"] for task in told if task.get("vars", {}).get("ansible_pipelining") is not True] == []
