# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clusters on one host, and the authorities on a host of the inventory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CA = "/home/ops/postgres-ca"


def test_each_cluster_has_a_key_and_a_certificate_of_its_own(fleet: Any) -> None:
    main, second = (
        fleet.output("pg15", "cat", f"/etc/postgresql/tls/{port}/current/server.key") for port in (5432, 5433)
    )
    assert main != second


def test_clients_reach_both_clusters_by_the_same_name(fleet: Any) -> None:
    for port in (5432, 5433):
        target = f"host=pg15.example.test port={port} user=app dbname=app sslmode=verify-full"
        done = fleet.psql("app1", target, "SHOW port")
        assert done.stdout == f"{port}\n", done.stderr


def test_both_clusters_survive_a_restart(fleet: Any) -> None:
    for cluster in ("main", "second"):
        fleet.output("pg15", "pg_ctlcluster", "15", cluster, "restart")


def test_the_authorities_are_where_they_were_wanted_and_nowhere_else(fleet: Any) -> None:
    listing = fleet.output("app2", "find", CA, "-name", "*.key", "-printf", "%m %u %P\n").splitlines()
    assert sorted(listing) == [
        f"600 ops {name}/0001/{key}.key" for name in ("client", "server") for key in ("issuing", "root")
    ]
    assert not Path(os.environ["ANSIBLE_HOME"], "fleet-ca").exists()
    assert fleet.inside("app1", "test", "-e", CA).returncode == 1


def test_the_ledger_has_a_line_for_each_cluster_and_identity(fleet: Any) -> None:
    ledger = fleet.output("app2", "cat", f"{CA}/ledger.jsonl").splitlines()
    assert len(ledger) == 3 + 4
    assert "PRIVATE KEY" not in "".join(ledger)
