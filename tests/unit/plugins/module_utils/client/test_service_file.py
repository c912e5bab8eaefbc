# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import service_file
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Endpoint, Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

CURRENT_OF_ALICE = "/home/alice/.postgresql/pgops/current"
WITH_DATABASES = Identity("app", "alice", ("shop", "other"))
WITHOUT_DATABASES = Identity("plain", "alice")


def merge(existing: bytes | None, *identities: Identity) -> bytes:
    return service_file.merge(existing, identities or (WITH_DATABASES,), CURRENT_OF_ALICE, "FILE")


def test_a_new_file_is_the_block_alone() -> None:
    assert merge(None, WITH_DATABASES, WITHOUT_DATABASES).decode() == (
        "# BEGIN pgops.tls: made by Ansible, changes in this block are overwritten\n"
        "[app]\n"
        "user=app\n"
        "dbname=shop\n"
        "sslmode=verify-full\n"
        f"sslrootcert={CURRENT_OF_ALICE}/root.crt\n"
        f"sslcert={CURRENT_OF_ALICE}/app/postgresql.crt\n"
        f"sslkey={CURRENT_OF_ALICE}/app/postgresql.key\n"
        "[plain]\n"
        "user=plain\n"
        "sslmode=verify-full\n"
        f"sslrootcert={CURRENT_OF_ALICE}/root.crt\n"
        f"sslcert={CURRENT_OF_ALICE}/plain/postgresql.crt\n"
        f"sslkey={CURRENT_OF_ALICE}/plain/postgresql.key\n"
        "# END pgops.tls\n"
    )


def test_services_of_other_names_stay_beside_an_identity_that_waits() -> None:
    waiting = WITHOUT_DATABASES._replace(own_name="new")
    at_db1 = WITH_DATABASES._replace(endpoints=(Endpoint("db1", "db1.example.com", 5432),))
    existing = merge(b"[mine]\n", WITHOUT_DATABASES, at_db1)

    def beside(*ready: Identity) -> bytes | None:
        return service_file.merge(existing, ready, CURRENT_OF_ALICE, "FILE", declared=(waiting, *ready))

    assert beside(at_db1) == existing, "in the order that they have"
    assert beside(WITH_DATABASES) == merge(b"[mine]\n", WITHOUT_DATABASES, WITH_DATABASES)
    assert beside(WITH_DATABASES._replace(login="none")) == merge(b"[mine]\n", WITHOUT_DATABASES)
    assert merge(existing, WITH_DATABASES) == merge(b"[mine]\n", WITH_DATABASES), "nobody waits"


def test_each_server_and_database_has_a_service_that_needs_nothing_else() -> None:
    shop, audit = Endpoint("shop1", "shop1.example.com", 5432), Endpoint("audit1", "nat.example.com", 15432)
    one = Identity("app", "alice", ("shop", "all", "a]b", "stats"), endpoints=(shop, audit))
    found = service_file.services(one)
    at_shop = {"host": "shop1.example.com", "port": "5432"}
    at_audit = {"host": "nat.example.com", "port": "15432"}
    assert found == {
        "app": {"dbname": "shop"},
        "app@shop1": {**at_shop, "dbname": "shop"},
        "app@shop1/stats": {**at_shop, "dbname": "stats"},
        "app@audit1": {**at_audit, "dbname": "shop"},
        "app@audit1/stats": {**at_audit, "dbname": "stats"},
    }
    text = merge(None, one).decode()
    assert text.count("sslmode=verify-full") == text.count("user=app\n") == len(found)


def test_a_second_identity_of_a_role_has_its_own_files_and_services() -> None:
    first = Identity("app", "alice", endpoints=(Endpoint("shop1", "shop1", 5432),))
    second = Identity("app", "alice", own_name="other", endpoints=(Endpoint("billing1", "billing1", 5432),))
    text = merge(None, first, second).decode()
    assert [*service_file.services(first), *service_file.services(second)] == [
        "app", "app@shop1", "other", "other@billing1",
    ]  # fmt: skip
    billing = text[text.index("[other]") :]
    assert billing.count(f"sslcert={CURRENT_OF_ALICE}/other/postgresql.crt\n") == 2
    alike = second._replace(own_name="app@shop1")
    with pytest.raises(TlsError, match="alice/app and alice/app@shop1 would both have the service 'app@shop1'"):
        merge(None, first, alike)
    with pytest.raises(TlsError, match="service 'other@billing1', written by hand"):
        merge(b"[other@billing1]\n", first, second)


@pytest.mark.parametrize(
    "written",
    [
        b"[old]\nhost=db0\n",
        b"[old]\r\nhost=db0\r\n",
        b"\xff\xfe no utf-8 \x00\n",
        b"# a comment\n\n\n",
        b"[old]\nhost=a\x0bb\x0cc\x1c\x85d\n",
    ],
)
def test_what_is_written_by_hand_stays_byte_for_byte(written: bytes) -> None:
    first = merge(written)
    assert first.startswith(written)
    around = first + written.replace(b"old", b"other")
    changed = merge(around, WITH_DATABASES, WITHOUT_DATABASES)
    parts = service_file.split(changed, "FILE")
    assert (parts.before, parts.after) == (written, written.replace(b"old", b"other"))


@pytest.mark.parametrize("written", [None, b"", b"[old]\nhost=x", b"[old]\nhost=x\n", b"\r\n"])
def test_merging_again_changes_nothing(written: bytes | None) -> None:
    once = merge(written)
    assert merge(once) == once


def test_a_file_without_a_last_line_end_gets_one_before_the_block() -> None:
    assert merge(b"[old]\nhost=x").startswith(b"[old]\nhost=x\n# BEGIN pgops.tls")


def test_the_block_stays_where_it_is() -> None:
    block = service_file.render([WITHOUT_DATABASES], CURRENT_OF_ALICE)
    assert (
        merge(b"[a]\n" + block + b"[b]\n", WITH_DATABASES)
        == b"[a]\n" + service_file.render([WITH_DATABASES], CURRENT_OF_ALICE) + b"[b]\n"
    )


@pytest.mark.parametrize("line", [b"[app]", b"  [app]", b"[app] # mine", b"[app]\r", b"\t[app]x"])
def test_a_service_written_by_hand_with_the_name_of_a_role_is_named(line: bytes) -> None:
    with pytest.raises(TlsError, match=r"FILE: the service 'app', written by hand"):
        merge(b"[x]\nhost=a\n" + line + b"\nhost=b\n")
    with pytest.raises(TlsError, match=r"FILE: the service 'app', written by hand"):
        merge(service_file.render([WITH_DATABASES], CURRENT_OF_ALICE) + line)


@pytest.mark.parametrize("line", [b"# [app]", b"[apple]", b"[App]", b"[app", b"user=[app]", b"[ app]"])
def test_what_libpq_does_not_take_for_that_service_is_no_conflict(line: bytes) -> None:
    assert b"[app]" in merge(line + b"\n")


@pytest.mark.parametrize(
    "content",
    [
        service_file.BEGIN + b"\n",
        service_file.END + b"\n",
        service_file.END + b"\n" + service_file.BEGIN + b"\n",
        service_file.render([WITH_DATABASES], CURRENT_OF_ALICE) * 2,
        service_file.BEGIN + b"\n" + service_file.render([WITH_DATABASES], CURRENT_OF_ALICE),
        service_file.render([WITH_DATABASES], CURRENT_OF_ALICE) + service_file.END,
    ],
)
def test_broken_markers_are_refused(content: bytes) -> None:
    with pytest.raises(TlsError, match=r"FILE: expected one line .*BEGIN.*END"):
        merge(b"[mine]\n" + content)


def test_markers_with_carriage_returns_of_an_editor_are_known() -> None:
    edited = merge(b"[old]\nhost=x\n").replace(b"\n", b"\r\n")
    assert merge(edited).count(service_file.BEGIN) == 1


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
@pytest.mark.parametrize("role", ["app", "App User", "a=b", "#app", "ü", "[app", "it's"])
def test_libpq_finds_the_service_of_every_role(tmp_path: Path, role: str) -> None:
    (tmp_path / "services").write_bytes(merge(b"[old]\nport=1\n", Identity("other", "alice"), Identity(role, "alice")))
    environment = {"PGSERVICEFILE": str(tmp_path / "services"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    quoted = role.replace("\\", "\\\\").replace("'", "\\'")
    done = subprocess.run(
        ["psql", "-XAtwc", "SELECT 1", f"service='{quoted}' host={tmp_path} dbname=x sslcert=/none"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert "No such file or directory" in done.stderr, done.stderr  # it continued to the socket
    assert "definition of service" not in done.stderr


STRICT = WITH_DATABASES._replace(strict_services=True, endpoints=(Endpoint("db1", "db1.example.com", 5432, 17),))


def strict_lines(libpq: int, identity: Identity = STRICT, existing: bytes | None = None) -> dict[str, set[str]]:
    """Return by service the parameters that say how to log in and begin."""
    text = service_file.merge(existing, [identity], CURRENT_OF_ALICE, "FILE", libpq=libpq) or b""
    sections = [one.partition("]\n") for one in text.decode().split("\n[")[1:]]
    names = ("sslcertmode", "require_auth", "channel_binding", "sslnegotiation")
    return {name: {line for line in rest.splitlines() if line.startswith(names)} for name, _end, rest in sections}


def test_strict_services_have_what_the_version_of_libpq_knows() -> None:
    certificate = {"sslcertmode=require", "require_auth=none"}
    direct = {"sslnegotiation=direct"}
    assert strict_lines(15) == {"app": set(), "app@db1": set(), "app@db1/other": set()}
    assert strict_lines(16) == {"app": certificate, "app@db1": certificate, "app@db1/other": certificate}
    assert strict_lines(17) == {
        "app": certificate,
        "app@db1": certificate | direct,
        "app@db1/other": certificate | direct,
    }
    scram = {"require_auth=scram-sha-256", "channel_binding=require"}
    assert strict_lines(17, STRICT._replace(login="both"))["app"] == {"sslcertmode=require"} | scram
    assert strict_lines(17, STRICT._replace(login="password"))["app"] == {"sslcertmode=disable"} | scram
    assert strict_lines(13, STRICT._replace(login="password"))["app"] == {"channel_binding=require"}
    pooled = STRICT._replace(login="both", endpoints=(Endpoint("pool1", "pool1", 6432, 17, is_pooler=True),))
    assert strict_lines(18, pooled)["app@pool1"] == {"sslcertmode=require", "require_auth=scram-sha-256"}
    assert strict_lines(18, STRICT._replace(strict_services=False))["app@db1"] == set()


def test_direct_tls_stays_while_a_servers_version_is_unknown() -> None:
    def at(version: int) -> Identity:
        return STRICT._replace(endpoints=(Endpoint("db1", "db1.example.com", 5432, version),))

    def file(version: int) -> bytes:
        return service_file.merge(None, [at(version)], CURRENT_OF_ALICE, "FILE", libpq=17) or b""

    direct = "sslnegotiation=direct"
    assert direct in strict_lines(17, at(0), file(17))["app@db1"]
    assert direct in strict_lines(17, at(0), file(17))["app@db1/other"]
    assert direct not in strict_lines(17, at(0), file(16))["app@db1"]
    assert direct not in strict_lines(17, at(16), file(17))["app@db1"]
    assert direct not in strict_lines(16, at(0), file(17))["app@db1"], "an older libpq knows no such parameter"
    own = b"[mine]\nsslnegotiation=direct\n"
    assert direct not in strict_lines(17, at(0), own)["app@db1"]
