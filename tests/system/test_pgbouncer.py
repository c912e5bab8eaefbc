# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of module pgbouncer, with a real PgBouncer in front of a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend, console, ini
from ansible_collections.pgops.tls.plugins.module_utils.pooler import convergence, difference, proof, rehearsal, target
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.tests import poolers
from ansible_collections.pgops.tls.tests.poolers import SECRET, Pooler, sign
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]


@pytest.fixture(scope="module")
def database(shared_cluster: Any) -> Any:
    """Give a server that trusts the pooler's certificate for role app."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=poolers.HBA, ident=poolers.IDENT)
    return shared_cluster


@pytest.fixture
def pooler(database: Any) -> Iterator[Pooler]:
    """Give a PgBouncer that the collection has not seen yet."""
    with poolers.running(database) as running:
        yield running


@pytest.fixture
def managed(pooler: Pooler) -> Pooler:
    """Give a PgBouncer that was set up by a first run."""
    pooler.settle()
    return pooler


SUITES_SINCE = DIRECT_SINCE = (1, 25)  # versions with client_tls13_ciphers, and with TLS that no request precedes


def serial_of(pem: bytes) -> str:
    return str(certificate.read_pem(pem.decode(), "chain")[0].serial)


# Set-up, and runs that change nothing


def test_a_first_run_asks_for_both_and_a_second_call_installs_both(pooler: Pooler) -> None:
    first = pooler.converge()
    assert {*first.requests} == {"front", "back"}
    assert convergence.result(first)["reasons"] == ["front: no_certificate", "back: no_certificate"]
    assert not (pooler.directory / "current").exists()
    chains = {name: sign(name, csr) for name, csr in first.requests.items()}
    second = pooler.converge(certificates=chains)
    assert pooler.served() == second.after["front"].sha256
    assert pooler.serial() == str(second.after["back"].serial)
    assert os.listdir(pooler.directory / "pending") == []
    assert not (pooler.directory / "journal.json").exists()
    assert [row["tls"][:4] for row in servers(pooler)] == ["TLSv"]
    pooler.restart()
    assert pooler.serial() == str(second.after["back"].serial)


def servers(pooler: Pooler) -> list[dict[str, str]]:
    return ask(pooler, "SHOW SERVERS")


def ask(pooler: Pooler, command: str) -> list[dict[str, str]]:
    place = console.locate(pooler.port, str(pooler.home))
    os.seteuid(place.account.uid)
    try:
        with contextlib.closing(console.Console(place)) as session:
            return session.rows(command)
    finally:
        os.seteuid(0)


def test_every_file_is_the_os_users_and_keys_are_for_nobody_else(managed: Pooler) -> None:
    found = {path.name: path.stat() for path in (managed.directory / "current").iterdir()}
    assert {one.st_uid for one in found.values()} == {managed.ini.stat().st_uid}
    modes = {name: stat.S_IMODE(one.st_mode) for name, one in found.items()}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"server.key", "client.key"}


def test_only_one_line_and_its_comment_are_added_to_the_configuration(pooler: Pooler) -> None:
    before = pooler.ini.read_text().splitlines()
    pooler.settle()
    after = pooler.ini.read_text().splitlines()
    added = [line for line in after if line not in before]
    assert added[1:] == [f"%include {pooler.directory}/current/tls.ini"]
    assert [line for line in after if line not in added] == before
    assert after.index(added[1]) < after.index("[users]")


def test_the_second_run_changes_nothing_and_asks_for_no_reload(managed: Pooler) -> None:
    disk, reloads = managed.disk(), managed.log().count("RELOAD")
    outcome = managed.converge()
    assert (outcome.changes, outcome.requests, outcome.warnings) == ([], {}, [])
    assert managed.disk() == disk
    assert managed.log().count("RELOAD") == reloads


def test_check_mode_tells_the_same_changes_and_touches_nothing(pooler: Pooler) -> None:
    before = pooler.disk()
    foreseen = pooler.converge(check_mode=True)
    assert foreseen.requests == {"front": "", "back": ""}
    assert pooler.disk() == before
    assert not pooler.directory.exists()
    assert foreseen.changes == pooler.settle().changes != []
    assert pooler.converge(check_mode=True, renew=True).changes[0] == "front certificate: forced"


def test_no_secret_is_in_results_differences_and_errors(pooler: Pooler) -> None:
    outcome = pooler.settle()
    shown = json.dumps([convergence.result(outcome), difference.of(outcome)])
    pooler.write_ini(before="nonsense")
    with pytest.raises(TlsError) as failure:
        pooler.converge()
    shown += json.dumps(failure.value.as_result())
    key = (pooler.directory / "current" / "server.key").read_text().splitlines()[1]
    assert SECRET not in shown
    assert key not in shown
    assert "PRIVATE" not in shown


# Renewal


def test_a_renewal_under_a_loop_of_connections_fails_none(managed: Pooler) -> None:
    front, back = managed.leaves()
    assert managed.serial() == serial_of(back)
    done, failed = threading.Event(), []
    counted = [0]

    def connect() -> None:
        while not done.is_set():
            try:
                managed.query("SELECT 1")
                counted[0] += 1
            except Exception as error:  # noqa: BLE001 (whatever it is, a client has failed)
                failed.append(repr(error))

    threads = [threading.Thread(target=connect) for _number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _renewal in range(2):
            managed.settle(renew=True)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert counted[0] > 20
    renewed = managed.leaves()
    assert renewed[0] != front
    assert managed.serial() == serial_of(renewed[1]) != serial_of(back)


def test_each_certificate_is_renewed_for_reasons_of_its_own(pooler: Pooler) -> None:
    pooler.settle(start=TODAY - 80 * DAY)
    key = (pooler.directory / "current" / "client.key").read_bytes()
    assert pooler.settle().changes == ["front certificate: expires_in_10d", "back certificate: expires_in_10d"]
    assert (pooler.directory / "current" / "client.key").read_bytes() == key, "the way to PostgreSQL keeps its key"
    front, back = pooler.leaves()
    names = [*poolers.LOOPBACK, "pool.example"]
    assert pooler.settle(names=names).changes == ["front certificate: san_missing: pool.example"]
    assert pooler.leaves()[0] != front
    assert pooler.leaves()[1] == back


def test_a_change_of_the_front_alone_keeps_the_connections_to_postgresql(managed: Pooler) -> None:
    version = managed.converge().found.version
    managed.serial()
    before = {row["remote_pid"] for row in servers(managed)}
    managed.settle(names=[*poolers.LOOPBACK, "pool.example"])
    managed.serial()
    after = {row["remote_pid"] for row in servers(managed)}
    assert (before == after) is (version >= proof.RECYCLES_ALONE)
    managed.settle(names=[*poolers.LOOPBACK, "pool.example"], renew=True)
    assert managed.serial() == serial_of(managed.leaves()[1]), "and a new certificate is used at once"


def test_a_setting_changes_with_the_same_certificates(managed: Pooler) -> None:
    leaves = managed.leaves()
    outcome = managed.converge(settings={"client_tls_protocols": "tlsv1.3"})
    assert outcome.changes == ["tls.ini: changed"]
    assert managed.leaves() == leaves


def test_cipher_suites_of_tls_1_3_are_in_force_where_the_version_knows_them(managed: Pooler) -> None:
    if poolers.version() < SUITES_SINCE:
        pytest.skip("this version has no client_tls13_ciphers")
    for suite in ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"):
        assert managed.converge(settings={"client_tls13_ciphers": suite}).changes == ["tls.ini: changed"]
        with wire.encrypted(wire.Endpoint("127.0.0.1", managed.port)) as session:
            assert (session.cipher() or "")[0] == suite


def test_clients_that_ask_for_no_tls_first_see_the_same_certificate(managed: Pooler) -> None:
    if poolers.version() < DIRECT_SINCE:
        pytest.skip("this version knows no direct TLS")
    for _renewal in range(2):
        direct = wire.observe(wire.Endpoint("127.0.0.1", managed.port), direct=True)
        assert direct.leaf.sha256 == managed.served()
        managed.settle(renew=True)


@pytest.mark.parametrize("protocol", ["tlsv1.2", "tlsv1.3"])
def test_where_clients_need_certificates_the_change_is_proven_with_one(managed: Pooler, protocol: str) -> None:
    wanted = {"client_tls_sslmode": "verify-full", "settings": {"client_tls_protocols": protocol}}
    assert managed.settle(**wanted).changes == ["tls.ini: changed"]
    assert managed.settle(**wanted, renew=True).changes[0] == "front certificate: forced"
    assert managed.settle(**wanted).changes == []


def test_a_client_logs_in_by_its_own_certificate_and_the_pooler_by_its_own(pooler: Pooler) -> None:
    pooler.write_ini(before="auth_type = cert")
    done = pooler.settle(client_tls_sslmode="verify-full")
    key = pooler.give("app.key", openssl.new_key("P-256"), 0o600)
    chain = pooler.give("app.crt", sign("back", openssl.new_request(str(key)), role="app"))
    context = wire.observing_context()
    context.load_cert_chain(chain, key)
    sql = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert pooler.query(sql, context=context).decode() == str(done.after["back"].serial)
    with pytest.raises((AssertionError, OSError)):
        pooler.query(sql)


def test_what_somebody_set_on_the_console_is_put_right(managed: Pooler) -> None:
    ask(managed, "SET client_tls_sslmode = 'prefer'")
    told = ["reload: client_tls_sslmode is 'prefer' in force, expected 'require'"]
    assert managed.converge(check_mode=True).changes == managed.converge().changes == told
    assert managed.converge().changes == []


def test_without_a_log_a_new_leaf_shows_the_change(managed: Pooler) -> None:
    (managed.home / "log").chmod(0o200)  # PgBouncer ends if it cannot open its log after a reload
    outcome = managed.converge(check_mode=True, settings={"client_tls_protocols": "tlsv1.3"})
    assert outcome.changes[0] == "front certificate: reload_not_observable"


# What is refused before anything changes


def refused(pooler: Pooler, message: str, *, settles: bool = False, **changes: Any) -> TlsError:
    disk, reloads = pooler.disk(), pooler.log().count("RELOAD command")
    with pytest.raises(TlsError, match=message) as failure:
        pooler.settle(**changes) if settles else pooler.converge(**changes)
    after = pooler.disk()
    assert {name: after[name] for name in disk} == disk
    assert not (pooler.directory / "journal.json").exists()
    assert pooler.log().count("RELOAD command") == reloads
    return failure.value


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"before": "nonsense"}, r"pgbouncer\.ini line 12: found neither a section, nor NAME = VALUE"),
        ({"before": "no_such = 1"}, r"line 12: found setting 'no_such', which this version of PgBouncer does not know"),
        ({"before": "%include /nonexistent"}, r"line 12: found an included file that does not exist"),
        ({"before": '"x" = 1'}, "line 12: found neither a section, nor NAME = VALUE"),
        ({"after": "[pgbouncer]\nlisten_port = 1"}, "^$"),
        ({"before": "auth_type = cert"}, "auth_type is cert, which needs client_tls_sslmode verify-full"),
        ({"after": "%include HOME/more"}, r"later lines would override .*: client_tls_sslmode in \S+/more line 2"),
        ({"after": "%include HOME/reset"}, r"override .*: client_tls_sslmode by the header in \S+/reset line 1"),
    ],
    ids=["broken", "unknown", "include", "quotes", "second section", "auth_type", "override", "reset"],
)
def test_a_configuration_that_would_not_load_is_refused(pooler: Pooler, lines: dict[str, str], message: str) -> None:
    pooler.give("more", "[pgbouncer]\nclient_tls_sslmode = disable\n[users]\n")
    pooler.give("reset", "[pgbouncer]\n[users]\n")
    pooler.write_ini(**{name: text.replace("HOME", str(pooler.home)) for name, text in lines.items()})
    if message == "^$":  # a second section is PgBouncer's last word, so ours goes there
        text = pooler.converge(check_mode=True).plan.text or ""
        assert text.index("%include") > text.index("listen_port = 1\n")
        return
    refused(pooler, message)


def test_an_included_file_that_begins_another_section_comes_after_ours(pooler: Pooler) -> None:
    """What follows such a file is in its section, where PgBouncer would take our settings for databases."""
    way = f"host=127.0.0.1 port={pooler.cluster.port} dbname=postgres user=app"
    more = pooler.give("more", f"[databases] ; ours\nmore = {way} password='{SECRET}'\n")
    pooler.write_ini(before=f"%include {more}")
    pooler.restart()
    pooler.settle()
    assert re.findall(r"%include \S*/(\S+)", pooler.ini.read_text()) == ["tls.ini", "more"]
    assert pooler.converge().changes == []
    pooler.restart()
    assert pooler.serial("more") == serial_of(pooler.leaves()[1])


def test_a_file_that_ends_in_our_section_comes_before_ours(pooler: Pooler) -> None:
    text = pooler.ini.read_text().partition("[pgbouncer]")[2].partition("[users]")[0]
    more = pooler.give("more", f"[pgbouncer] ; the second one\n{text}")
    pooler.write_ini(after=f"%include {more}\n")
    pooler.settle()
    assert re.findall(r"%include \S*/(\S+)", pooler.ini.read_text()) == ["more", "tls.ini"]
    pooler.restart()
    assert pooler.served() == pooler.converge().after["front"].sha256


def test_an_included_file_is_found_from_the_directory_of_pgbouncer(
    pooler: Pooler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pooler.give("more", "server_login_retry = 2\n")
    pooler.write_ini(before=f"%include {str(pooler.home)[1:]}/more")  # it was started in /
    pooler.restart()
    monkeypatch.chdir(tmp_path)
    pooler.settle()
    assert pooler.served() == pooler.converge().after["front"].sha256
    (pooler.home / "more").unlink()
    refused(pooler, "found an included file that does not exist", renew=True)


def test_a_name_in_quotes_is_refused_only_where_pgbouncer_refuses_it(pooler: Pooler) -> None:
    pooler.write_ini(
        after=f"[databases]\n'shop@ro' = host=127.0.0.1 port={pooler.cluster.port} dbname=postgres user=app"
    )
    if poolers.version() < ini.QUOTES_SINCE:
        refused(pooler, r"found a name in quotes, which PgBouncer 1\.\d+ does not take")
        ask_in_vain(pooler)
        return
    pooler.settle()
    pooler.restart()
    assert pooler.serial("shop@ro") == serial_of(pooler.leaves()[1])


def ask_in_vain(pooler: Pooler) -> None:
    """Have PgBouncer reload what it refuses, and see that it does."""
    ask(pooler, "RELOAD")
    assert "syntax error in configuration" in pooler.log()


def test_a_broken_line_is_a_warning_where_nothing_is_to_be_loaded(managed: Pooler) -> None:
    text = managed.ini.read_text()
    managed.give("pgbouncer.ini", text.replace("[pgbouncer]", "nonsense\n[pgbouncer]"))
    outcome = managed.converge()
    assert outcome.changes == []
    assert re.search(r"ini line \d+: found neither a section.* would not start again\. Correct", outcome.warnings[0])
    refused(managed, "found neither a section", renew=True)


def test_a_setting_that_this_version_does_not_know_is_refused_by_name(pooler: Pooler) -> None:
    has_suites = poolers.version() >= SUITES_SINCE
    message = "client_tls13_ciphers is 'x': " if has_suites else "PgBouncer 1.* does not know client_tls13_ciphers"
    refused(pooler, message, settings={"client_tls13_ciphers": "x"})
    refused(pooler, "client_tls_ciphers is 'NONE-SUCH': No cipher can be", settings={"client_tls_ciphers": "NONE-SUCH"})
    refused(pooler, "found 'server_tls_sslmode', expected some of", settings={"server_tls_sslmode": "disable"})


def test_another_configuration_file_is_refused(pooler: Pooler) -> None:
    pooler.give("other.ini", pooler.ini.read_text())
    other = f"{pooler.home}/other.ini"
    refused(pooler, rf"was started with \S+/pgbouncer.ini, expected {other}", config_file=other)


def test_a_wrong_authority_towards_postgresql_is_refused_before_the_reload(managed: Pooler) -> None:
    stranger = issuing.new_authority("server", "P-256", TODAY)
    disk, reloads = managed.disk(), managed.log().count("RELOAD command")
    front = sign_by(stranger, managed, names=poolers.LOOPBACK)
    with pytest.raises(TlsError, match=r"clients would hang: 127\.0\.0\.1:.*certificate verify failed") as failure:
        managed.converge(roots=stranger.root.pem, server_issuing=stranger.issuing.pem, renew=True, certificates=front)
    assert failure.value.code == "back_refused"
    assert managed.disk() == disk
    assert managed.log().count("RELOAD command") == reloads
    assert managed.query("SELECT 1") == b"1"


def sign_by(authority: issuing.Authority, pooler: Pooler, names: list[str]) -> dict[str, str]:
    """Return certificates for forced requests, that of the front from another authority."""
    asked = pooler.converge(roots=authority.root.pem, server_issuing=authority.issuing.pem, renew=True)
    patch = pytest.MonkeyPatch()
    back = sign("back", asked.requests["back"])
    with patch.context() as patched:
        patched.setitem(AUTHORITIES, "server", authority)
        return {"front": sign("front", asked.requests["front"], names=names), "back": back}


def test_a_name_that_postgresql_does_not_have_is_refused(pooler: Pooler) -> None:
    pooler.write_ini(database=f"host=127.0.0.2 port={pooler.cluster.port} dbname=postgres")
    pooler.cluster.append("postgresql.conf", "listen_addresses = '127.0.0.1,127.0.0.2'\n")
    pooler.cluster.stop("fast")
    pooler.cluster.start(pooler.cluster.port)
    refused(pooler, "127.0.0.2:.*does not match host name|127.0.0.2:.*server certificate", settles=True)


def test_what_cannot_be_reached_is_named_and_does_not_stop_the_run(pooler: Pooler) -> None:
    pooler.write_ini(database="host=127.0.0.1 port=1 dbname=postgres")
    told = pooler.settle().warnings
    assert len(told) == 1
    assert told[0].startswith("127.0.0.1:1: not reached, so the way to PostgreSQL is not proven")
    assert SECRET not in told[0]


def test_a_way_on_which_postgresql_sees_another_certificate_is_no_proof(managed: Pooler) -> None:
    files = target.read(managed.all_options()).pair.client_files(str(managed.directory / "current"))
    serial, account = int(managed.serial()), processes.account(poolers.ACCOUNT, "os_user")
    way = backend.Way("127.0.0.1", managed.cluster.port, "postgres", "app")
    tried = backend.trials([way], files, account)
    rehearsal.prove(tried, files, account, serial)
    with pytest.raises(TlsError, match=f"saw client certificate {serial}, expected {serial + 1}"):
        rehearsal.prove(tried, files, account, serial + 1)


def test_a_role_that_postgresql_refuses_after_the_handshake_is_told_as_that(pooler: Pooler) -> None:
    pooler.write_ini(database=f"host=127.0.0.1 port={pooler.cluster.port} dbname=postgres")
    [told] = pooler.settle().warnings
    assert "TLS and certificates are accepted. PostgreSQL refuses role 'pgbouncer' itself: " in told


def test_a_pooler_that_does_not_answer_is_named(pooler: Pooler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "TIMEOUT", 0.3)
    os.kill(pooler.pid(), signal.SIGSTOP)
    with pytest.raises(TlsError, match="the console gives no answer: timed out"):
        pooler.converge()
    pooler.stop()
    with pytest.raises(TlsError, match="No PgBouncer was found on port"):
        pooler.converge()
    assert not pooler.directory.exists()


# What only PgBouncer finds


def another_key(key: Path) -> None:
    key.write_text(openssl.new_key("P-256"))


def unreadable_key(key: Path) -> None:
    key.chmod(0)


@pytest.mark.parametrize(
    ("damage", "key", "message"),
    [
        (another_key, "server.key", "did not take the new TLS files: .*key values mismatch"),
        (another_key, "client.key", "would hang: 127.0.0.1"),
        (unreadable_key, "server.key", "did not take the new TLS files: .*failed to load private key file"),
        (unreadable_key, "client.key", "would hang: 127.0.0.1"),
    ],
)
def test_a_pair_that_cannot_be_used_is_undone_and_proven(
    managed: Pooler, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], key: str, message: str
) -> None:
    served, disk, leaves = managed.served(), managed.disk(), managed.leaves()
    whole = Journal.switch

    def faulty(journal: Journal) -> None:
        damage(Path(journal.store.path(journal.store.names()[-1])) / key)
        whole(journal)

    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "switch", faulty)
        with pytest.raises(TlsError, match=message) as failure:
            managed.settle(renew=True)
    assert failure.value.details["rolled_back"] is True
    assert "The previous state is restored and proven" in failure.value.message
    assert (managed.served(), managed.disk(), managed.leaves()) == (served, disk, leaves)
    assert managed.query("SELECT 1") == b"1"
    managed.restart()
    assert managed.settle(renew=True).changes == ["front certificate: forced", "back certificate: forced"]
    assert managed.served() != served


def test_a_failure_of_the_first_set_up_leaves_pgbouncer_as_it_was(
    pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pooler.ini.read_bytes()
    monkeypatch.setattr(proof, "_PATIENCE", 0.5)

    def failing(*_arguments: object) -> None:
        raise TlsError("no proof", code="x")

    with monkeypatch.context() as patch:
        patch.setattr(proof.Prover, "back", failing)
        with pytest.raises(TlsError, match="no proof The previous state is restored and proven"):
            pooler.settle()
    assert pooler.ini.read_bytes() == before
    with pytest.raises(TlsError, match="offers no TLS"):
        pooler.served()
    pooler.restart()
    assert pooler.settle().after


# Who owns the configuration file


def test_a_file_in_a_directory_of_root_is_replaced_as_root(pooler: Pooler) -> None:
    """As Debian's package has it: the file is the OS user's, the directory is root's."""
    folder = Path("/opt") / pooler.home.name
    folder.mkdir(mode=0o755)
    try:
        shutil.copy2(pooler.ini, folder / "pgbouncer.ini")
        os.chown(folder / "pgbouncer.ini", pooler.ini.stat().st_uid, pooler.ini.stat().st_gid)
        pooler.stop()
        pooler.ini.unlink()
        pooler.ini.symlink_to(folder / "pgbouncer.ini")
        pooler.options = {"config_file": str(folder / "pgbouncer.ini")}
        pooler.start()
        os.chown(folder / "pgbouncer.ini", 1, pooler.ini.stat().st_gid)  # somebody else's: root must not touch it
        (folder / "pgbouncer.ini").chmod(0o644)
        with pytest.raises(TlsError, match="who runs the pooler, cannot write to /opt/"):
            pooler.converge()
        os.chown(folder / "pgbouncer.ini", pooler.home.stat().st_uid, pooler.home.stat().st_gid)
        pooler.settle()
        assert "%include" in (folder / "pgbouncer.ini").read_text()
        assert (folder / "pgbouncer.ini").stat().st_uid == pooler.home.stat().st_uid
        assert os.listdir(folder) == ["pgbouncer.ini"]
    finally:
        shutil.rmtree(folder)


# Interruptions, roll-back


def test_a_roll_back_restores_the_generation_before_once(managed: Pooler) -> None:
    first = managed.leaves()
    managed.settle(renew=True)
    ordered = {"renew": True, "settings": {"client_tls_protocols": "tlsv1.3"}}
    assert managed.roll_back(check_mode=True, **ordered).next_run == [], "settings stay as declared"
    foreseen = managed.roll_back(check_mode=True)
    done = managed.roll_back()
    assert foreseen.changes == done.changes
    assert managed.leaves() == first
    assert managed.serial() == serial_of(first[1])
    assert managed.roll_back().changes == []
    assert managed.converge().changes == []


def test_a_roll_back_without_a_generation_before_is_refused(managed: Pooler) -> None:
    refused(managed, "there is no generation before 0001", kind=poolers.roll_back.RollBack)


def pending(pooler: Pooler) -> set[str]:
    return {path.name for path in (pooler.directory / "pending").iterdir()}


def test_renewals_that_come_later_are_asked_for_once_each(managed: Pooler) -> None:
    before = managed.leaves()
    forced = ["front certificate: forced", "back certificate: forced"]
    asked = managed.converge(renew=True)
    assert asked.changes == forced
    managed.converge(renew=True, certificates={"front": "", "back": ""})
    assert managed.converge(check_mode=True).changes == forced
    again = managed.converge()
    assert again.changes == forced
    managed.converge(certificates={"front": "", "back": sign("back", again.requests["back"])})
    assert [one == two for one, two in zip(before, managed.leaves())] == [True, False]
    last = managed.converge()
    assert last.changes == forced[:1]
    managed.converge(certificates={"front": sign("front", asked.requests["front"])})
    assert pending(managed) == set()
    assert managed.converge().changes == []
    assert managed.query("SELECT 1") == b"1"
