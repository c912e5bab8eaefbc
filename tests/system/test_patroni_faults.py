# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that do not fit, and members that are down, on servers that a real Patroni runs: nobody fails over for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.tests import patroni
from ansible_collections.pgops.tls.tests.patroni import Team
from ansible_collections.pgops.tls.tests.servers import Server, sign
from ansible_collections.pgops.tls.tests.system.conftest import Authority, programs
from ansible_collections.pgops.tls.tests.system.test_patroni import HBA, managed

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("patroni") or not shutil.which("etcd"), reason="there is no Patroni here"),
]
TIMELINE = "SELECT timeline_id FROM pg_control_checkpoint()"


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """Run a leader and a replica."""
    with patroni.running(programs()) as running:
        running.leader.psql("CREATE ROLE app LOGIN")
        yield running


@pytest.fixture
def server(team: Team) -> Iterator[Server]:
    """Give the leader as a first run leaves it."""
    with managed(team.leader) as found:
        found.settle()
        yield found


def another_key(generation: Path) -> None:
    (generation / "server.key").write_text(openssl.new_key("P-256"))


def key_for_everybody(generation: Path) -> None:
    (generation / "server.key").chmod(0o644)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (another_key, "key values mismatch"),
        (key_for_everybody, "has group or world access"),
    ],
)
def test_a_pair_that_the_server_cannot_use_is_undone_and_nobody_fails_over(
    server: Server, team: Team, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], reason: str
) -> None:
    member = server.cluster
    served, config, timeline = server.served(), member.config.read_bytes(), member.psql(TIMELINE)
    chain = sign(server.converge(renew=True).request or "", ["localhost", "127.0.0.1"])
    whole = Journal.switch

    def faulty(journal: Journal) -> None:
        damage(Path(journal.store.path(journal.store.names()[-1])))
        whole(journal)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "switch", faulty)
        with pytest.raises(TlsError, match=reason) as failure:
            server.converge(renew=True, certificate=chain)
    assert failure.value.details["rolled_back"] is True
    assert (server.served(), member.config.read_bytes()) == (served, config)
    member.patronictl("restart", "shop", member.name, "--force")
    assert server.served() == served
    assert (team.leader is member, member.psql(TIMELINE)) == (True, timeline)
    assert server.settle(renew=True).changes == ["certificate: forced"]


def test_a_chain_of_another_authority_is_refused_before_anything_changes(
    server: Server, server_authority: Authority
) -> None:
    member = server.cluster
    certificate, _key = server_authority.issue("a", "serverAuth", "DNS:localhost,IP:127.0.0.1")
    assert server.converge(renew=True).request
    disk, config = server.disk(), member.config.read_bytes()
    with pytest.raises(TlsError) as failure:
        server.converge(renew=True, certificate=Path(certificate).read_text())
    assert failure.value.code
    assert (server.disk(), member.config.read_bytes()) == (disk, config)


def test_a_setting_that_this_version_does_not_know_is_refused_by_name(server: Server) -> None:
    member = server.cluster
    disk, config = server.disk(), member.config.read_bytes()
    server.ssl = {"ssl_no_such": "on"}
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="ssl_no_such"):
            server.converge(check_mode=check_mode)
    assert (server.disk(), member.config.read_bytes()) == (disk, config)


def test_a_file_of_patroni_that_belongs_to_somebody_else_is_refused(server: Server) -> None:
    member = server.cluster
    disk, config = server.disk(), member.config.read_bytes()
    os.chown(member.config, 1, 1)
    member.config.chmod(0o644)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=member.config.name):
            server.converge(check_mode=check_mode, hba=f"{HBA}hostssl all other all reject\n")
    assert (server.disk(), member.config.read_bytes()) == (disk, config)


def test_a_member_that_is_down_changes_nothing_for_the_leader_and_is_finished_later(team: Team) -> None:
    with managed(team.leader) as one, managed(team.replica) as two:
        for server in (two, one):
            server.settle()
        leader, member, timeline = one.cluster, two.cluster, one.cluster.psql(TIMELINE)
        disk = two.disk()
        member.stop()
        try:
            with pytest.raises(TlsError, match=f"port {member.port}"):
                two.converge(renew=True)
            assert two.disk() == disk
            assert one.settle(renew=True).changes == ["certificate: forced"]
        finally:
            member.start()
            patroni.until(member.is_running, team.told)
        assert two.converge().changes == []
        assert two.settle(renew=True).changes == ["certificate: forced"]
        assert (team.leader is leader, leader.psql(TIMELINE)) == (True, timeline)
