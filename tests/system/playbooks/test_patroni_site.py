# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Patroni cluster as the servers of site.yml, with the REST API of each member: its whole life."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import patroni
from ansible_collections.pgops.tls.tests.patroni import Member, Team
from ansible_collections.pgops.tls.tests.restapis import RestApi
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP
from ansible_collections.pgops.tls.tests.system.conftest import programs

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("patroni") or not shutil.which("etcd"), reason="there is no Patroni here"),
]
CHANGE = "Bring the REST API of Patroni to its declared state"


def playbook(name: str) -> list[dict[str, str]]:
    return [{"ansible.builtin.import_playbook": f"pgops.tls.{name}"}]


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with patroni.running(programs()) as running:
        running.leader.psql("CREATE ROLE app LOGIN")
        yield running


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], team: Team) -> Any:
    return site_on(team.members[0])


def run(
    site: Any, team: Team, *options: str, names: Any = ("localhost", "127.0.0.1"), **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run site.yml, or another playbook; no output may hold the password in patroni.yml."""
    inventory = site.inventory()
    for host, member in zip(("db1", "db2"), team.members):
        inventory["postgres_servers"]["hosts"][host] = site.server_on(member, *names)
    # Patroni's own rule lets everybody on this machine in as postgres
    own = {"postgres_server_plaintext": "allow", "postgres_ca_outside_trust": "none"}
    own["postgres_verify_other_role"] = "replicator"
    managed = {"postgres_server_patroni_api": True}
    done: subprocess.CompletedProcess[str] = site.run(
        "-v", *options, inventory=inventory, **{**own, **managed, **variables}
    )
    assert patroni.SECRET not in done.stdout + done.stderr
    return done


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host, of a run without a failure."""
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(changed) for host, changed, _unreachable, _failed in RECAP.findall(done.stdout)}


def served(team: Team) -> list[str]:
    return [RestApi(member).served() for member in team.members]


def order(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the hosts whose REST API a run has looked at, one after the other."""
    parts = [part for part in done.stdout.split("TASK [") if CHANGE in part]
    return [host for part in parts for host in re.findall(r"^(?:changed|ok): \[(\w+)\]", part, re.MULTILINE)]


def name_of(team: Team, member: Member) -> str:
    return f"db{team.members.index(member) + 1}"


@ONLY_THOROUGH
def test_a_host_that_is_no_name_of_the_server_fails_that_step_alone_and_nothing_changes_there(
    site: Any, team: Team
) -> None:
    done = run(site, team, names=["localhost"])
    assert done.returncode == 2
    told = " ".join((done.stdout + done.stderr).split())
    assert "(patroni): " in told
    assert "and '127.0.0.1' is none of the names of this server (localhost)" in told
    assert "Add it to postgres_server_extra_names, as {name: 127.0.0.1, from: []}" in told
    assert served(team) == ["", ""]
    assert (team.members[0].home / "tls" / "current" / "server.crt").exists(), "the server itself is set up"


@ONLY_THOROUGH
def test_check_mode_says_what_a_run_would_do(site: Any, team: Team) -> None:
    before = [member.config.read_text() for member in team.members]
    done = run(site, team, "--check", "--diff")
    assert all(changes(done)[host] for host in ("db1", "db2"))
    assert "+  certfile: " in done.stdout
    assert [member.config.read_text() for member in team.members] == before
    assert served(team) == ["", ""]


def test_a_run_sets_up_one_member_after_the_other_and_the_next_one_asks_nobody(site: Any, team: Team) -> None:
    leader, replica = name_of(team, team.leader), name_of(team, team.replica)
    done = run(site, team)
    assert all(changes(done)[host] for host in ("db1", "db2"))
    assert order(done) == [replica, leader]
    first = served(team)
    assert not {"", "silent"} & set(first)
    assert name_of(team, team.leader) == leader
    done = run(site, team)
    assert changes(done) == {"db1": 0, "db2": 0, "app1": 0}
    assert CHANGE not in done.stdout, "nobody is asked a second time"
    assert served(team) == first


@ONLY_THOROUGH
def test_a_renewal_is_signed_with_that_of_the_servers(site: Any, team: Team) -> None:
    first, before = served(team), team.leader
    done = run(site, team, postgres_server_renew=True)
    assert all(changes(done)[host] for host in ("db1", "db2"))
    assert done.stdout.count("pgops.tls.postgres_ca : Sign the requests of all hosts of the play") == 1
    assert not set(first) & set(served(team))
    assert team.leader is before
    assert changes(run(site, team)) == {"db1": 0, "db2": 0, "app1": 0}


def test_an_authority_of_postgresqls_clients_stops_the_run_before_any_host(site: Any, team: Team) -> None:
    first = served(team)
    done = run(site, team, postgres_server_patroni_authority="client")
    assert done.returncode == 2
    assert "With their certificates they could send commands to Patroni" in " ".join(done.stdout.split())
    assert served(team) == first


@ONLY_THOROUGH
def test_all_roots_are_replaced_and_the_rest_apis_follow(site: Any, team: Team) -> None:
    first, before = served(team), team.leader
    trusted = [roots(member) for member in team.members]
    done = run(site, team, playbook=playbook("rotate_ca"))
    assert done.returncode == 0, done.stdout + done.stderr
    for member, (servers, clients) in zip(team.members, trusted):
        assert not set(roots(member)[0]) & set(servers)
        assert not set(roots(member)[1]) & set(clients)
        assert RestApi(member).look("/liveness") is not None
    assert not set(first) & set(served(team))
    assert team.leader is before
    assert changes(run(site, team)) == {"db1": 0, "db2": 0, "app1": 0}


def roots(member: Member) -> tuple[list[str], list[str]]:
    """Return the fingerprints of the roots that clients of a REST API trust, and that it trusts for them."""
    files = ((member.home / "tls" / "patroni" / "current" / name) for name in ("root.crt", "trusted-clients.crt"))
    read = [certificate.read_pem(path.read_text(), path.name) for path in files]
    servers, clients = ([one.sha256 for one in found if one.is_self_issued] for found in read)
    return servers, clients


@ONLY_THOROUGH
def test_the_way_back_and_the_way_out(site: Any, team: Team) -> None:
    changes(run(site, team, postgres_server_renew=True))
    newest = served(team)
    changes(run(site, team, "--limit", "postgres_servers", playbook=playbook("roll_back")))
    assert not set(newest) & set(served(team))
    changes(run(site, team, "--limit", "all", playbook=playbook("remove")))
    assert served(team) == ["", ""]
    for member in team.members:
        found = yaml.safe_load(member.config.read_text())
        assert "ctl" not in found
        assert not (member.home / "tls" / "patroni").exists()


@ONLY_THOROUGH
def test_without_the_variable_a_run_tells_of_plaintext(site: Any, team: Team) -> None:
    done = run(site, team, postgres_server_patroni_api=False)
    assert changes(done)["db1"]
    assert "offers no TLS. Its passwords and commands travel in plaintext" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert served(team) == ["", ""]
