# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is down or paused stops itself alone: others are renewed, nobody fails over, and the next run is clean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from ansible_collections.pgops.tls.tests.services.conftest import HOSTS, MEMBERS, POOLERS, Begun, Cluster, Fleet, until

RENEW = {"postgres_server_renew": True, "postgres_pooler_renew": True}


@pytest.fixture
def quiet(fleet: Fleet, begun: Begun) -> Iterator[Fleet]:
    """Give the fleet; afterwards roles are as before, and a run has nothing to do."""
    assert begun.second.status == 0
    before = {name: (one.leader, one.timeline) for name, one in _clusters(fleet).items()}
    yield fleet
    run = fleet.site()
    assert run.status == 0, run.output[-8000:]
    assert run.changed == dict.fromkeys(HOSTS, 0)
    assert {name: (one.leader, one.timeline) for name, one in _clusters(fleet).items()} == before


def _clusters(fleet: Fleet) -> dict[str, Cluster]:
    return {name: fleet.cluster(name) for name in ("shop", "billing")}


@contextlib.contextmanager
def stopped(fleet: Fleet, host: str, unit: str) -> Iterator[None]:
    """Stop a program of a host for as long as the context lasts."""
    fleet.inside(host, "systemctl", "stop", unit)
    try:
        yield
    finally:
        fleet.inside(host, "systemctl", "start", unit)


def served(fleet: Fleet, host: str, port: int) -> str:
    """Return the fingerprint that a server or pooler shows to openssl."""
    connect = f"openssl s_client -starttls postgres -connect 127.0.0.1:{port} </dev/null 2>/dev/null"
    return fleet.inside(host, "sh", "-c", f"{connect} | openssl x509 -noout -fingerprint")


def test_a_member_that_is_down_is_named_and_everybody_else_is_renewed(quiet: Fleet) -> None:
    leader, member, *_others = quiet.leader("shop"), *quiet.standbys("shop")
    others = {one: served(quiet, one, 5432) for one in MEMBERS if one != member}
    before = served(quiet, member, 5432)
    with stopped(quiet, member, "patroni"):
        run = quiet.site(**RENEW)
    quiet.all_follow(leader)
    assert run.status == 2
    assert f"{member} (server)" in run.output, run.output[-8000:]
    assert served(quiet, member, 5432) == before
    assert [one for one, shown in others.items() if served(quiet, one, 5432) == shown] == []


def test_a_pooler_that_is_down_is_named_and_everybody_else_is_renewed(quiet: Fleet) -> None:
    down, other = POOLERS
    before = {one: served(quiet, one, 6432) for one in POOLERS}
    with stopped(quiet, down, "pgbouncer"):
        run = quiet.site(**RENEW)
    until(lambda: quiet.execute(down, "pgrep", "-x", "pgbouncer").returncode == 0, lambda: down)
    assert run.status == 2
    assert f"{down} (pooler)" in run.output, run.output[-8000:]
    assert served(quiet, down, 6432) == before[down]
    assert served(quiet, other, 6432) != before[other]


def test_a_paused_cluster_is_renewed_like_another(quiet: Fleet) -> None:
    before = {one: served(quiet, one, 5432) for one in MEMBERS}
    quiet.patronictl("pause", "shop", "--wait")
    try:
        run = quiet.site(**RENEW)
    finally:
        quiet.patronictl("resume", "shop", "--wait")
    assert run.status == 0, run.output[-8000:]
    assert [one for one, shown in before.items() if served(quiet, one, 5432) == shown] == []
