# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module connection_info for logins by password and by both, against a real server and libpq."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.checkers import Checker

KINDS = ("plaintext", "wrong_name", "foreign_root")
PASSWORD = {"certificate": "none", "needs_password": True}
BOTH = {"needs_password": True}


@pytest.fixture
def client(client: Any) -> Checker:
    """Return the client of a server whose role app has a password."""
    checker = Checker(client)
    checker.cluster.psql("SET password_encryption = 'scram-sha-256'; ALTER ROLE app PASSWORD 'sesame'")
    return checker


def rules(client: Checker, *lines: str) -> None:
    client.cluster.hba(*lines, "hostnossl all all all reject")
    client.cluster.reload()


def know(client: Checker, password: str) -> None:
    """Put a password into the file that libpq reads."""
    client.give(client.home / ".pgpass", f"*:*:*:*:{password}\n".encode())


def by_password(client: Checker) -> list[dict[str, Any]]:
    return client.verify(client.expect(**PASSWORD), *[client.refuse(kind, **PASSWORD) for kind in KINDS])


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_without_the_password_all_is_proven_up_to_the_prompt(client: Checker, method: str) -> None:
    rules(client, f"hostssl all app all {method}")
    accepted, *refused = by_password(client)
    assert accepted["status"] == "prompt", accepted
    assert accepted["reason"].startswith("up to the password prompt: TLS and the server's certificate are right, and")
    assert [one["status"] for one in refused] == ["ok"] * 3, refused


def test_with_the_password_in_pgpass_the_whole_login_is_proven(client: Checker) -> None:
    rules(client, "hostssl all app all scram-sha-256")
    know(client, "sesame")
    accepted, *refused = by_password(client)
    assert (accepted["status"], accepted["protocol"], accepted["client_dn"]) == ("ok", "TLSv1.3", ""), accepted
    assert [one["status"] for one in refused] == ["ok"] * 3, refused


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("hostssl all app all trust", "was accepted without a password (TLSv1.3"),
        ("hostssl all app all reject", "was refused: pg_hba.conf rejects connection"),
        ("hostssl all other all scram-sha-256", "was refused: no pg_hba.conf entry"),
        ("hostssl all app all cert", "was refused: connection requires a valid client certificate"),
        ("hostssl all app all scram-sha-256 clientcert=verify-full", "was refused: connection requires a valid client"),
    ],
)
@pytest.mark.parametrize("password", ["", "sesame"])
def test_a_rule_that_asks_for_no_password_or_for_more_is_a_deviation(
    client: Checker, rule: str, reason: str, password: str
) -> None:
    rules(client, rule)
    if password:
        know(client, password)
    (found,) = client.verify(client.expect(**PASSWORD))
    assert found["status"] == "deviation"
    assert found["reason"].startswith(reason), found


def test_a_wrong_password_is_a_deviation_and_the_refusals_are_unproven_or_right(client: Checker) -> None:
    rules(client, "hostssl all app all scram-sha-256")
    know(client, "wrong")
    accepted, *refused = by_password(client)
    assert accepted["status"] == "deviation"
    assert 'password authentication failed for user "app"' in accepted["reason"]
    assert {one["status"] for one in refused} == {"unproven"}


def test_a_server_of_another_root_gets_no_password(client: Checker, client_authority: Any) -> None:
    rules(client, "hostssl all app all scram-sha-256")
    know(client, "sesame")
    before = client.cluster.log().count("connection authorized")
    other = client.home / "other.crt"
    client.give(other, client_authority.root.read_bytes())
    (found,) = client.verify(client.expect(**PASSWORD, sslrootcert=str(other)))
    assert found["status"] == "deviation"
    assert "certificate verify failed" in found["reason"]
    assert client.cluster.log().count("connection authorized") == before


def test_no_password_goes_over_plaintext_even_where_the_server_asks(client: Checker) -> None:
    client.cluster.hba("host all app all password")
    client.cluster.reload()
    know(client, "sesame")
    accepted, plaintext, *_others = by_password(client)
    assert accepted["status"] == "ok"
    assert plaintext["status"] == "deviation"
    assert "no password supplied" in plaintext["reason"]


def with_both(client: Checker) -> list[dict[str, Any]]:
    another = client.refuse("another_role", role="other", certificate_role="app", **BOTH)
    refused = [client.refuse(kind, **BOTH) for kind in (*KINDS, "no_certificate", "foreign_certificate")]
    return client.verify(client.expect(**BOTH), *refused, another)


def test_both_are_proven_up_to_the_prompt_and_whole(client: Checker) -> None:
    rules(client, "hostssl all all all scram-sha-256 clientcert=verify-full")
    accepted, *refused = with_both(client)
    assert accepted["status"] == "prompt"
    assert "the server took the certificate" in accepted["reason"]
    assert [one["status"] for one in refused] == ["ok"] * 6, refused
    client.cluster.psql("SET password_encryption = 'scram-sha-256'; ALTER ROLE other PASSWORD 'sesame'")
    know(client, "sesame")
    accepted, *refused = with_both(client)
    assert (accepted["status"], accepted["client_dn"]) == ("ok", "/CN=app")
    assert [one["status"] for one in refused] == ["ok"] * 6, refused
    assert refused[-1]["reason"] == "the server refused this certificate or that role's password"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("hostssl all all all cert", "was accepted without a password"),
        ("hostssl all all all trust clientcert=verify-full", "was accepted without a password"),
        ("hostssl all all all scram-sha-256", "was refused: fe_sendauth: no password supplied. The server asks for"),
    ],
)
def test_one_of_both_is_a_deviation(client: Checker, rule: str, reason: str) -> None:
    rules(client, rule)
    accepted, *_refused = with_both(client)
    assert accepted["status"] == "deviation"
    assert accepted["reason"].startswith(reason), accepted


def test_a_certificate_that_nobody_asks_for_is_a_deviation_with_the_password_too(client: Checker) -> None:
    rules(client, "hostssl all all all scram-sha-256")
    know(client, "sesame")
    accepted, *refused = with_both(client)
    assert accepted["status"] == "ok", "the server did verify the certificate"
    (no_certificate,) = [one for one in refused if one["wanted"] == "refused: no client certificate"]
    assert (no_certificate["status"], no_certificate["reason"][:12]) == ("deviation", "was accepted")


def test_replication_with_a_password_is_proven_too(client: Checker) -> None:
    client.cluster.psql("ALTER ROLE app REPLICATION")
    rules(client, "hostssl replication app all scram-sha-256")
    given = {**PASSWORD, "replication": True, "database": "replication"}
    assert [one["status"] for one in client.verify(client.expect(**given))] == ["prompt"]
    know(client, "sesame")
    assert [one["status"] for one in client.verify(client.expect(**given))] == ["ok"]


def test_the_service_and_the_default_files_of_a_password_work(client: Checker) -> None:
    rules(client, "hostssl all app all scram-sha-256")
    current = client.home / ".postgresql" / "pgops" / "current"
    service = f"[app]\nuser=app\nsslmode=verify-full\nsslrootcert={current}/root.crt\n"
    client.give(client.home / ".pg_service.conf", service.encode())
    (client.home / ".postgresql" / "root.crt").symlink_to("pgops/current/root.crt")
    found = client.verify(*[client.expect(**PASSWORD, files=files) for files in ("service", "default")])
    assert [one["status"] for one in found] == ["prompt", "prompt"], found
