# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that a real Patroni runs: set-up, renewal, rules, faults, and the way back."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import process, texts
from ansible_collections.pgops.tls.plugins.module_utils.server import removal
from ansible_collections.pgops.tls.tests import faults, patroni
from ansible_collections.pgops.tls.tests.patroni import Member, Team
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server, sign
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH
from ansible_collections.pgops.tls.tests.system.conftest import Authority, programs

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("patroni") or not shutil.which("etcd"), reason="there is no Patroni here"),
]
HBA = '# who comes from outside\nhostssl all app all cert map="it\'s"\n'
IDENT = "it's app app\n"
STEP = 1 if IS_THOROUGH else 61  # points from one that is tried to the next


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """Run a leader and a replica."""
    with patroni.running(programs()) as running:
        running.leader.psql("CREATE ROLE app LOGIN")
        yield running


@pytest.fixture
def server(team: Team) -> Iterator[Server]:
    """Give the leader, which the collection has not seen yet."""
    with managed(team.leader) as found:
        yield found


@contextlib.contextmanager
def managed(member: Member) -> Iterator[Server]:
    """Give a member; put it back as it was before."""
    base = member.data / "postgresql.base.conf"
    before = base.read_bytes()
    options = {"hba": HBA, "ident": IDENT, "plaintext": "allow"}
    try:
        yield Server(member, member.home / "tls", options)
    finally:
        base.write_bytes(before)
        shutil.rmtree(member.home / "tls", ignore_errors=True)
        (member.data / "pg_ident.conf").write_text("")
        member.configure(member.text())
        member.reload()


def kept(member: Member) -> list[str]:
    """Return what PostgreSQL has loaded as rules, in order."""
    sql = "SELECT concat_ws(' ', type, array_to_string(user_name, ','), auth_method) FROM pg_hba_file_rules"
    return member.psql(sql).splitlines()


def requested(server: Server) -> str:
    """Return the chain for the request of a first call."""
    return sign(server.converge().request or "", ["localhost", "127.0.0.1"])


def kill(member: Member) -> None:
    """Kill Patroni alone, PostgreSQL continues."""
    pid = member.pid()
    os.kill(pid, signal.SIGKILL)
    patroni.until(lambda: not Path(f"/proc/{pid}").exists(), member.log)


def test_a_set_up_is_in_force_stays_through_a_restart_and_is_done_once(server: Server) -> None:
    member = server.cluster
    before = member.config.read_text()
    foreseen = server.converge(check_mode=True)
    assert member.config.read_text() == before
    assert [change for change in foreseen.changes if ".conf: changed" in change] == [
        "postgresql.conf: changed",
        "pg_ident.conf: changed",
        "pg_hba.conf: changed",
    ]
    done = server.settle()
    assert done.warnings == []
    assert server.served() == done.leaf.sha256  # type: ignore[union-attr]
    after = member.config.read_text()
    assert [line for line in after.splitlines() if line in before.splitlines()] == before.splitlines()
    rules = yaml.safe_load(after)["postgresql"]["pg_hba"]
    assert rules[0] == HBA.splitlines()[1]
    assert (member.data / "pg_hba.conf").read_text().splitlines()[2:] == rules
    assert kept(member)[:2] == ["hostssl app cert", "local all trust"]
    assert IDENT in (member.data / "pg_ident.conf").read_text(), "Patroni has no list of maps"
    inodes, disk = server.inodes(), server.disk()
    again = server.converge()
    assert (again.changes, again.warnings, again.request) == ([], [], None)
    assert (server.inodes(), server.disk(), member.config.read_text()) == (inodes, disk, after)
    member.patronictl("restart", "shop", member.name, "--force")
    assert server.served() == done.leaf.sha256  # type: ignore[union-attr]
    assert server.converge().changes == []


def test_a_certificate_without_the_address_that_verifying_members_use_is_refused(server: Server) -> None:
    """A cluster that does not verify is never stopped by it, and nor is one whose members refuse the name already."""
    member, names = server.cluster, ["localhost"]
    verified = member.text().replace("username: replicator\n", "username: replicator\n      sslmode: verify-full\n")
    member.configure(verified)
    disk = server.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=r"'127\.0\.0\.1' is none of the names .*replication") as failure:
            server.converge(check_mode=check_mode, names=names)
        assert failure.value.code == "patroni_name_missing"
    assert server.disk() == disk
    assert not (server.directory / "pending").exists(), "no key was made"
    member.configure(member.text())
    server.settle(names=names)
    member.configure(verified)
    server.settle(names=names, renew=True)
    server.settle()
    with pytest.raises(TlsError, match="is none of the names"):
        server.converge(names=names)
    server.settle(renew=True)


def test_a_ca_that_adds_names_is_judged_by_the_certificate_that_came(server: Server) -> None:
    """Nobody knows before whether it adds the address that members use, and a renewal must not stop for that."""
    authority, member = AUTHORITIES["server"], server.cluster
    member.configure(
        member.text().replace("username: replicator\n", "username: replicator\n      sslmode: verify-full\n")
    )
    wanted = {"names": ["localhost"], "issuing": authority.issuing.pem + authority.root.pem}
    for forced in (False, True):
        request = server.converge(**wanted, renew=forced).request or ""
        assert "CERTIFICATE REQUEST" in request
        with pytest.raises(TlsError, match=r"'127\.0\.0\.1' is none of the names .*replication"):
            server.converge(**wanted, renew=forced, certificate=sign(request, ["localhost"]))
        done = server.converge(**wanted, renew=forced, certificate=sign(request, ["localhost", "127.0.0.1"]))
        assert server.served() == done.leaf.sha256  # type: ignore[union-attr]
    assert server.converge(**wanted).changes == []


def test_a_renewal_leaves_the_file_of_patroni_alone(server: Server) -> None:
    server.settle()
    config, conf = (path.stat() for path in (server.cluster.config, server.cluster.data / "postgresql.base.conf"))
    first = server.served()
    server.settle(renew=True)
    assert server.served() != first
    assert server.cluster.config.stat() == config
    assert (server.cluster.data / "postgresql.base.conf").stat() == conf
    assert "ALTER" not in server.cluster.psql("SHOW ssl_cert_file")
    assert server.cluster.psql("SHOW ssl_key_file").endswith("/server.key")


def test_after_a_switchover_the_next_run_changes_nothing_on_either_node(team: Team) -> None:
    with managed(team.leader) as one, managed(team.replica) as two:
        for server in (two, one):
            server.settle()
        served = one.served(), two.served()
        team.switch_over()
        for server in (two, one):
            assert server.converge().changes == []
        assert (one.served(), two.served()) == served
        assert kept(two.cluster)[0] == "hostssl app cert"
        two.settle(renew=True)
        assert two.served() != served[1], "the new leader"


def test_a_recreated_replica_keeps_its_own_certificate(team: Team) -> None:
    with managed(team.replica) as server:
        server.settle()
        served = server.served()
        server.cluster.patronictl("reinit", "shop", server.cluster.name, "--force", "--wait")
        patroni.until(server.cluster.is_running, team.told)
        server.settle()
        assert server.served() == served
        assert server.converge().changes == []


def test_parameters_of_a_promoted_leader_that_wait_for_a_restart_stop_no_run(team: Team) -> None:
    team.switch_over()
    with managed(team.leader) as server:
        member = server.cluster
        kill(member)
        member.start()
        patroni.until(member.is_leader, member.log)
        member.reload()
        waiting = "SELECT count(*) > 0 FROM pg_file_settings WHERE sourcefile IS NULL AND error LIKE '%restarting%'"
        assert member.psql(waiting) == "t"
        assert server.settle().warnings == []
        first = server.served()
        server.settle(renew=True)
        assert server.served() != first


def test_rules_that_only_the_store_has_come_first_into_the_file(server: Server, team: Team) -> None:
    member = server.cluster
    stored = ["local all all trust", "host replication replicator 127.0.0.1/32 trust", "host all all ::1/128 reject"]
    member.configure(member.text(""))
    member.reload()
    member.ask("config", postgresql={"pg_hba": stored})
    try:
        patroni.until(lambda: stored[2] in (member.data / "pg_hba.conf").read_text(), team.told)
        config = member.config.read_text()
        server.settle(hba="")
        assert member.config.read_text() == config, "no rules, no list"
        outcome = server.settle()
        assert [one for one in outcome.warnings if "pg_hba is new in this file" in one]
        assert yaml.safe_load(member.config.read_text())["postgresql"]["pg_hba"][1:] == stored
        assert kept(member)[0] == "hostssl app cert"
        again = server.settle()
        assert (again.changes, again.warnings) == ([], [])
    finally:
        member.ask("config", postgresql={"pg_hba": None})


def test_maps_that_patroni_has_go_into_its_list_and_leave_a_list_behind(server: Server) -> None:
    member = server.cluster
    member.configure(member.text(patroni.RULES + "  pg_ident:\n  - x y z\n"))
    member.reload()
    server.settle()
    assert yaml.safe_load(member.config.read_text())["postgresql"]["pg_ident"] == [IDENT.strip(), "x y z"]
    assert (member.data / "pg_ident.conf").read_text().splitlines()[2:] == [IDENT.strip(), "x y z"]
    member.configure(member.config.read_text().replace("  - x y z\n", ""))
    member.reload()
    server.converge(kind=removal.Removal, on_lockout="allow")
    assert IDENT not in (member.data / "pg_ident.conf").read_text()
    assert server.converge(kind=removal.Removal, on_lockout="allow").changes == []


def test_a_removal_leads_back(server: Server) -> None:
    """A standby that has connected anew meanwhile uses TLS, as libpq prefers it, and comes back without."""
    member = server.cluster
    config, base = member.config.read_bytes(), (member.data / "postgresql.base.conf").read_bytes()
    server.settle()
    assert server.converge(kind=removal.Removal, remove_directory=True, on_lockout="allow").changes
    assert member.config.read_bytes() == config
    assert (member.data / "postgresql.base.conf").read_bytes() == base
    assert member.psql("SHOW ssl") == "off"
    assert not server.directory.exists()


def test_a_file_in_a_directory_of_root_is_changed_as_well(server: Server) -> None:
    member = server.cluster
    folder = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt"))
    folder.chmod(0o755)
    moved = folder / "shop.yml"
    try:
        shutil.copy2(member.config, moved)
        member.give(moved, 0o660)
        member.config.unlink()
        member.config.symlink_to(moved)
        server.settle()
        assert HBA.splitlines()[1].replace("'", "''") in moved.read_text()
        assert (moved.stat().st_mode & 0o777, moved.stat().st_uid) == (0o660, (member.data).stat().st_uid)
        assert [path.name for path in folder.iterdir()] == ["shop.yml"]
        assert server.converge().changes == []
    finally:
        member.config.unlink()
        shutil.rmtree(folder)


def test_a_paused_cluster_loads_rules_too(server: Server) -> None:
    server.cluster.patronictl("pause", "shop", "--wait")
    try:
        server.settle()
        assert kept(server.cluster)[0] == "hostssl app cert"
    finally:
        server.cluster.patronictl("resume", "shop", "--wait")


def test_settings_of_patroni_that_win_are_refused_with_a_way_without_an_interruption(server: Server) -> None:
    member = server.cluster
    member.configure(member.text().replace("  parameters:\n", "  parameters:\n    ssl_min_protocol_version: TLSv1.1\n"))
    member.reload()
    server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    disk = server.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError) as failure:
            server.converge(check_mode=check_mode)
        assert failure.value.code == "settings_overridden"
    assert server.disk() == disk
    base = re.search(r"append what is set now to (\S+),", failure.value.message)
    line = re.search(r"a line of its own: (.*?)\. Then remove", failure.value.message)
    assert base
    assert line
    with Path(base[1]).open("a", encoding="utf-8") as stream:
        stream.write(line[1] + "\n")
    member.configure(member.text())
    member.reload()
    patroni.until(lambda: member.psql("SHOW ssl_min_protocol_version") == "TLSv1.1", member.log)
    server.settle()
    assert member.psql("SHOW ssl_min_protocol_version") == "TLSv1.3"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            patroni.RULES,
            '  pg_hba: ["local all all trust"]\n',
            r"line \d+: .*found pg_hba: with a value on its own line",
        ),
        ("scope: shop", "scope: [shop", r"it is no configuration \(ParserError\)"),
        ("scope: shop", "scope: shop\nmore: |\n postgresql:\n", ""),
        ("  listen:", "  <<: {pg_hba: [local all all trust]}\n  listen:", ""),
    ],
)
def test_other_forms_of_the_file_are_refused_or_harmless(server: Server, before: str, after: str, said: str) -> None:
    member = server.cluster
    member.configure(member.text().replace(before, after, 1))
    member.reload()
    if not said:
        server.settle()
        assert kept(member)[0] == "hostssl app cert"
        return
    disk, config = server.disk(), member.config.read_bytes()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=said) as failure:
            server.converge(check_mode=check_mode)
        assert failure.value.code == "patroni_config_form"
        assert patroni.SECRET not in failure.value.message
    assert (server.disk(), member.config.read_bytes()) == (disk, config)


def test_a_certificate_of_the_rest_api_that_does_not_fit_stops_the_run_before_the_signal(
    server: Server, server_authority: Authority
) -> None:
    member = server.cluster
    certificate, _key = server_authority.issue("a", "serverAuth", "IP:127.0.0.1")
    shutil.copy(certificate, member.home / "api.crt")
    _certificate, key = server_authority.issue("b", "serverAuth", "IP:127.0.0.1")
    shutil.copy(key, member.home / "api.key")
    member.give(member.home / "api.key", 0o600)
    pair = f"restapi:\n  certfile: {member.home}/api.crt\n  keyfile: {member.home}/api.key\n"
    member.configure(member.text().replace("restapi:\n", pair))
    config, pid = member.config.read_bytes(), member.pid()
    with pytest.raises(TlsError, match="KEY_VALUES_MISMATCH"):
        server.settle()
    assert (member.config.read_bytes(), member.pid()) == (config, pid)
    member.configure(member.text())
    assert member.is_running()


def test_a_patroni_that_stops_after_the_signal_is_put_back_told_of_and_finished_by_the_next_run(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = team.replica  # a leader that stops for so long may lose its key, and PostgreSQL restarts
    with managed(member) as server:
        config, rules = member.config.read_bytes(), kept(member)
        reload, pid, signals = process.signal_reload, member.pid(), []

        def stopped(*arguments: Any) -> None:
            signals.append(arguments)
            os.kill(pid, signal.SIGSTOP)
            reload(*arguments)

        chain = requested(server)
        monkeypatch.setattr(texts, "_PATIENCE", 1.0)
        monkeypatch.setattr(process, "signal_reload", stopped)
        try:
            with pytest.raises(
                TlsError, match=r"Patroni has not written pg_hba\.conf within .* was not reloaded"
            ) as failure:
                server.converge(certificate=chain)
            assert failure.value.details["rolled_back"] is True
            assert len(signals) == 1, "a Patroni that gives no answer is not told what was put back"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert member.config.read_bytes() == config
        assert kept(member) == rules
        monkeypatch.undo()
        server.settle()
        assert kept(member)[0] == "hostssl app cert"


def test_a_list_that_patroni_has_not_read_is_warned_of(server: Server) -> None:
    server.settle()
    member = server.cluster
    member.configure(member.config.read_text().replace("10.0.0.0", "10.1.0.0"))
    assert server.converge().warnings == [], "a comment"
    member.configure(member.config.read_text().replace("  - local ", "  - 'host all all ::1/128 reject'\n  - local "))
    [told] = server.converge().warnings
    assert "Patroni has not loaded postgresql.pg_hba of" in told
    member.reload()
    assert server.converge().warnings == []


def test_without_a_patroni_that_runs_the_server_is_refused(server: Server) -> None:
    server.settle()
    member = server.cluster
    kill(member)
    try:
        with pytest.raises(TlsError, match="Patroni rewrites the files of this server") as failure:
            server.converge()
        assert failure.value.code == "config_managed_elsewhere"
        assert "If it does, start it" in failure.value.message
    finally:
        member.start()
        patroni.until(member.is_leader, member.log)
    assert server.converge().changes == []


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(server: Server) -> None:
    member = server.cluster
    chain = requested(server)
    saved, config = faults.everything(server.directory), member.config.read_text()
    base = (member.data / "postgresql.base.conf").read_bytes()
    for _number in faults.deaths(lambda: server.converge(certificate=chain), STEP):
        server.converge(certificate=chain)
        assert kept(member)[0] == "hostssl app cert"
        assert member.psql("SHOW ssl") == "on"
        assert server.converge().changes == []
        assert not (server.directory / "journal.json").exists()
        (member.data / "postgresql.base.conf").write_bytes(base)
        (member.data / "pg_ident.conf").write_text("")
        member.configure(config)
        faults.put_back(server.directory, saved)
        member.reload()


@pytest.mark.parametrize("step", ["switch", "commit"])
def test_what_a_run_left_is_undone_in_patroni_too(server: Server, step: str) -> None:
    member = server.cluster
    config, rules = member.config.read_bytes(), kept(member)
    chain = requested(server)
    with faults.dying(step):
        server.converge(certificate=chain)
    assert (member.config.read_bytes() != config) is (step == "commit")
    foreseen = server.converge(check_mode=True).changes
    assert foreseen[0] == "recovery: the transaction of an interrupted run is undone"
    assert "pg_hba.conf: changed" in foreseen
    server.converge(hba="", ident="")
    assert member.config.read_bytes() == config
    assert kept(member) == rules


def test_what_a_run_left_is_undone_where_the_server_is_down(server: Server) -> None:
    member = server.cluster
    config = member.config.read_bytes()
    chain = requested(server)
    with faults.dying():
        server.converge(certificate=chain)
    member.patronictl("pause", "shop", "--wait")
    try:
        pid = (member.data / "postmaster.pid").read_text().split("\n", 1)[0]
        os.kill(int(pid), signal.SIGQUIT)
        patroni.until(lambda: not Path(f"/proc/{pid}").exists(), member.log)
        with pytest.raises(TlsError, match=r"had left its changes in .*; they were undone"):
            server.converge()
        assert member.config.read_bytes() == config
        member.supervised.run("sh", "-c", (member.data / "postmaster.opts").read_text())
        patroni.until(member.is_leader, member.log)
    finally:
        member.patronictl("resume", "shop", "--wait")
    assert kept(member)[0] == "local all trust"
