# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Physical replication connections, as a standby makes them, tried by module connection_info."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.verification import report
from ansible_collections.pgops.tls.tests.checkers import Checker

REPLICATION = {"replication": True, "database": "replication"}
REPLICATION_REFUSALS = ("plaintext", "no_certificate", "foreign_certificate", "wrong_name", "foreign_root")


@pytest.fixture
def client(client: Any) -> Checker:
    """Return the client of a server that lets app replicate, and do nothing else."""
    client.cluster.psql("ALTER ROLE app REPLICATION")
    client.cluster.hba("hostssl replication app all cert", "host replication all all reject")
    client.cluster.reload()
    return Checker(client)


def test_replication_is_accepted_over_tls_and_every_kind_is_refused_for_its_reason(client: Checker) -> None:
    kinds = [client.refuse(kind, **REPLICATION) for kind in REPLICATION_REFUSALS]
    other = client.refuse("another_role", role="other", certificate_role="app", **REPLICATION)
    found = client.verify(client.expect(**REPLICATION), *kinds, other)
    assert {one["status"] for one in found} == {"ok"}, report.table({"here": {"checks": found}})
    assert found[0]["wanted"] == "accepted, replication"
    assert found[0]["protocol"] == "TLSv1.3"
    assert found[0]["cipher"].startswith("TLS_")


def test_plaintext_without_a_rule_for_it_is_refused_for_that(client: Checker) -> None:
    client.cluster.hba("hostssl replication app all cert")
    client.cluster.reload()
    _accepted, found = client.verify(client.expect(**REPLICATION), client.refuse("plaintext", **REPLICATION))
    assert (found["status"], found["reason"]) == ("ok", "no rule for plaintext")


def test_a_role_that_may_not_replicate_is_a_deviation(client: Checker) -> None:
    client.cluster.psql("ALTER ROLE app NOREPLICATION")
    (found,) = client.verify(client.expect(**REPLICATION))
    assert found["status"] == "deviation"
    assert "replication" in found["reason"].lower()


def test_replication_that_plaintext_is_let_in_to_is_a_deviation(client: Checker) -> None:
    client.cluster.hba("hostssl replication app all cert", "host replication all all trust")
    client.cluster.reload()
    _accepted, found = client.verify(client.expect(**REPLICATION), client.refuse("plaintext", **REPLICATION))
    assert (found["status"], found["reason"]) == ("deviation", "was accepted (without TLS)")


def test_it_leaves_standbys_their_senders(client: Checker) -> None:
    cluster = client.cluster
    cluster.append("postgresql.conf", "max_wal_senders = 3\n")
    cluster.stop("fast")
    cluster.start(cluster.port)
    found = client.verify(*[client.expect(**REPLICATION) for _number in range(10)])
    assert {one["status"] for one in found} == {"ok"}, report.table({"here": {"checks": found}})
