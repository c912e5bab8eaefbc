# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything is renewed, all roots are replaced, roles swap and somebody is revoked, while programs use the fleet.

A switchover of Patroni drops connections by itself: the old leader restarts, and for some seconds nobody can be written
to. How many, and for how long, is measured once without a run, and then held against one in the middle of a run.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.services import load
from ansible_collections.pgops.tls.tests.services.conftest import CLUSTERS, CURRENT, HOSTS, MEMBERS, Begun, Fleet
from ansible_collections.pgops.tls.tests.services.load import Phase, under_load
from ansible_collections.pgops.tls.tests.shared import ROOT

RENEW = {"postgres_server_renew": True, "postgres_client_renew": True, "postgres_pooler_renew": True}
ROTATE = ROOT / "playbooks" / "rotate_ca.yml"
ATTEMPTS = 5000
# What a switchover does to connections, whoever looks: no word of TLS or of certificates is among these
OF_A_SWITCHOVER = (
    "the database system is starting up",
    "the database system is shutting down",
    "the database system is not yet accepting connections",
    "terminating connection due to administrator command",
    "server closed the connection unexpectedly",
    "Connection refused",
    "Connection reset by peer",
    "server login has been failing",  # as PgBouncer words it
    "SSL SYSCALL error: EOF detected",
)
SLACK = 10.0  # seconds that two switchovers may differ: Patroni acts once per loop_wait, PgBouncer tries once a second
QUIET = ("renewal", "rollover", "revocation")
PHASES = ("renewal", "rollover", "switchover alone", "switchover in a renewal", "revocation")


@pytest.fixture(scope="module")
def phases(fleet: Fleet, begun: Begun, printed: list[str]) -> dict[str, Phase]:
    """Do everything under load, one thing after the other; all else looks at what became of it."""
    assert begun.second.status == 0
    found: dict[str, Phase] = {}

    def do(name: str, work: Callable[[], Any], leaver: str = "") -> None:
        found[name] = under_load(fleet, name, work, leaver)
        printed.extend(found[name].lines())

    do("renewal", lambda: fleet.site(**RENEW))
    do("rollover", lambda: fleet.playbook(ROTATE, postgres_ca_outside_trust="none"))
    do("switchover alone", fleet.switch_over)
    do("switchover in a renewal", lambda: renewal_with_a_switchover(fleet))
    stolen = load.steal(fleet)
    fleet.declare(without_leaver(fleet.declared))
    do("revocation", lambda: fleet.site(postgres_server_on_lockout="allow"), stolen)
    total = sum(one.attempts for one in found.values())
    printed.append(
        f"in all phases: {total} new connections, {sum(one.faults.total() for one in found.values())} failed"
    )
    return found


def renewal_with_a_switchover(fleet: Fleet) -> tuple[Any, Any]:
    """Renew everything, and have roles swap as soon as the first member has its new certificate; then run again."""
    swapped: list[str] = []

    def swap() -> None:
        load.wait_for_a_switch(fleet, MEMBERS, CURRENT)
        swapped.append(fleet.switch_over())

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        run = fleet.site(**RENEW)
    finally:
        thread.join(300)
    assert len(swapped) == 1
    return run, fleet.site()


def without_leaver(inventory: dict[str, Any]) -> dict[str, Any]:
    """Return the inventory from which somebody has left, and is to be let in no more."""
    changed = copy.deepcopy(inventory)
    changed["all"]["vars"]["postgres_ca_revoked"] = [{"role": "leaver"}]
    app3 = changed["all"]["children"]["postgres_clients"]["hosts"]["app3"]
    app3["postgres_client_identities"] = [one for one in app3["postgres_client_identities"] if one["role"] != "leaver"]
    return changed


@pytest.mark.parametrize("name", QUIET)
def test_every_run_ends_well(phases: dict[str, Phase], name: str) -> None:
    assert phases[name].done.status == 0, phases[name].done.output[-8000:]


def test_the_next_run_brings_everything_to_the_end_that_a_switchover_has_disturbed(
    phases: dict[str, Phase], printed: list[str]
) -> None:
    disturbed, after = phases["switchover in a renewal"].done
    failed = "" if disturbed.status == 0 else disturbed.output[-3000:]
    printed.append(f"the run with a switchover in its middle ended with status {disturbed.status} {failed}".strip())
    assert after.status == 0, disturbed.output[-8000:] + after.output[-8000:]


def test_a_run_after_all_of_it_changes_nothing(phases: dict[str, Phase], fleet: Fleet) -> None:
    assert set(phases) == set(PHASES)
    run = fleet.site()
    assert run.status == 0, run.output[-8000:]
    assert run.changed == dict.fromkeys(HOSTS, 0)


@pytest.mark.parametrize("name", QUIET)
def test_no_connection_fails_and_no_session_is_dropped(phases: dict[str, Phase], name: str) -> None:
    phase = phases[name]
    assert len(phase.of("loop")) == len(phase.of("session")) == sum(map(len, load.LOAD.values()))
    assert phase.faults == {}
    assert phase.dropped == []


@pytest.mark.parametrize("name", QUIET)
def test_nothing_that_was_written_is_lost(phases: dict[str, Phase], name: str) -> None:
    for one in phases[name].written.values():
        assert one.aborted == []
        assert one.found == one.processed > load.RATE


def test_a_switchover_in_a_renewal_costs_what_a_switchover_costs(phases: dict[str, Phase]) -> None:
    alone, within = phases["switchover alone"], phases["switchover in a renewal"]
    assert alone.faults, "else nothing was measured"
    for phase in (alone, within):
        words = [*phase.faults, *phase.dropped]
        assert [one for one in words if not any(known in one for known in OF_A_SWITCHOVER)] == []
    assert within.longest_gap <= alone.longest_gap + SLACK


def test_there_were_enough_attempts(phases: dict[str, Phase]) -> None:
    assert sum(one.attempts for one in phases.values()) >= ATTEMPTS


@pytest.mark.parametrize("name", PHASES)
def test_every_standby_streams_and_connects_again_with_its_current_certificate(
    phases: dict[str, Phase], name: str
) -> None:
    for cluster, hosts in CLUSTERS.items():
        used, own = phases[name].shown[cluster]
        assert used == own
        assert len(own) == len(hosts) - 1
        assert len(set(phases[name].replicated[cluster].values())) == 1


@pytest.mark.parametrize("name", QUIET)
def test_no_run_makes_patroni_fail_over(phases: dict[str, Phase], name: str) -> None:
    for cluster in CLUSTERS:
        before, after = phases[name].before[cluster], phases[name].after[cluster]
        assert (after.leader, after.timeline) == (before.leader, before.timeline)


@pytest.mark.parametrize("name", QUIET)
def test_the_standbys_of_patroni_never_stop_to_stream(phases: dict[str, Phase], name: str) -> None:
    streamed = phases[name].streamed["shop"]
    assert set(streamed) == {len(MEMBERS) - 1}
    assert streamed.total() > 5


def test_a_switchover_is_one_step_in_the_history(phases: dict[str, Phase]) -> None:
    for name in ("switchover alone", "switchover in a renewal"):
        before, after = phases[name].before["shop"], phases[name].after["shop"]
        assert int(after.timeline) == int(before.timeline) + 1
        assert after.leader != before.leader


def test_who_was_revoked_is_refused_from_then_on_with_a_copy_of_the_files_too(phases: dict[str, Phase]) -> None:
    (loop,) = phases["revocation"].of("loop", leaver=True)
    faults = {fault: count for fault, count in loop["counts"].items() if fault}
    assert 0 < loop["last_success"] < loop["first_fault"]
    assert sum(faults.values()) > 10
    assert all("revoked" in fault for fault in faults), faults
