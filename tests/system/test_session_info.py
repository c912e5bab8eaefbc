# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real sessions of every kind on a real server, and what is said of each."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import loops
from ansible_collections.pgops.tls.tests.clients import OTHER
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOSTILE = '<script>alert(1)</script>{{ 7 * 7 }}"'
TRUSTING_RULES = "hostssl all,replication app all cert\nhostnossl all all 127.0.0.1/32 trust\n"
CLIENT_AUTHORITY = AUTHORITIES["client"]

PLAIN_OPTIONS: dict[str, Any] = {
    "show": "all", "client_serials": {}, "client_issuing": "", "client_revoked": [],
    "names": [], "issuing": None, "revoked": [], "key_type": "P-256", "renew_before": None, "login_host": None,
    "login_database": "postgres", "login_password": None, "login_sslmode": "verify-full", "login_sslrootcert": None,
    "login_sslcert": None, "login_sslkey": None,
}  # fmt: skip


def issued(directory: Path, name: str, role: str, authority: issuing.Authority = CLIENT_AUTHORITY) -> tuple[str, str]:
    """Write a certificate and key of a role; return what libpq is told to find them, and the serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = issuing.Issuer.of(authority.issuing, authority.issuing_key)
    validity = issuing.Validity(TODAY - 300, TODAY + DAY)
    der = issuing.new_leaf(issuer, certificate.CLIENT_AUTH, issuing.Holder(role, ()), key.public_key(), validity)
    leaf = certificate.read_der(der, "leaf")
    (directory / f"{name}.crt").write_text(leaf.pem + authority.issuing.pem)
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / f"{name}.key").write_bytes(key.private_bytes(*encoding))
    (directory / f"{name}.key").chmod(0o600)
    return f"sslcert={directory}/{name}.crt sslkey={directory}/{name}.key", f"{leaf.serial:x}"


def session(server: Server, parameters: str, **environment: str) -> contextlib.AbstractContextManager[Any]:
    """Hold a connection open: psql waits for its next statement."""
    where = f"host=127.0.0.1 port={server.cluster.port} dbname=postgres connect_timeout=10 {parameters}"
    command = [str(server.cluster.programs / "psql"), "-XAtq", where]
    return loops.staying(command, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment})


@pytest.fixture
def mixed(server: Server) -> Server:
    """Give a managed server that still lets plaintext in."""
    server.cluster.psql("ALTER ROLE app REPLICATION")
    server.options.update(plaintext="allow", hba=TRUSTING_RULES)
    server.settle()
    return server


def ask(server: Server, **options: Any) -> dict[str, Any]:
    """Call what the module calls."""
    place = {"port": server.cluster.port, "login_unix_socket": server.cluster.socket_directory}
    return sessions.result({**PLAIN_OPTIONS, **place, "login_user": "postgres", **options}, TODAY)


def of(found: dict[str, Any], application: str) -> dict[str, Any]:
    (one,) = [one for one in found["sessions"] if one["application"] == application]
    return dict(one)


def test_sessions_of_every_kind_are_told_apart(mixed: Server, tmp_path: Path) -> None:
    files, serial = issued(tmp_path, "app", "app")
    socket = mixed.cluster.socket_directory
    with contextlib.ExitStack() as stack:
        for parameters in (
            f"user=postgres host={socket} application_name=local",
            "user=postgres sslmode=disable application_name=plain",
            f"user=app sslmode=require application_name=tls {files}",
            f"user=app sslmode=require replication=true application_name=standby {files}",
            "user=postgres sslmode=disable replication=database dbname=postgres application_name=plain-standby",
        ):
            stack.enter_context(session(mixed, parameters))
        found = ask(mixed, client_serials={"app": [serial]}, client_issuing=CLIENT_AUTHORITY.issuing.pem)
    assert found["counts"] == {"TLSv1.3": 2, "local": 1, "plaintext": 2}
    assert [(of(found, name)["encryption"], of(found, name)["findings"]) for name in ("local", "plain", "tls")] == [
        ("none", []),
        ("none", ["plaintext"]),
        ("tls", []),
    ]
    told = of(found, "tls")
    assert (told["role"], told["database"], told["address"]) == ("app", "postgres", "127.0.0.1")
    assert (told["serial"], told["subject"], told["protocol"]) == (serial, "/CN=app", "TLSv1.3")
    assert told["issuer"] == f"/CN={CLIENT_AUTHORITY.issuing.common_name}"
    assert [of(found, name)["type"] for name in ("tls", "standby", "plain-standby")] == [
        "client backend",
        "walsender",
        "walsender",
    ]
    assert of(found, "standby")["database"] is None
    assert (of(found, "standby")["findings"], of(found, "plain-standby")["findings"]) == ([], ["plaintext"])
    assert set(told) == {
        *("pid", "role", "database", "address", "application", "type", "since", "encryption", "protocol", "cipher"),
        *("serial", "subject", "issuer", "findings"),
    }  # nothing of what the session does


def test_sessions_from_before_a_renewal_are_found(mixed: Server, tmp_path: Path) -> None:
    old, old_serial = issued(tmp_path, "old", "app")
    new, new_serial = issued(tmp_path, "new", "app")
    in_force = {
        "client_serials": {"app": [new_serial]},
        "client_issuing": CLIENT_AUTHORITY.issuing.pem,
        "show": "findings",
    }
    with session(mixed, f"user=app sslmode=require application_name=old {old}"):
        before = ask(mixed, **in_force)
        assert of(before, "old")["findings"] == ["old_certificate"]
        assert of(before, "old")["serial"] == old_serial
        mixed.settle(renew=True)
        with session(mixed, f"user=app sslmode=require application_name=new {new}"):
            after = ask(mixed, **in_force)
    assert of(after, "old")["findings"] == ["old_server_certificate", "old_certificate"]
    assert [one["application"] for one in after["sessions"]] == ["old"]
    assert after["counts"] == {"TLSv1.3": 2}
    assert before["certificate"]["serial"] != after["certificate"]["serial"]


def test_a_change_that_keeps_the_certificate_makes_no_session_old(mixed: Server, tmp_path: Path) -> None:
    files, _serial = issued(tmp_path, "app", "app")
    with session(mixed, f"user=app sslmode=require application_name=kept {files}"):
        for version in ("TLSv1.3", "TLSv1.2", "TLSv1.3"):  # more generations than are kept
            mixed.ssl = {"ssl_min_protocol_version": version}
            assert not mixed.settle().plan.reasons
        found = ask(mixed)
    assert of(found, "kept")["findings"] == []
    leaf = certificate.read_pem((mixed.directory / "current/server.crt").read_text(), "current")[0]
    assert found["certificate"]["installed"] == found["certificate"]["not_before"]
    assert found["certificate"]["serial"] == f"{leaf.serial:x}"


def test_another_authority_is_told_and_what_is_not_known_is_not(mixed: Server, tmp_path: Path) -> None:
    files, serial = issued(tmp_path, "app", "app")
    with session(mixed, f"user=app sslmode=require application_name=one {files}"):
        assert of(ask(mixed, client_issuing=OTHER.issuing.pem), "one")["findings"] == ["other_issuer"]
        both = OTHER.issuing.pem + CLIENT_AUTHORITY.issuing.pem
        assert of(ask(mixed, client_issuing=both), "one")["findings"] == []
        assert of(ask(mixed, client_serials={"batch": ["1"]}), "one")["findings"] == []
        assert of(ask(mixed, client_serials={"app": ["1", serial]}), "one")["findings"] == []
        assert of(ask(mixed, client_revoked=["1", serial]), "one")["findings"] == ["revoked_certificate"]


def test_a_long_name_that_postgresql_cuts_is_recognised(mixed: Server, tmp_path: Path) -> None:
    role = "r" * 61
    mixed.cluster.psql(f'CREATE ROLE "{role}" LOGIN')
    mixed.settle(hba=f'hostssl all "{role}" all cert\n{TRUSTING_RULES}', on_lockout="allow")
    files, serial = issued(tmp_path, "long", role)
    with session(mixed, f"user={role} sslmode=require application_name=long {files}"):
        assert of(ask(mixed, client_serials={role: [serial]}), "long")["findings"] == []
        told = of(ask(mixed, client_serials={role: ["1"]}), "long")
    assert told["findings"] == ["old_certificate"]
    assert told["subject"].startswith("/CN=rrr")
    assert len(told["subject"].encode()) <= 65


def test_what_a_client_says_of_itself_comes_through_as_it_is(mixed: Server) -> None:
    with session(mixed, "user=postgres sslmode=disable", PGAPPNAME=HOSTILE):
        found = ask(mixed, show="findings")
    assert of(found, HOSTILE)["findings"] == ["plaintext"]


def test_the_certificate_is_told_with_its_next_renewal(mixed: Server) -> None:
    server = AUTHORITIES["server"]
    names = {"names": ["localhost", "127.0.0.1"], "issuing": server.issuing.pem}
    told = ask(mixed, **names)["certificate"]
    assert (told["reasons"], told["is_on_disk"], told["names"]) == ([], True, ["localhost", "127.0.0.1"])
    assert told["not_before"] < told["installed"] < told["renewal"] < told["not_after"]
    assert ask(mixed, **{**names, "names": ["localhost", "db1"]})["certificate"]["reasons"] == [
        "san_missing: db1",
        "san_not_wanted: 127.0.0.1",
    ]
    assert ask(mixed, **names, revoked=[told["serial"]])["certificate"]["reasons"] == ["revoked"]
    assert "reasons" not in ask(mixed)["certificate"]


def test_a_reload_that_is_missing_is_told(mixed: Server) -> None:
    before = mixed.served()
    chain = mixed.directory / "current" / "server.crt"
    chain.write_bytes(CLIENT_AUTHORITY.issuing.pem.encode())
    told = ask(mixed)["certificate"]
    assert (told["is_on_disk"], told["sha256"], told["installed"]) == (False, before, None)


def test_a_server_that_nobody_has_set_up_has_no_certificate(server: Server) -> None:
    found = ask(server)
    assert (found["certificate"], found["sessions"], found["counts"]) == (None, [], {})
    assert found["server_version"] // 10000 >= 13


def test_nothing_is_changed(mixed: Server) -> None:
    before = (mixed.disk(), mixed.inodes(), mixed.cluster.log().count("received SIGHUP"))
    ask(mixed)
    assert (mixed.disk(), mixed.inodes(), mixed.cluster.log().count("received SIGHUP")) == before


def test_a_role_that_may_not_see_others_is_refused(mixed: Server) -> None:
    mixed.cluster.psql("CREATE ROLE limited LOGIN")
    mixed.cluster.hba("local all all trust")
    mixed.cluster.reload()
    with pytest.raises(TlsError, match="role 'limited' is no superuser"):
        sessions.look(mixed.cluster.port, mixed.cluster.socket_directory, "limited")
    if int(mixed.cluster.psql("SHOW server_version_num")) >= 150000:  # one who may do what the connection needs
        mixed.cluster.psql("GRANT SET ON PARAMETER lc_messages TO limited")
        with pytest.raises(TlsError, match="role 'limited' is no superuser"):
            sessions.look(mixed.cluster.port, mixed.cluster.socket_directory, "limited")


# By a login over the network, as at a server that nobody here manages

PASSWORD = "a password of the monitor"


@pytest.fixture
def watched(mixed: Server, tmp_path: Path) -> dict[str, Any]:
    """Give the options of a login at a server that has a role for it."""
    mixed.options["names"] = ["localhost"]
    mixed.cluster.psql(f"CREATE ROLE monitor LOGIN IN ROLE pg_monitor PASSWORD '{PASSWORD}'")
    mixed.settle(hba=f"hostssl all monitor all scram-sha-256\n{TRUSTING_RULES}", on_lockout="allow")
    roots = tmp_path / "roots.pem"
    roots.write_text(AUTHORITIES["server"].root.pem)
    return {
        **PLAIN_OPTIONS, "port": mixed.cluster.port, "login_unix_socket": None, "login_user": "monitor",
        "login_host": "localhost", "login_password": PASSWORD, "login_sslrootcert": str(roots),
    }  # fmt: skip


def test_a_login_over_the_network_sees_which_applications_use_tls(
    mixed: Server, watched: dict[str, Any], tmp_path: Path
) -> None:
    files, serial = issued(tmp_path, "app", "app")
    pooled = [f"user=app sslmode=require application_name=web {files}"] * 2
    mixed_ones = [f"user=postgres sslmode={mode} application_name=batch" for mode in ("disable", "require")]
    with contextlib.ExitStack() as stack:
        mixed.settle(hba=f"hostssl all monitor all scram-sha-256\nhost all postgres all trust\n{TRUSTING_RULES}",
                     on_lockout="allow")  # fmt: skip
        for parameters in (*pooled, *mixed_ones, "user=postgres sslmode=disable application_name=old"):
            stack.enter_context(session(mixed, parameters))
        stack.enter_context(session(mixed, f"user=postgres host={mixed.cluster.socket_directory}"))
        found = sessions.result(watched, TODAY)
        over_socket = ask(mixed)
    assert found["applications"] == over_socket["applications"]
    assert found["counts"] == {"TLSv1.3": 3, "local": 1, "plaintext": 2}
    rows = {one["application"]: one for one in found["applications"]}
    assert list(rows) == ["batch", "old", "web"]
    shown = {name: (one["sessions"], one["tls"], one["client_certificate"]) for name, one in rows.items()}
    assert shown == {"batch": (2, "some", "none"), "old": (1, "none", "none"), "web": (2, "all", "all")}
    web = rows["web"]
    assert (web["serials"], web["issuers"]) == ([serial], [f"/CN={CLIENT_AUTHORITY.issuing.common_name}"])
    assert (web["protocols"], web["role"], web["database"]) == (["TLSv1.3"], "app", "postgres")
    assert web["ciphers"][0].startswith("TLS_")
    assert (rows["old"]["protocols"], rows["old"]["ciphers"], rows["old"]["serials"]) == ([], [], [])
    served, known = mixed.served(), found["certificate"]
    assert (known["sha256"], known["installed"]) == (served, None)
    assert "is_on_disk" not in known
    assert "system_identifier" not in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"login_password": "another"}, 'password authentication failed for user "monitor"'),
        ({"login_password": None}, "no password supplied"),
        ({"login_host": "127.0.0.1"}, 'does not match host name "127.0.0.1"'),
        ({"login_sslrootcert": "/nonexistent"}, 'root certificate file "/nonexistent" does not exist'),
        ({"port": 1}, "Connection refused"),
        ({"login_database": "absent"}, 'database "absent" does not exist'),
        ({"login_host": "localhost,other"}, "expected one DNS name or address"),
        ({"login_host": "/var/run/postgresql"}, "For a Unix socket, leave it out"),
    ],
)
def test_a_login_that_fails_says_why_and_shows_no_password(
    watched: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TlsError, match=message) as caught:
        sessions.result({**watched, **changes}, TODAY)
    assert PASSWORD not in str(caught.value.as_result())


def test_a_name_that_differs_is_accepted_only_where_that_is_asked_for(watched: dict[str, Any]) -> None:
    other = {**watched, "login_host": "127.0.0.1"}
    assert sessions.result({**other, "login_sslmode": "verify-ca"}, TODAY)["counts"] == {}


def test_another_servers_root_ends_the_login_before_the_password(
    mixed: Server, watched: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_text(OTHER.root.pem)
    with pytest.raises(TlsError, match="certificate verify failed"):
        sessions.result({**watched, "login_sslrootcert": str(other)}, TODAY)
    assert "authentication" not in mixed.cluster.log().split("monitor")[-1]


def test_a_role_that_sees_only_itself_is_refused_over_the_network(mixed: Server, watched: dict[str, Any]) -> None:
    mixed.cluster.psql("REVOKE pg_monitor FROM monitor")
    with pytest.raises(TlsError, match=r"sees only its own sessions.*GRANT pg_monitor"):
        sessions.result(watched, TODAY)


def test_what_somebody_made_in_the_database_is_not_called(mixed: Server, watched: dict[str, Any]) -> None:
    mixed.cluster.psql("GRANT CREATE ON SCHEMA public TO app")
    mixed.cluster.psql(
        "CREATE FUNCTION public.json_build_object(text, int, text, bool, text, json) RETURNS json LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'called'; END$$"
    )
    assert sessions.result(watched, TODAY)["counts"] == {}


def test_a_client_certificate_is_enough_for_a_login(mixed: Server, watched: dict[str, Any], tmp_path: Path) -> None:
    mixed.cluster.psql("GRANT pg_monitor TO app")
    issued(tmp_path, "app", "app")
    pair = {"login_sslcert": str(tmp_path / "app.crt"), "login_sslkey": str(tmp_path / "app.key")}
    assert sessions.result({**watched, "login_user": "app", "login_password": None, **pair}, TODAY)["counts"] == {}
