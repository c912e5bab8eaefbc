# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files as they are found in the wild, rules that lock out, and servers that do not run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_options
from ansible_collections.pgops.tls.plugins.module_utils.server import difference, proof, target, transaction
from ansible_collections.pgops.tls.tests.servers import HBA, Server, sign


def test_our_include_that_somebody_commented_out_is_healed(managed: Server) -> None:
    text = (managed.cluster.data / "postgresql.conf").read_text()
    managed.cluster.write("postgresql.conf", text.replace("include_if_exists '/", "#include_if_exists '/"))
    managed.restart()
    assert managed.cluster.psql("SHOW ssl") == "off"
    assert "postgresql.conf: changed" in managed.converge().changes
    assert managed.cluster.psql("SHOW ssl") == "on"
    assert managed.converge().changes == []


def test_rules_of_a_role_that_is_gone_do_not_stay_in_a_block_with_other_line_ends(managed: Server) -> None:
    for name in ("pg_hba.conf", "postgresql.conf"):
        path = managed.cluster.data / name
        managed.cluster.write(name, path.read_bytes().replace(b"\n", b"\r\n"))
    managed.converge(hba=HBA.replace("hostssl all app all cert\n", ""))
    assert "all app all cert" not in (managed.cluster.data / "pg_hba.conf").read_text()
    assert (managed.cluster.data / "postgresql.conf").read_text().count("include_if_exists '") == 1
    managed.restart()
    assert managed.converge(hba=HBA.replace("hostssl all app all cert\n", "")).changes == []


def test_rules_of_a_replaced_file_do_not_stay_when_the_mode_becomes_block(managed: Server) -> None:
    managed.converge(hba_mode="replace", hba="hostssl all gone all cert\n" + HBA)
    assert managed.converge(hba_mode="block").changes == ["pg_hba.conf: changed"]
    lines = [line for line in (managed.cluster.data / "pg_hba.conf").read_text().splitlines() if line[0] != "#"]
    assert lines == [*HBA.splitlines(), "local all postgres peer"]
    assert managed.converge(hba_mode="block").changes == []


def test_bytes_that_are_no_utf_8_stay_and_are_shown_as_signs(server: Server) -> None:
    rules = server.cluster.data / "pg_hba.conf"
    before = rules.read_bytes() + b"# caf\xe9\xff\n"
    server.cluster.write("pg_hba.conf", before)
    outcome = server.settle()
    assert rules.read_bytes().endswith(before)
    shown = difference.of_plan(outcome.plan, _target(server), None, "")
    assert "# caf\ufffd\ufffd" in str(shown).encode().decode()


def test_passwords_in_postgresql_conf_are_no_part_of_the_difference(server: Server) -> None:
    server.cluster.append("postgresql.conf", "primary_conninfo = 'host=db0 password=sesame'\n")
    outcome = server.converge(check_mode=True)
    shown = str(difference.of_plan(outcome.plan, _target(server), None, ""))
    assert "include_if_exists" in shown
    assert "sesame" not in shown


def test_the_difference_shows_the_certificate_that_came(managed: Server) -> None:
    request = managed.converge(renew=True).request
    assert request is not None
    answer = {"renew": True, "certificate": sign(request, ["localhost", "127.0.0.1"])}
    outcome = managed.converge(**answer)
    wanted = target.read(managed.all_options(**answer))
    shown = difference.of_plan(outcome.plan, wanted, outcome.leaf_before, wanted.ssl_conf)[0]
    assert shown["before"] == difference.described(outcome.leaf_before)
    assert shown["after"] == difference.described(outcome.leaf)
    assert shown["before"] != shown["after"]
    unread = target.read(managed.all_options(renew=True, certificate="garbage"))
    assert "because: forced" in str(difference.of_plan(outcome.plan, unread, None, ""))


def _target(server: Server) -> target.Target:
    return target.read(server.all_options())


@pytest.mark.parametrize("name", ["postgresql.conf", "pg_hba.conf"])
def test_a_configuration_file_that_is_gone_is_not_made_up(server: Server, name: str) -> None:
    (server.cluster.data / name).rename(server.cluster.data / f"{name}.saved")
    with pytest.raises(TlsError, match=rf"{name}: the server runs with this file, but it no longer exists"):
        server.settle()
    assert not (server.cluster.data / name).exists()


def test_a_missing_pg_ident_is_made_if_it_is_needed(server: Server) -> None:
    (server.cluster.data / "pg_ident.conf").unlink()
    server.settle()
    assert not (server.cluster.data / "pg_ident.conf").exists()
    server.settle(hba="hostssl all app all cert map=people\n" + HBA, ident="people alice.a app\n")
    found = (server.cluster.data / "pg_ident.conf").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (server.cluster.data.stat().st_uid, 0o640)


def test_markers_within_the_rules_are_refused(managed: Server) -> None:
    with pytest.raises(TlsError, match="which mark the managed block itself"):
        managed.converge(hba="# END pgops.tls\n" + HBA)


def test_rules_that_lock_the_module_itself_out_are_undone(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_PATIENCE", 3.0)
    managed.cluster.write("pg_hba.conf", "local all all peer map=people\n" + HBA)
    managed.converge(ident="people /(?i)^POSTGRES$ postgres\n")  # which nobody but the server evaluates
    assert managed.cluster.psql("SELECT 1") == "1"
    disk = managed.disk()
    with pytest.raises(TlsError, match=r"The previous state is restored and proven") as failure:
        managed.converge(ident="people /(?i)^APP$ postgres\n")
    assert failure.value.details["rolled_back"] is True
    assert managed.disk() == disk
    assert managed.cluster.psql("SELECT 1") == "1"


def test_a_rule_of_a_method_that_the_server_was_built_without_is_refused_before_anything_changes(
    managed: Server,
) -> None:
    disk, signals = managed.disk(), managed.cluster.log().count("SIGHUP")
    lacks = hba_options.lacking(managed.cluster.psql("SELECT setting FROM pg_config() WHERE name = 'CONFIGURE'"))
    changed = HBA + "hostssl all app all pam\n"
    if "pam" not in lacks:
        assert "pg_hba.conf: changed" in managed.converge(hba=changed).changes
        return
    with pytest.raises(TlsError, match="hba line 4: this server was built without method pam"):
        managed.converge(hba=changed)
    assert (managed.disk(), managed.cluster.log().count("SIGHUP")) == (disk, signals)


def test_rules_of_a_killed_run_that_keep_the_server_down_are_undone_without_it(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, served = managed.disk(), managed.served()

    def killed(_prover: proof.Prover) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transaction.refusals, "refuse_faulty_rules", lambda *_arguments: None)
        patch.setattr(proof.Prover, "check_rules", killed)
        with pytest.raises(KeyboardInterrupt):
            managed.converge(hba=HBA + "nonsense\n")
    managed.cluster.stop("fast")
    managed.cluster.data.chmod(0o500)
    with pytest.raises(TlsError, match="is only partly undone"):
        managed.converge()
    managed.cluster.data.chmod(0o700)
    with pytest.raises(TlsError, match=r"An interrupted run had left its changes.*they were undone") as failure:
        managed.converge()
    assert failure.value.details["changed"] is True
    assert managed.disk() == disk
    with pytest.raises(TlsError, match="No PostgreSQL server was found") as failure:
        managed.converge()
    managed.restart()
    assert managed.served() == served
    assert managed.converge().changes == []


def test_a_server_that_stops_in_the_middle_is_told_of_with_its_files_put_back(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = managed.disk()
    switch = Journal.switch

    def stopping(journal: Journal) -> None:
        managed.cluster.stop("fast")
        switch(journal)

    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    monkeypatch.setattr(Journal, "switch", stopping)
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    with pytest.raises(TlsError, match="All files are as before, but the server could NOT be proven") as failure:
        managed.converge()
    assert failure.value.details["rolled_back"] is False
    left = str(managed.directory / "generations" / "0002")  # a server that somebody starts may be reading it
    assert {path: found for path, found in managed.disk().items() if not path.startswith(left)} == disk
    managed.restart()
    managed.ssl = {}
    assert managed.converge().changes == []
    assert managed.disk() == disk


@pytest.mark.parametrize("addresses", ["localhost", "127.0.0.1, ::1", "192.0.2.7,127.0.0.1", "*", "::,127.0.0.1"])
def test_the_server_is_found_wherever_it_listens(managed: Server, addresses: str) -> None:
    managed.cluster.append("postgresql.conf", f"listen_addresses = '{addresses}'\n")
    managed.restart()
    managed.converge()
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.settle(renew=True).leaf is not None


def test_a_server_without_tcp_is_told_apart_before_anything_changes(server: Server) -> None:
    server.cluster.append("postgresql.conf", "listen_addresses = ''\n")
    server.restart()
    disk = server.disk()
    with pytest.raises(TlsError, match="listen_addresses is empty"):
        server.converge(check_mode=True)
    assert server.disk() == disk


def test_a_key_of_a_run_that_died_after_its_commit_is_not_used_again(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_transaction: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transaction.Transaction, "_tidy", killed)
        with pytest.raises(KeyboardInterrupt):
            managed.settle(renew=True)
    before = managed.converge(check_mode=True).leaf
    after = managed.settle(renew=True).leaf
    assert before is not None
    assert after is not None
    assert after.public_key != before.public_key
    assert list((managed.directory / "pending").iterdir()) == []
