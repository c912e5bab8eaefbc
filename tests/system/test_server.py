# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server transaction on a real PostgreSQL server, with faults injected into it."""

from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.tests.faults import dying
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, CONFIGURATION, HBA, TODAY, Server, sign
from ansible_collections.pgops.tls.tests.shared import DAY


def test_the_first_call_asks_and_the_second_installs(server: Server) -> None:
    outcome = server.converge()
    assert outcome.plan.reasons == ["no_certificate"]
    assert outcome.request is not None
    assert server.cluster.psql("SHOW ssl") == "off", "nothing live changes before the certificate is there"
    installed = server.converge(certificate=sign(outcome.request, ["localhost", "127.0.0.1"]))
    assert installed.leaf is not None
    assert server.served() == installed.leaf.sha256
    assert list(server.directory.joinpath("pending").iterdir()) == []
    assert not (server.directory / "journal.json").exists()
    server.restart()
    assert server.served() == installed.leaf.sha256


def test_the_private_key_is_the_servers_alone(managed: Server) -> None:
    key = managed.directory / "current" / "server.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.owner() == managed.cluster.account


def test_a_second_run_changes_nothing_and_reloads_nothing(managed: Server) -> None:
    before = managed.inodes()
    signals = managed.cluster.log().count("SIGHUP")
    outcome = managed.converge()
    assert (outcome.changes, outcome.request) == ([], None)
    assert managed.inodes() == before
    assert managed.cluster.log().count("SIGHUP") == signals


def test_plaintext_is_refused_afterwards_and_old_rules_stay_byte_for_byte(server: Server) -> None:
    rules = server.cluster.data / "pg_hba.conf"
    before = rules.read_bytes()
    server.settle()
    after = rules.read_bytes()
    assert after.endswith(b"# END pgops.tls\n" + before)
    endpoint = wire.Endpoint("127.0.0.1", server.cluster.port)
    refused = pytest.raises(wire.RefusedError, match=r"28000: pg_hba\.conf rejects connection")
    with refused, wire.connected(endpoint) as connection:
        wire.log_in(connection, "app", "postgres")


def test_a_certificate_is_renewed_with_a_new_key_at_two_thirds_of_its_life(server: Server) -> None:
    request = server.converge().request
    assert request is not None
    old = sign(request, ["localhost", "127.0.0.1"], start=TODAY - 61 * DAY)
    with pytest.raises(TlsError, match="did not issue what was asked for: expires_in_29d"):
        server.converge(certificate=old)
    first = server.converge(certificate=sign(request, ["localhost", "127.0.0.1"], start=TODAY - 52 * DAY))
    assert server.converge().changes == []
    later = TODAY + 9 * DAY
    renewal = server.converge(now=later)
    assert renewal.plan.reasons == ["expires_in_29d"]
    assert renewal.request is not None
    second = server.converge(now=later, certificate=sign(renewal.request, ["localhost", "127.0.0.1"]))
    assert first.leaf is not None
    assert second.leaf is not None
    assert second.leaf.public_key != first.leaf.public_key
    assert server.served() == second.leaf.sha256


def test_a_renewal_that_would_never_end_stops_before_anything_changes(managed: Server) -> None:
    before = managed.disk()
    request = managed.converge(renew_before="90d").request
    assert request is not None
    with pytest.raises(TlsError, match=r"renew_before: .*90d before they end, .* 89d left of its life of 90d"):
        managed.converge(renew_before="90d", certificate=sign(request, ["localhost", "127.0.0.1"]))
    assert managed.disk() == before
    longer = sign(request, ["localhost", "127.0.0.1"], days=180)
    managed.converge(renew_before="90d", certificate=longer)
    assert managed.converge(renew_before="90d").changes == []


def test_a_certificate_that_ends_with_its_authority_settles_whatever_renew_before_says(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = TODAY - 300
    old = issuing.new_authority("server", "P-256", start + 60 * DAY - profiles.ISSUING_LIFE)
    monkeypatch.setitem(AUTHORITIES, "server", old)
    server.options["renew_before"] = "80d"
    request = server.converge().request
    assert request is not None
    server.converge(certificate=sign(request, ["localhost", "127.0.0.1"], start=start, days=60))
    assert server.converge(now=start + 40 * DAY - 1).changes == []
    assert server.converge(now=start + 40 * DAY).plan.reasons == ["expires_in_20d"]


def test_a_renewal_on_demand_says_so(managed: Server) -> None:
    before = managed.served()
    assert managed.settle(renew=True).plan.reasons == ["forced"]
    assert managed.served() != before


def test_other_authorities_are_refused_unless_a_renewal_is_forced(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = AUTHORITIES["server"]
    monkeypatch.setitem(AUTHORITIES, "server", issuing.new_authority("server", "P-256", TODAY))
    before, served = managed.disk(), managed.served()
    told = rf"{managed.directory}/current/server\.crt: .*{old.issuing.common_name}.*run with renew: true"
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=told):
            managed.converge(check_mode=check_mode)
    assert (managed.disk(), managed.served()) == (before, served)
    assert list(managed.directory.joinpath("pending").iterdir()) == []
    assert managed.settle(renew=True).plan.reasons == ["issuer_changed", "forced"]
    assert managed.served() != served
    assert managed.converge().changes == []


def test_a_new_issuing_ca_below_a_known_root_is_a_plain_reason(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = AUTHORITIES["server"].root.pem
    new = issuing.new_authority("server", "P-256", TODAY)
    monkeypatch.setitem(AUTHORITIES, "server", new)
    assert managed.settle(roots=roots + new.root.pem).plan.reasons == ["issuer_changed"]


def test_a_missing_name_is_a_reason_and_an_order_of_names_is_none(managed: Server) -> None:
    assert managed.converge(names=["127.0.0.1", "localhost"]).changes == []
    assert managed.converge(names=["localhost", "127.0.0.1", "db2.example"]).plan.reasons == [
        "san_missing: db2.example"
    ]


def test_a_setting_changes_in_one_call_with_the_same_certificate(managed: Server) -> None:
    before = managed.served()
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    outcome = managed.converge()
    assert outcome.changes == ["ssl.conf: ssl_min_protocol_version 'unset' -> 'TLSv1.3'"]
    assert managed.served() == before
    context = wire.observing_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(TlsError, match="handshake failed"):
        wire.observe(wire.Endpoint("127.0.0.1", managed.cluster.port), context)


def test_where_no_log_can_be_read_a_new_leaf_makes_the_change_observable(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof.Prover, "observes_log", lambda _prover: False)
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert managed.converge().plan.reasons == ["reload_not_observable"]


def test_check_mode_tells_the_same_changes_and_touches_nothing(server: Server) -> None:
    before = server.disk()
    told = server.converge(check_mode=True)
    assert server.disk() == before
    assert not server.directory.exists()
    assert told.request is None
    done = server.settle()
    assert told.changes == done.changes != []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("mismatch", "key values mismatch"),
        ("owner", "must be owned by the database user or root|has group or world access|Permission denied"),
        ("cipher", "could not set the (TLSv1.2 )?cipher list"),
        ("missing", "could not load server certificate file"),
    ],
)
def test_a_fault_that_only_the_server_finds_is_undone(
    managed: Server, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    served, disk = managed.served(), managed.disk()
    request = managed.converge(renew=True).request
    assert request is not None
    chain = sign(request, ["localhost", "127.0.0.1"])
    whole_switch = Journal.switch

    def faulty_switch(journal: Journal) -> None:
        _damage(Path(journal.store.path(journal.store.names()[-1])), fault)
        whole_switch(journal)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "switch", faulty_switch)
        with pytest.raises(TlsError, match=reason) as failure:
            managed.converge(renew=True, certificate=chain)
    assert failure.value.details["rolled_back"] is True
    assert any("SSL configuration was not reloaded" in line for line in failure.value.details["server_log"])
    assert managed.served() == served
    assert managed.disk() == disk
    managed.restart()
    assert managed.served() == served
    assert managed.settle(renew=True).changes == ["certificate: forced"]
    assert managed.served() != served


def _damage(generation: Path, fault: str) -> None:
    key = generation / "server.key"
    if fault == "mismatch":
        key.write_text(openssl.new_key("P-256"))
    elif fault == "owner" and os.geteuid() == 0:
        os.chown(key, 1, 1)
    elif fault == "owner":
        key.chmod(0o644)
    elif fault == "cipher":
        with (generation / "ssl.conf").open("a", encoding="utf-8") as stream:
            stream.write("ssl_ciphers = '@NO-SUCH-COMMAND'\n")
    else:
        (generation / "server.crt").unlink()


def test_a_bad_cipher_string_is_found_in_the_rehearsal(managed: Server) -> None:
    disk, signals = managed.disk(), managed.cluster.log().count("SIGHUP")
    managed.ssl = {"ssl_ciphers": "NO-SUCH-CIPHER"}
    with pytest.raises(TlsError, match="ssl_ciphers: 'NO-SUCH-CIPHER' is no cipher list"):
        managed.converge()
    assert managed.disk() == disk
    assert managed.cluster.log().count("SIGHUP") == signals


def test_a_rule_that_only_the_server_refuses_is_undone(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    served, disk = managed.served(), managed.disk()
    monkeypatch.setattr(transaction.refusals, "refuse_faulty_rules", lambda *_arguments: None)
    with pytest.raises(TlsError, match=r"refuses pg_hba.conf: /.* line 3: invalid authentication method"):
        managed.converge(hba="hostssl all app all no-such-method\n" + HBA)
    assert (managed.served(), managed.disk()) == (served, disk)
    with pytest.raises(TlsError, match="line 3: the server refuses this line, most likely because of its clientcert"):
        managed.converge(hba="hostssl all app all md5 clientcert=sometimes\n" + HBA)
    assert (managed.served(), managed.disk()) == (served, disk)
    monkeypatch.undo()
    assert managed.converge().changes == []


def test_rules_that_leave_plaintext_open_are_undone_when_it_is_to_be_rejected(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = managed.disk()
    with pytest.raises(TlsError, match=r"line 3 \(host all all all scram-sha-256\) lets connections without TLS in"):
        managed.converge(hba="host all all all scram-sha-256\n")
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    monkeypatch.setattr(transaction.refusals.rule_checks, "refuse_plaintext", lambda _text, _major: None)
    with pytest.raises(TlsError, match="without TLS is still not refused") as failure:
        managed.converge(hba="host all all all scram-sha-256\n")
    assert failure.value.details["rolled_back"] is True
    assert managed.disk() == disk
    assert managed.converge(hba="host all all all scram-sha-256\n", plaintext="allow").changes == [
        "pg_hba.conf: changed"
    ]


def test_a_failure_of_the_very_first_set_up_leaves_no_trace_but_the_waiting_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = {name: (server.cluster.data / f"p{name}.conf").read_bytes() for name in CONFIGURATION}
    monkeypatch.setattr(transaction.refusals, "refuse_faulty_rules", lambda *_arguments: None)
    with pytest.raises(TlsError, match=r"refuses pg_hba\.conf"):
        server.settle(hba=HBA + "nonsense\n")
    assert server.cluster.psql("SHOW ssl") == "off"
    assert {name: (server.cluster.data / f"p{name}.conf").read_bytes() for name in CONFIGURATION} == configuration
    assert not (server.directory / "current").exists()
    assert list((server.directory / "generations").iterdir()) == []
    server.restart()
    monkeypatch.undo()
    assert server.settle().leaf is not None


@pytest.mark.parametrize("method", ["switch", "put_file", "commit"])
def test_what_a_killed_run_left_is_undone_by_the_next(
    managed: Server, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    served, disk = managed.served(), managed.disk()
    request = managed.converge(renew=True).request
    assert request is not None
    chain = sign(request, ["localhost", "127.0.0.1"])
    whole = getattr(Journal, method)

    def killed_after(*arguments: Any) -> None:
        if method != "commit":
            whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, method, killed_after)
        with pytest.raises(KeyboardInterrupt):
            managed.converge(renew=True, certificate=chain, hba="# another\n" + HBA)
    assert (managed.directory / "journal.json").exists()
    managed.restart()
    outcome = managed.converge()
    assert outcome.changes == ["recovery: the transaction of an interrupted run is undone"]
    assert (managed.served(), managed.disk()) == (served, disk)


def test_a_file_that_somebody_changed_after_the_crash_is_not_overwritten(managed: Server) -> None:
    with dying():
        managed.converge(hba="# another\n" + HBA)
    managed.cluster.append("pg_hba.conf", "# by hand\n")
    with pytest.raises(TlsError, match=r"pg_hba.conf: a run that was interrupted.*somebody changed it since"):
        managed.converge()
    assert (managed.cluster.data / "pg_hba.conf").read_text().endswith("# by hand\n")


def test_live_plaintext_sessions_stop_the_run_before_anything_changes(server: Server) -> None:
    server.cluster.hba("host all app all trust")
    server.cluster.reload()
    disk = server.disk()
    with wire.connected(wire.Endpoint("127.0.0.1", server.cluster.port)) as connection:
        assert wire.log_in(connection, "app", "postgres") == "in"
        with pytest.raises(TlsError, match=r"1 live session.*app@postgres from 127.0.0.1 \(pgops.tls"):
            server.converge()
        assert server.disk() == disk
        server.settle(plaintext="allow", hba="hostssl all app all cert\n")
    assert server.converge().changes == ["pg_hba.conf: changed"]


def test_replaced_rules_keep_the_management_connection(namesake: Server) -> None:
    namesake.converge(hba_mode="replace")
    lines = [line for line in (namesake.cluster.data / "pg_hba.conf").read_text().splitlines() if line[0] != "#"]
    assert lines == [f"local all {namesake.role} peer", *HBA.splitlines()]
    assert namesake.cluster.psql("SELECT 1", user=namesake.role) == "1"


def test_a_map_of_pg_ident_comes_with_its_rule(managed: Server) -> None:
    rule = "hostssl all app all cert map=people\n"
    with pytest.raises(TlsError, match=r"map=people names a map that pg_ident\.conf does not have"):
        managed.converge(hba=rule + HBA)
    outcome = managed.converge(hba=rule + HBA, ident="people alice.a app\n")
    assert outcome.changes == ["pg_ident.conf: changed", "pg_hba.conf: changed"]


def test_a_setting_by_alter_system_is_named_with_its_remedy(managed: Server) -> None:
    managed.cluster.psql("ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.1'")
    managed.cluster.reload()
    managed.ssl = {"ssl_min_protocol_version": "TLSv1.2"}
    disk = managed.disk()
    with pytest.raises(TlsError, match="ALTER SYSTEM RESET ssl_min_protocol_version"):
        managed.converge()
    assert managed.disk() == disk


def test_a_later_line_of_postgresql_conf_that_overrides_ours_is_healed(managed: Server) -> None:
    managed.cluster.append("postgresql.conf", "ssl_cert_file = 'elsewhere.crt'\n")
    assert managed.converge().changes == ["postgresql.conf: changed"]
    managed.restart()
    assert managed.converge().changes == []


def test_loose_permissions_of_the_key_are_repaired_by_a_new_generation(managed: Server) -> None:
    key = managed.directory / "current" / "server.key"
    served = managed.served()
    key.chmod(0o644)
    outcome = managed.converge()
    assert len(outcome.changes) == 1
    assert "server.key: owner" in outcome.changes[0]
    assert key.stat().st_mode & 0o777 == 0o600
    assert managed.served() == served


def test_a_lost_key_and_a_damaged_certificate_are_replaced(managed: Server) -> None:
    (managed.directory / "current" / "server.key").unlink()
    assert "key_missing" in managed.settle().plan.reasons
    (managed.directory / "current" / "server.crt").write_text("garbage")
    assert managed.settle().plan.reasons == ["certificate_damaged"]
    managed.restart()
    assert managed.converge().changes == []


def test_a_server_that_did_not_load_the_files_on_disk_is_told_to(managed: Server) -> None:
    request = managed.converge(renew=True).request
    assert request is not None
    current = managed.directory / "current"
    (current / "server.crt").write_text(sign(request, ["localhost", "127.0.0.1"]))
    shutil.copyfile(managed.directory / "pending" / "server.key", current / "server.key")
    outcome = managed.converge()
    assert outcome.changes == ["reload: the server shows another certificate than the one on disk"]
    assert outcome.leaf is not None
    assert managed.served() == outcome.leaf.sha256


def test_a_chain_for_another_key_is_refused_before_anything_live_changes(managed: Server) -> None:
    disk = managed.disk()
    assert managed.converge(renew=True).request is not None
    stranger = managed.cluster.home / "stranger.key"
    stranger.write_text(openssl.new_key("P-256"))
    foreign = sign(openssl.new_request(str(stranger)), ["localhost", "127.0.0.1"])
    with pytest.raises(TlsError, match="issued for another key than the one that waits in"):
        managed.converge(renew=True, certificate=foreign)
    assert managed.disk() == disk


def test_only_the_generation_in_use_and_the_one_before_are_kept(managed: Server) -> None:
    for _renewal in range(3):
        managed.settle(renew=True)
    names = sorted(path.name for path in (managed.directory / "generations").iterdir())
    assert names == ["0003", "0004"]


@pytest.mark.parametrize("method", ["begin", "commit"])
def test_a_full_disk_at_the_journal_leaves_everything_as_it_was(
    managed: Server, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    served, disk = managed.served(), managed.disk()

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device", "journal.json")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, method, full)
        with pytest.raises(TlsError, match=r"No space left on device.*The previous state is restored") as failure:
            managed.converge(hba="# another\n" + HBA, trusted_clients=AUTHORITIES["client"].root.pem)
    assert failure.value.details["rolled_back"] is True
    assert (managed.served(), managed.disk()) == (served, disk)
    assert managed.converge().changes == []
