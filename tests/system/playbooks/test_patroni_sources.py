# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People sign the certificates of a Patroni cluster and of its REST API: each member goes on until its own has come."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import patroni
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.patroni import Team
from ansible_collections.pgops.tls.tests.restapis import RestApi
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP
from ansible_collections.pgops.tls.tests.system.conftest import programs

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("patroni") or not shutil.which("etcd"), reason="there is no Patroni here"),
    ONLY_THOROUGH,
]


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with patroni.running(programs()) as running:
        running.leader.psql("CREATE ROLE app LOGIN")
        yield running


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], team: Team) -> Any:
    """Give a site whose company signs by hand for servers."""
    found = site_on(team.members[0])
    found.company, found.requests = Company(found.directory / "company"), found.directory / "requests"
    return found


def run(site: Any, team: Team, **variables: Any) -> str:
    """Run site.yml, which has to end well; return its output in one line."""
    inventory = site.inventory()
    for host, member in zip(("db1", "db2"), team.members):
        inventory["postgres_servers"]["hosts"][host] = site.server_on(member)
    # Patroni's own rule lets everybody on this machine in as postgres
    own = {"postgres_server_plaintext": "allow", "postgres_verify_other_role": "replicator"}
    files = {"type": "files", "directory": str(site.requests), "roots": str(site.company.folder / "root.pem")}
    own |= {"postgres_server_patroni_api": True, "postgres_ca_sources": {"server": files}}
    site.done = site.run(inventory=inventory, **{**own, **variables})
    well(site.done)
    return as_line(site.done)


def changed(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {host: int(number) for host, number, _unreachable, _failed in RECAP.findall(done.stdout)}


def sign(site: Any, *names: str) -> None:
    for name in names:
        site.company.sign(site.requests / f"{name}.csr")


def served(team: Team) -> list[str]:
    return [RestApi(member).served() for member in team.members]


def issuers(team: Team, name: str) -> list[str]:
    """Return who has issued the certificates of all REST APIs (api), or of their clients (ctl)."""
    paths = [member.home / "tls" / "patroni" / "current" / f"{name}.crt" for member in team.members]
    return [certificate.read_pem(path.read_text(), str(path))[0].issuer_common_name for path in paths]


def serials(team: Team, name: str) -> list[int]:
    paths = [member.home / "tls" / "patroni" / "current" / f"{name}.crt" for member in team.members]
    return [certificate.read_pem(path.read_text(), str(path))[0].serial for path in paths]


def test_certificates_come_one_after_the_other_and_nothing_fails_meanwhile(site: Any, team: Team) -> None:
    asked = run(site, team)
    assert "Certificates that wait to be signed: 4." in asked
    assert served(team) == ["", ""]

    sign(site, "db1", "db2")
    of_servers = run(site, team)
    assert "Certificates that wait to be signed: 2." in of_servers
    assert f"db1/patroni-api: {site.requests}/db1+patroni-api.csr waits for its certificate" in of_servers
    assert served(team) == ["", ""]
    before = [member.config.read_text() for member in team.members]
    assert "Certificates that wait to be signed: 2." in run(site, team), "and so it does every night"
    assert set(changed(site.done).values()) == {0}
    assert [member.config.read_text() for member in team.members] == before

    sign(site, "db2+patroni-api")
    assert "Certificates that wait to be signed: 1." in run(site, team)
    assert [bool(one) for one in served(team)] == [False, True]
    sign(site, "db1+patroni-api")
    assert "wait to be signed" not in run(site, team)
    assert issuers(team, "api") == ["Company Issuing"] * 2
    assert [one.startswith("PostgreSQL patroni issuing CA") for one in issuers(team, "ctl")] == [True, True]
    assert [RestApi(member).look("/liveness").status for member in team.members] == [200, 200]  # type: ignore[union-attr]
    run(site, team)
    assert set(changed(site.done).values()) == {0}


def test_a_renewal_waits_while_the_client_certificate_changes_at_once(site: Any, team: Team) -> None:
    shown, clients, leader = served(team), serials(team, "ctl"), team.leader
    assert "Certificates that wait to be signed: 4." in run(site, team, postgres_server_renew=True)
    assert served(team) == shown
    assert not set(clients) & set(serials(team, "ctl"))
    clients = serials(team, "ctl")
    assert "Certificates that wait to be signed: 4." in run(site, team), "and so it does every night"
    assert set(changed(site.done).values()) == {0}
    assert serials(team, "ctl") == clients, "they are renewed once"
    sign(site, "db1", "db2", "db1+patroni-api", "db2+patroni-api")
    assert "wait to be signed" not in run(site, team)
    assert not set(shown) & set(served(team))
    assert team.leader is leader
    run(site, team)
    assert set(changed(site.done).values()) == {0}
