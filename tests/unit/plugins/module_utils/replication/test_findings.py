# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told about connections for replication, and what is to be done about them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo, findings, plan, reconnecting
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY, SUBSCRIPTION, Connection
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.clients import new_key, sign
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives import serialization

NOW = 1_800_000_000
SECRET = "never-to-be-seen-0815"
FILES = plan.Files("/h/current/replicator/postgresql.crt", "/h/current/replicator/postgresql.key", "/h/root.crt", "")
SOUND = "host=db1 user=replicator sslmode=verify-full"


def leaf(start: int = NOW - DAY, days: int = 90) -> Any:
    public_key = serialization.load_pem_private_key(new_key(), None).public_key()
    return read_pem(sign(public_key, "replicator", start=start, days=days), "the chain")[0]


LEAF = leaf()


def standby(text: str = SOUND, **changes: Any) -> Connection:
    """Return a connection with nothing wrong but ``changes``."""
    given = conninfo.parse(text)
    sound = Connection(STANDBY, STANDBY, given, given, 1, NOW - 60, "streaming", "/a.crt", LEAF, NOW - DAY)
    return sound._replace(**changes)


def codes(one: Connection) -> list[str]:
    return [found.code for found in findings.of_connection(one, NOW)]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("", ["plaintext_possible"]),
        ("sslmode=disable", ["plaintext_possible"]),
        ("sslmode=allow", ["plaintext_possible"]),
        ("sslmode=prefer", ["plaintext_possible"]),
        ("sslmode=require", ["not_verified"]),
        ("sslmode=verify-ca", ["not_verified"]),
        ("sslmode=verify-full", []),
    ],
)
def test_a_mode_that_is_not_verify_full_is_told(mode: str, expected: list[str]) -> None:
    for kind in (STANDBY, SUBSCRIPTION):
        assert codes(standby(f"host=db1 {mode}", kind=kind)) == expected
    assert codes(standby(f"host=/run/postgresql {mode}")) == [], "there is no TLS over a socket"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": ""}, ["not_streaming"]),
        ({"status": "", "kind": SUBSCRIPTION}, []),
        ({"given": None}, ["conninfo_unreadable"]),
        ({"missing": ("/a.key",)}, ["file_missing"]),
        ({"leaf": None}, []),
        ({"leaf": leaf(NOW - 90 * DAY, 90)}, ["expired"]),
        ({"leaf": leaf(NOW - 80 * DAY, 90)}, ["expires_soon"]),
        ({"leaf": leaf(NOW - 62 * DAY, 90)}, []),
        ({"leaf": leaf(NOW - 5 * DAY, 7)}, []),
        ({"leaf": leaf(NOW - 6 * DAY, 7)}, ["expires_soon"]),
        ({"replaced": NOW - 59}, ["old_certificate"]),
        ({"replaced": NOW - 61}, []),
        ({"replaced": None}, []),
        ({"replaced": None, "leaf": leaf(NOW - 59)}, ["old_certificate"]),
        ({"replaced": NOW, "since": None}, []),
    ],
)
def test_files_and_processes_are_told(changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(standby(**changes)) == expected


def test_the_facts_and_warnings_hold_no_password() -> None:
    one = standby(f"host=db1 user=replicator password='{SECRET}' sslpassword={SECRET} options='-c a={SECRET}'")
    told = str(findings.facts(one, NOW)) + str(findings.warnings([one], NOW))
    assert "plaintext_possible" in told
    assert SECRET not in told


def test_only_what_is_about_tls_changes_in_a_connection() -> None:
    text = f"host=db1,db2 port=5433 password={SECRET} application_name=s2 keepalives_idle=9 sslmode=prefer user=x"
    before = conninfo.parse(f"{text} sslcertmode=disable")
    after = plan.managed(before, "replicator", FILES._replace(lists="/h/root.crl"))
    changed = {"user", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcertmode"}
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == changed
    assert "sslcertmode" not in after
    assert plan.managed(after, "replicator", FILES._replace(lists="/h/root.crl")) == after


def test_a_standby_is_rewritten_once_and_connects_anew_when_its_files_are_newer() -> None:
    (first,) = plan.steps([standby()], "replicator", FILES)
    assert first.is_new
    assert first.change.startswith("primary_conninfo: sslcert=/h/current/replicator/postgresql.crt")
    declared = standby()._replace(given=first.parameters)
    assert plan.steps([declared], "replicator", FILES) == []
    (again,) = plan.steps([declared._replace(replaced=NOW)], "replicator", FILES)
    assert (again.is_new, again.parameters) == (False, first.parameters)


def test_what_a_service_says_is_not_written_into_the_connection_string() -> None:
    effective = {"service": "primary", "host": "db1", "password": SECRET, "sslmode": "verify-full"}
    (step,) = plan.steps([standby("service=primary", parameters=effective)], "replicator", FILES)
    assert "password" not in step.parameters
    assert step.parameters["service"] == "primary"


def test_a_subscription_keeps_its_connection_string() -> None:
    one = standby("host=db1 dbname=shop", kind=SUBSCRIPTION, name="shop/sub")
    assert plan.steps([one], "replicator", FILES) == []
    (step,) = plan.steps([one._replace(replaced=NOW)], "replicator", FILES)
    assert (step.is_new, step.parameters) == (False, one.given)


@pytest.mark.parametrize(
    ("one", "code"),
    [(standby(given=None), "conninfo_invalid"), (standby("host=/run user=x"), "replication_over_socket")],
)
def test_what_cannot_be_managed_is_refused(one: Connection, code: str) -> None:
    with pytest.raises(TlsError) as refused:
        plan.steps([one], "replicator", FILES)
    assert refused.value.code == code


def test_the_identity_is_that_of_the_servers_os_user() -> None:
    identities = [{"role": "replicator", "os_user": "barman"}, {"role": "replicator", "os_user": "postgres"}]
    assert plan.identity_of(identities, "replicator", "postgres") is identities[1]
    for role, os_user in (("app", "postgres"), ("replicator", "pg")):
        with pytest.raises(TlsError) as refused:
            plan.identity_of(identities, role, os_user)
        assert refused.value.code == "replication_identity_missing"


def test_a_text_is_a_constant_of_sql() -> None:
    assert reconnecting.literal(r"a'b\c") == r"E'a\'b\\c'"
