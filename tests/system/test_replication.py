# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real standby replicates with its certificate, and connects again after a renewal: told, managed, proven."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.replication import (
    convergence,
    reconnecting,
    trial,
)
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions
from ansible_collections.pgops.tls.tests import replicas
from ansible_collections.pgops.tls.tests.replicas import HBA, ROLE, SECRET, Replica
from ansible_collections.pgops.tls.tests.servers import TODAY, Server
from ansible_collections.pgops.tls.tests.system.conftest import run_as, running_cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user")


@pytest.fixture
def home() -> Iterator[Path]:
    """Give the OS user that runs clusters another home for its files."""
    made = Path(tempfile.mkdtemp(prefix="pgtls-home-", dir="/tmp"))
    replicas.give(made, pwd.getpwnam("postgres"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def replica(cluster: Any, home: Path, initialised: Path) -> Iterator[Replica]:
    """Give a managed primary with a standby that streams in plaintext."""
    replicas.prepare(cluster)
    with running_cluster(initialised) as standby:
        replicas.copied(cluster, standby, run_as)
        primary = Server(cluster, cluster.home / "tls", {"plaintext": "allow", "hba": HBA})
        primary.settle()
        yield Replica(primary, standby, home)


@pytest.fixture
def managed(replica: Replica) -> Replica:
    """Give a standby that replicates with its certificate."""
    replica.clients.converge()
    replica.converge()
    return replica


def refused(replica: Replica, code: str, **changes: Any) -> TlsError:
    """Return the error of a call that changes nothing: the connection is the same as before."""
    before = replica.receiver(), replica.written(), replica.serial()
    with pytest.raises(TlsError) as found:
        replica.converge(**changes)
    assert (replica.receiver(), replica.written(), replica.serial()) == before
    assert found.value.code == code
    assert SECRET not in json.dumps(found.value.as_result())
    return found.value


# Told


def test_a_plaintext_standby_is_told(replica: Replica) -> None:
    codes, warnings = replica.told()
    assert codes == ["plaintext_possible"]
    assert re.match(r"This standby \(host localhost, port \d+, user replicator\) has sslmode=disable in", warnings[0])
    assert replica.told(replica.primary.cluster) == ([], []), "a primary replicates from nobody"


def test_a_standby_that_is_not_connected_is_told(replica: Replica) -> None:
    replica.primary.cluster.stop()
    replicas.until(lambda: not replicas.streams(replica.standby), "the standby is not connected")
    assert replica.told()[0] == ["not_streaming", "plaintext_possible"]


def test_a_look_at_sessions_tells_what_module_server_tells_and_shows_the_other_end(replica: Replica) -> None:
    options = {"show": "findings", "client_serials": {}, "client_issuing": "", "client_revoked": [], "names": []}
    options |= {"issuing": None, "revoked": [], "key_type": "P-256", "renew_before": None, "login_user": "postgres"}
    options |= {"login_host": None}

    def asked(of: Any) -> dict[str, Any]:
        place = {"port": of.port, "login_unix_socket": of.socket_directory}
        found = sessions.result({**options, **place}, TODAY)
        assert SECRET not in json.dumps(found)
        return found

    standby, primary = asked(replica.standby), asked(replica.primary.cluster)
    assert [one["findings"] for one in standby["replication"]["connections"]] == [["plaintext_possible"]]
    assert "replication" not in primary
    assert standby["system_identifier"] == primary["system_identifier"] != ""
    (sender,) = primary["sessions"]
    assert (sender["type"], sender["application"], sender["findings"]) == ("walsender", "s2", ["plaintext"])
    installed = replica.clients.converge()
    replica.converge()
    standby, primary = asked(replica.standby), asked(replica.primary.cluster)
    (connection,), (sender,) = standby["replication"]["connections"], primary["sessions"]
    assert connection["findings"] == sender["findings"] == []
    assert connection["serial"] == sender["serial"] == installed["identities"][0]["serial"]


# Set up


def test_a_standby_is_set_up_and_the_second_run_changes_nothing(replica: Replica) -> None:
    installed = replica.clients.converge()
    foreseen = replica.converge(check_mode=True)
    assert replica.serial() == ""
    done = replica.converge()
    assert list(done.changes) == list(foreseen.changes)
    assert done.changes[0].startswith("primary_conninfo: sslmode=verify-full, sslcert=")
    assert replica.serial() == replica.own_serial(installed)
    assert replica.told() == ([], [])
    [warning] = done.warnings
    assert re.search(r"postgresql.conf line \d+: ALTER SYSTEM takes precedence over primary_conninfo", warning)
    used = replica.standby.psql("SHOW primary_conninfo")
    assert f"password={SECRET}" in used.replace("'", ""), "everything else stays"
    assert "application_name=s2" in used
    before = replica.receiver(), replica.written()
    assert list(replica.converge().changes) == []
    assert (replica.receiver(), replica.written()) == before
    lines = [line for line in replica.standby.log().splitlines() if SECRET in line]
    assert all('parameter "primary_conninfo" changed to' in line for line in lines), "which PostgreSQL always logs"


def test_check_mode_foresees_the_set_up_before_there_is_a_certificate(replica: Replica) -> None:
    assert replica.converge(check_mode=True).changes[0].startswith("primary_conninfo: ")
    error = refused(replica, "replication_files_missing")
    assert str(replica.file("postgresql.crt")) in error.message


def test_it_still_replicates_after_a_restart(managed: Replica) -> None:
    serial = managed.serial()
    managed.standby.stop("fast")
    managed.standby.start(managed.standby.port)
    replicas.until(lambda: managed.serial() == serial, "the standby streams with its certificate")


# Renewal


def test_after_a_renewal_the_standby_is_told_and_connects_with_the_new_certificate(managed: Replica) -> None:
    before, conninfo = managed.serial(), managed.written()
    renewed = managed.clients.converge(renew=True)
    codes, warnings = managed.told()
    assert codes == ["old_certificate"]
    assert "still uses the certificate from before the last renewal" in warnings[0]
    assert managed.serial() == before, "a walreceiver keeps its connection"
    assert list(managed.converge(check_mode=True).changes) == [
        "standby: a new connection, with the certificate in use now"
    ]
    assert managed.serial() == before
    managed.converge()
    assert managed.serial() == managed.own_serial(renewed) != before
    assert managed.written() == conninfo
    assert managed.told() == ([], [])
    assert list(managed.converge().changes) == []


def test_another_generation_with_the_same_certificate_is_no_reason_to_connect_again(managed: Replica) -> None:
    receiver = managed.receiver()
    more = [managed.identity, {**managed.identity, "role": "other", "databases": []}]
    managed.clients.converge(identities=more)
    managed.clients.converge()
    assert managed.told() == ([], [])
    assert list(managed.converge().changes) == []
    assert managed.receiver() == receiver


# Refused, and nothing has changed


def test_a_key_that_others_can_read_is_refused_with_libpq_s_words(managed: Replica) -> None:
    managed.clients.converge(renew=True)
    managed.file("postgresql.key").chmod(0o644)
    error = refused(managed, "replication_refused")
    assert "has group or world access" in error.message


def test_a_broken_certificate_is_refused(replica: Replica) -> None:
    replica.clients.converge()
    replica.file("postgresql.crt").write_text("nonsense")
    assert "could not read certificate file" in refused(replica, "replication_refused").message


def test_another_role_is_refused_with_the_servers_words(replica: Replica) -> None:
    identity = {**replica.identity, "role": "nobody"}
    replica.clients.converge(identities=[identity])
    error = refused(replica, "replication_refused", role="nobody", identities=[identity])
    assert 'password authentication failed for user "nobody"' in error.message, "by a rule of initdb"


def test_an_identity_of_another_os_user_is_refused(replica: Replica) -> None:
    error = refused(replica, "replication_identity_missing", identities=[{**replica.identity, "os_user": "barman"}])
    assert "role 'replicator' and OS user 'postgres'" in error.message


@pytest.mark.parametrize(
    ("file", "text", "manager"),
    [
        ("postgresql.conf", "# It will be overwritten by Patroni!\n", "Patroni"),
        ("../keeperstate", "", "Stolon"),
        ("postgresql-auto-failover-standby.conf", "", "pg_auto_failover"),
    ],
)
def test_a_program_that_keeps_primary_conninfo_is_not_overruled(
    replica: Replica, file: str, text: str, manager: str
) -> None:
    replica.clients.converge()
    if "auto-failover" in file:
        text = f"primary_conninfo = '{replicas.conninfo(replica.primary.cluster)}'\n"
        replica.standby.append("postgresql.conf", f"include '{file}'\n")
    path = replica.standby.data / file
    replica.standby.write(file, (path.read_text() if path.exists() else "") + text)
    replica.standby.reload()
    error = refused(replica, "config_managed_elsewhere")
    assert error.details["manager"] == manager


def test_a_server_of_another_cluster_is_refused(replica: Replica, initialised: Path) -> None:
    replica.clients.converge()
    with running_cluster(initialised) as other:
        other.stop()
        shutil.rmtree(other.data)
        run_as(other.account, other.programs / "initdb", "-D", other.data, "--no-sync", "-A", "trust")
        other.start()
        other.psql(f"CREATE ROLE {ROLE} LOGIN REPLICATION")
        Server(other, other.home / "tls", {"plaintext": "allow", "hba": HBA}).settle()
        replica.standby.psql(f"ALTER SYSTEM SET primary_conninfo = 'host=localhost port={other.port} user=x'")
        replica.standby.reload()
        with pytest.raises(TlsError, match="belongs to another cluster") as found:
            replica.converge()
    assert found.value.code == "replication_other_cluster"


@pytest.mark.parametrize("is_by_alter_system", [False, True])
def test_without_proof_the_connection_from_before_comes_back(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, is_by_alter_system: bool
) -> None:
    replica.clients.converge()
    if is_by_alter_system:
        text = replicas.conninfo(replica.primary.cluster, "sslmode=disable keepalives_idle=9")
        replica.standby.psql(f"ALTER SYSTEM SET primary_conninfo = '{text}'")
        replica.standby.reload()
        replicas.until(lambda: replicas.streams(replica.standby), "the standby streams")
    before = replica.written()
    monkeypatch.setattr(trial, "refuse_broken", lambda *_arguments: None)
    monkeypatch.setattr(reconnecting, "_PATIENCE", 2.0)
    replica.file("postgresql.key").chmod(0o644)
    with pytest.raises(TlsError) as found:
        replica.converge()
    assert found.value.code == "replication_not_seen"
    assert found.value.details["rolled_back"] is True
    assert replica.written() == before
    assert replicas.streams(replica.standby)
    assert replica.serial() == ""


# Slot synchronization


def with_database(replica: Replica, hba: str) -> None:
    """Have primary_conninfo name a database, and the primary decide by these rules who gets there with TLS."""
    text = replicas.conninfo(replica.primary.cluster, "sslmode=disable dbname=postgres")
    replica.standby.psql(f"ALTER SYSTEM SET primary_conninfo = '{text}'")
    replica.standby.reload()
    replica.primary.settle(hba=hba)
    replicas.until(lambda: replicas.streams(replica.standby), "the standby streams")
    replica.clients.converge()


ONLY_REPLICATION = f"hostssl replication {ROLE} all cert\nhostssl all {ROLE} all reject\n"


def test_the_worker_for_slots_must_get_in_with_new_parameters(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_database(replica, ONLY_REPLICATION)
    asked = convergence._asked
    monkeypatch.setattr(convergence, "_asked", lambda *given: {**asked(*given), "syncs_slots": True})
    for check_mode in (True, False):
        error = refused(replica, "slot_sync_refused", check_mode=check_mode)
        assert "pg_hba.conf rejects connection" in error.message
        assert "Add postgres to databases of this role" in str(error)
    replica.primary.settle(hba=HBA)
    assert replica.converge().changes[0].startswith("primary_conninfo: sslmode=verify-full")
    replica.primary.settle(hba=ONLY_REPLICATION)
    renewed = replica.clients.converge(renew=True)
    [warning] = replica.converge().warnings
    assert "The connection that it has continues." in warning
    assert replica.serial() == replica.own_serial(renewed), "a worker that never got in keeps no standby from it"


def test_a_server_that_synchronizes_no_slots_needs_no_database(replica: Replica) -> None:
    with_database(replica, ONLY_REPLICATION)
    assert replica.converge().changes[0].startswith("primary_conninfo: sslmode=verify-full")


def test_a_real_worker_for_slots_connects_again_after_a_renewal(replica: Replica) -> None:
    primary, standby = replica.primary.cluster, replica.standby
    if int(standby.psql("SHOW server_version_num")) < 170000:
        pytest.skip("PostgreSQL 17 was the first to synchronize slots")
    primary.psql("SELECT pg_create_physical_replication_slot('s2')")
    standby.append(
        "postgresql.conf",
        "wal_level = logical\nprimary_slot_name = 's2'\nhot_standby_feedback = on\nsync_replication_slots = on\n",
    )
    primary.append("postgresql.conf", "wal_level = logical\n")  # 19 wants it there, too
    with_database(replica, HBA)
    for one in (primary, standby):
        one.stop("fast")
        one.start(one.port)

    def serial() -> str:
        standby.psql("SELECT 1")  # the server looks for a missing worker when something happens, or once in a minute
        shown = "SELECT coalesce(max(client_serial)::text, '') FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        return str(primary.psql(f"{shown} WHERE datname = 'postgres'"))

    replica.converge()
    replicas.until(lambda: serial() == replica.serial() != "", "the worker has the certificate")
    renewed = replica.clients.converge(renew=True)
    assert replica.converge().warnings == []
    replicas.until(lambda: serial() == replica.own_serial(renewed), "the worker has the new certificate")


# Roles swap


def test_after_a_switchover_the_same_options_are_right_for_both(managed: Replica) -> None:
    old, new = managed.primary.cluster, managed.standby
    of_new = Server(new, new.home / "tls", {"plaintext": "allow", "hba": HBA})
    of_new.settle()
    old.stop("fast")
    new.psql("SELECT pg_promote()")
    declared = new.psql("SHOW primary_conninfo")
    assert managed.converge(new) == ([], None, ()), "a primary ignores it"
    assert new.psql("SHOW primary_conninfo") == declared
    replicas.follow(old, new)
    assert managed.converge(old).changes[0].startswith("primary_conninfo: sslmode=verify-full")
    swapped = Replica(of_new, old, managed.home)
    assert re.fullmatch(r"\d{9,}", swapped.serial())
    assert swapped.told() == ([], [])
    shutil.rmtree(of_new.directory)


# Subscriptions


@pytest.fixture
def subscriber(managed: Replica, second_cluster: Any) -> Any:
    """Give a cluster that subscribes with the certificate, and whose apply worker runs."""
    publisher = managed.primary.cluster
    publisher.append("postgresql.conf", "wal_level = logical\n")
    publisher.stop("fast")
    publisher.start(publisher.port)
    publisher.psql("CREATE TABLE items (id int PRIMARY KEY); CREATE PUBLICATION all_items FOR TABLE items")
    publisher.psql(f"GRANT SELECT ON items TO {ROLE}")
    files = f"sslcert={managed.file('postgresql.crt')} sslkey={managed.file('postgresql.key')} "
    files += f"sslrootcert={managed.file('postgresql.crt').parents[1] / 'root.crt'}"
    where = f"host=localhost port={publisher.port} dbname=postgres user={ROLE} password={SECRET}"
    second_cluster.psql("CREATE TABLE items (id int PRIMARY KEY)")
    second_cluster.psql(
        f"CREATE SUBSCRIPTION items CONNECTION '{where} sslmode=verify-full {files}' PUBLICATION all_items"
    )
    replicas.until(lambda: _worker(second_cluster), "the apply worker runs")
    yield second_cluster
    second_cluster.psql("ALTER SUBSCRIPTION items DISABLE")
    second_cluster.psql("ALTER SUBSCRIPTION items SET (slot_name = NONE)")
    second_cluster.psql("DROP SUBSCRIPTION items")


def _worker(cluster: Any) -> str:
    return str(cluster.psql("SELECT pid FROM pg_stat_subscription WHERE relid IS NULL AND pid IS NOT NULL"))


def _of_worker(replica: Replica) -> str:
    query = "SELECT max(client_serial) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
    return str(replica.primary.cluster.psql(f"{query} WHERE application_name = 'items'"))


def test_a_subscription_is_told_and_connects_again_after_a_renewal(managed: Replica, subscriber: Any) -> None:
    assert managed.told(subscriber) == ([], [])
    assert list(managed.converge(subscriber).changes) == []
    before = _of_worker(managed)
    renewed = managed.clients.converge(renew=True)
    codes, warnings = managed.told(subscriber)
    assert codes == ["old_certificate"]
    assert warnings[0].startswith("Subscription 'postgres/items' (host localhost, port ")
    assert list(managed.converge(subscriber).changes) == [
        "postgres/items: a new connection, with the certificate in use now"
    ]
    replicas.until(lambda: _of_worker(managed) == managed.own_serial(renewed) != before, "the new certificate")
    assert managed.told(subscriber) == ([], [])
    subscriber.psql("ALTER SUBSCRIPTION items DISABLE")
    assert managed.told(subscriber) == ([], []), "a disabled one connects to nobody"


def test_a_subscription_without_tls_is_told(managed: Replica, subscriber: Any) -> None:
    where = f"host=localhost port={managed.primary.cluster.port} dbname=postgres user={ROLE} password={SECRET}"
    subscriber.psql(f"ALTER SUBSCRIPTION items CONNECTION '{where} sslmode=require'")
    assert managed.told(subscriber)[0] == ["not_verified"]
