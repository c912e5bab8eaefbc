# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that the other tests stand on."""

from __future__ import annotations

from typing import Any


def test_a_cluster_answers_and_reloads(cluster: Any) -> None:
    assert cluster.psql("SELECT 1") == "1"
    cluster.append("postgresql.conf", "work_mem = '123kB'\n")
    cluster.reload()
    assert cluster.psql("SHOW work_mem") == "123kB"


def test_a_bad_rule_is_in_the_log_after_a_reload(cluster: Any) -> None:
    cluster.hba("host all all nonsense")
    cluster.reload()
    assert "pg_hba.conf was not reloaded" in cluster.log()
