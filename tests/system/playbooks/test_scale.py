# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs the controller grows with the hosts, and not faster: on hosts that do not exist (tests/scale)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from ansible_collections.pgops.tls.tests.scale.fleet import Cost, Fleet, running
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

FEW, MANY = 4, 12  # servers, and as many client hosts
OF_CLIENT = 21  # connections: to each of four servers 5, and one of libpq's own files
TRIES = 3
MOST = 3.0  # times the floor, on so few hosts; make bench has the targets for many


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Make a fleet."""
    with running(MANY) as made:
        yield made


@pytest.fixture(scope="module")
def first(fleet: Fleet) -> Cost:
    """Set it up."""
    return fleet.first()


def changed(fleet: Fleet) -> set[str]:
    return {
        host for host, count in re.findall(r"^(\S+) +: .*changed=(\d+)", fleet.output, re.MULTILINE) if count != "0"
    }


def test_each_host_gets_its_certificates_in_two_executions(fleet: Fleet, first: Cost) -> None:
    assert changed(fleet) == {*fleet.servers, *fleet.clients}
    assert {first.executions[host] for host in fleet.servers} == {2}
    assert {first.executions[host] for host in fleet.clients} == {3}


def test_a_run_that_changes_nothing_is_one_execution_on_each_host_and_one_to_verify(fleet: Fleet, first: Cost) -> None:
    assert first.executions
    found = fleet.site()
    assert changed(fleet) == set()
    assert {found.executions[host] for host in fleet.servers} == {1}
    assert {found.executions[host] for host in fleet.clients} == {2}
    count = MANY * OF_CLIENT
    assert f"{count} connections from {MANY} client hosts: {count} as expected" in fleet.output


@ONLY_THOROUGH
def test_its_ratio_to_the_least_that_ansible_costs_does_not_grow_with_the_hosts(fleet: Fleet, first: Cost) -> None:
    assert first.executions
    seen: list[dict[int, float]] = []
    # Beside other tests a measurement varies by a fifth; work with the square doubles the ratio, each time
    while not seen or seen[-1][MANY] >= min(1.15 * seen[-1][FEW], MOST):
        assert len(seen) < TRIES, seen
        seen.append(ratios_of(fleet))


def ratios_of(fleet: Fleet) -> dict[int, float]:
    """Return the CPU time of a run that changes nothing over that of the floor, by the number of servers."""
    ratios = {}
    for servers in (FEW, MANY):
        part = fleet.part(servers)
        run = part.site()
        ratios[servers] = run.cpu / part.floor(run.executions).cpu
    return ratios
