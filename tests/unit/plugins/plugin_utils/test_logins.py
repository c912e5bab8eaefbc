# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that log in by certificate, by password, or by both: their rules, and what lets them in."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import rule_text
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout
from ansible_collections.pgops.tls.plugins.plugin_utils import identity_rules

NO_PATHS = {"pg_hba.conf": "/nowhere/pg_hba.conf", "pg_ident.conf": "/nowhere/pg_ident.conf"}

WITH_BOTH = ["scram-sha-256 clientcert=verify-full", "md5 clientcert=verify-ca", "pam clientcert=verify-full"]
METHODS = [
    "cert", "trust", "trust clientcert=verify-full", "scram-sha-256", "md5", "password", 'ldap ldapserver="x"', "pam",
    "reject", "gss", "ident", *WITH_BOTH,
]  # fmt: skip


def identity(login: str | None = None, *databases: str, role: str = "app") -> dict[str, Any]:
    return {"role": role, "os_user": "shop", "databases": list(databases), **({"login": login} if login else {})}


def lines(*identities: dict[str, Any]) -> list[str]:
    host = {"postgres_client_identities": list(identities)}
    return [rule_text.rule_line(one) for one in identity_rules.of_clients([host])]


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        (None, "hostssl shop app all cert"),
        ("certificate", "hostssl shop app all cert"),
        ("password", "hostssl shop app all scram-sha-256"),
        ("both", "hostssl shop app all scram-sha-256 clientcert=verify-full"),
    ],
)
def test_the_login_of_an_identity_decides_on_its_rule(login: str | None, expected: str) -> None:
    assert lines(identity(login, "shop")) == [expected]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            identity(None, "shop", role="/a"),
            "role '/a' of 'shop' begins with a slash. In a rule PostgreSQL takes it for ",
        ),
        (
            identity(None, "shop", "/^b"),
            "database '/^b' of 'shop' begins with a slash. In a rule PostgreSQL takes it for ",
        ),
    ],
)
def test_a_name_that_postgresql_would_take_for_a_regular_expression_is_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(TlsError) as failure:
        lines(identity(), given)
    assert failure.value.message.startswith(f"postgres_client_identities: {message}")
    assert "Or write rules of your own in postgres_server_hba." in failure.value.message
    groups = {"postgres_servers": ["db1"], "postgres_clients": ["app1"]}
    hostvars: dict[str, dict[str, Any]] = {"db1": {}, "app1": {"postgres_client_identities": [given]}}
    with pytest.raises(TlsError, match="begins with a slash"):
        identity_rules.access(hostvars, groups)
    hostvars["db1"]["postgres_server_hba"] = [{"user": "/^a", "database": "/b", "method": "cert"}]
    assert identity_rules.access(hostvars, groups)["db1"]["clients"] == [given], "its own rules are as they are written"
    assert rule_text.rule_line(hostvars["db1"]["postgres_server_hba"][0]) == "hostssl /b /^a all cert"


def test_a_slash_within_a_name_is_no_more_than_that() -> None:
    assert lines(identity(None, "a/b", role="c/d")) == ["hostssl a/b c/d all cert"]


def test_a_role_may_have_another_login_for_another_database() -> None:
    found = lines(identity("certificate", "shop"), identity("password", "billing"), identity("password", "jobs"))
    assert found == ["hostssl shop app all cert", "hostssl billing,jobs app all scram-sha-256"]


def test_all_is_no_replication_so_both_may_have_a_login_of_their_own() -> None:
    assert len(lines(identity("certificate", "replication"), identity("password"))) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["shop"], ["billing", "shop"]),
        ([], ["shop"]),
        (["sameuser"], ["shop"]),
        (["+staff"], ["@names"]),
        (["replication"], ["replication"]),
    ],
)
def test_a_role_with_two_logins_for_one_database_is_refused(one: list[str], other: list[str]) -> None:
    for first, second in (("certificate", "both"), ("password", "certificate")):
        with pytest.raises(TlsError, match="role 'app' has login") as failure:
            lines(identity(first, *one), identity("both", "else"), identity(second, *other))
        assert failure.value.code == "two_logins"


def test_servers_with_rules_of_their_own_may_tell_the_logins_of_a_role_apart() -> None:
    hostvars = {
        "db1": {"postgres_server_hba": []},
        "db2": {},
        "app1": {"postgres_client_identities": [{**identity("password"), "servers": ["db1"]}]},
        "app2": {"postgres_client_identities": [identity()]},
    }
    groups = {"postgres_servers": ["db1"], "postgres_clients": ["app1", "app2"]}
    assert len(identity_rules.access(hostvars, groups)["db1"]["clients"]) == 2
    groups["postgres_servers"].append("db2")
    assert [len(one["clients"]) for one in identity_rules.access(hostvars, groups).values()] == [2, 1]
    hostvars["app1"]["postgres_client_identities"] = [identity("password")]
    with pytest.raises(TlsError, match="has login"):
        identity_rules.access(hostvars, groups)


def test_an_unknown_login_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(TlsError, match="login: found 'passwd', expected certificate, password or both"):
        lines(identity("passwd"))


def refused(rules: str, *identities: dict[str, Any], is_whole: bool = True) -> str:
    """Return why the lock-out guard refuses rules, '' if it takes them."""
    try:
        lockout.refuse_to_forget(identities, lockout.files(rules, "", NO_PATHS, 15), 15, is_whole=is_whole)
    except TlsError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("login", "takes"),
    [
        ("certificate", ["cert", "trust", "trust clientcert=verify-full", *WITH_BOTH]),
        ("password", ["scram-sha-256", "md5", "password", 'ldap ldapserver="x"', "pam"]),
        ("both", WITH_BOTH),
    ],
)
def test_a_login_is_let_in_by_rules_that_ask_for_what_it_shows(login: str, takes: list[str]) -> None:
    for method in METHODS:
        is_refused = bool(refused(f"hostssl all all all {method}", identity(login)))
        assert is_refused == (method not in takes), method


def test_the_guard_says_for_each_login_what_is_missing() -> None:
    message = refused(
        "hostssl all all all trust",
        identity("password", "shop", role="clerk"),
        identity("both", "shop", role="owner"),
    )
    assert "asks these roles of clients (login: password) for a password: clerk in database shop" in message
    assert "asks these roles of clients (login: both) for a certificate and a password: owner" in message
    assert "{database: shop, user: clerk, method: scram-sha-256};" in message
    assert "{database: shop, user: owner, method: scram-sha-256, clientcert: verify-full}" in message


def test_rules_that_others_follow_are_refused_only_where_one_of_them_decides() -> None:
    both = identity("both", "shop")
    assert "asks these roles" in refused("hostssl shop app all cert", both, is_whole=False)
    assert "asks these roles" in refused("hostssl all all all scram-sha-256", both, is_whole=False)
    for undecided in ("", "hostssl other app all cert", "hostssl shop app 192.0.2.0/24 cert"):
        assert not refused(undecided, both, is_whole=False)
        assert refused(undecided, both)


def test_only_an_identity_that_does_not_say_so_is_warned_of_a_password() -> None:
    after = lockout.files("hostssl all all all scram-sha-256 clientcert=verify-full", "", NO_PATHS, 15)
    assert lockout.asked_for_a_password([identity("both"), identity("password", role="clerk")], after, 15) == []
    assert len(lockout.asked_for_a_password([identity()], after, 15)) == 1


RULE_FOR_CLERK = {"user": "clerk", "database": "shop", "method": "scram-sha-256"}
CERT_FOR_ALL = {"user": "all", "method": "cert"}
BOTH_FOR_ALL = {"user": "all", "method": "scram-sha-256", "clientcert": "verify-full"}


@pytest.mark.parametrize(
    ("rules", "others", "message"),
    [
        ([CERT_FOR_ALL], {}, "postgres_server_hba line 1 (hostssl all all all cert) decides"),
        ([RULE_FOR_CLERK, CERT_FOR_ALL], {}, "(login: both) for a certificate and a password: owner in database shop"),
        ([RULE_FOR_CLERK], {"postgres_server_hba_mode": "replace"}, "owner in database shop: no rule matches"),
        ([BOTH_FOR_ALL], {}, "(login: password) for a password: clerk in database shop"),
        ([RULE_FOR_CLERK, BOTH_FOR_ALL], {}, ""),
        ([RULE_FOR_CLERK], {}, ""),
        ([CERT_FOR_ALL], {"postgres_server_on_lockout": "allow"}, ""),
        ([CERT_FOR_ALL], {"postgres_server_hba_template": "own.j2"}, ""),
        ([{**CERT_FOR_ALL, "address": "192.0.2.0/24"}], {}, ""),
    ],
)
def test_rules_of_a_server_that_are_no_use_to_a_password_are_found_on_the_controller(
    rules: list[dict[str, str]], others: dict[str, str], message: str
) -> None:
    variables = {
        "postgres_server_hba": rules,
        "postgres_server_hba_mode": "block",
        "postgres_server_hba_template": "pg_hba.conf.j2",
        "postgres_server_on_lockout": "refuse",
        **others,
    }
    identities = [
        identity(role="app"),
        identity("password", "shop", role="clerk"),
        identity("both", "shop", role="owner"),
    ]
    if not message:
        identity_rules.refuse_useless(variables, identities)
        return
    with pytest.raises(TlsError) as failure:
        identity_rules.refuse_useless(variables, identities)
    assert message in failure.value.message
    assert "postgres_client_identities" in failure.value.message
    assert "app in database" not in failure.value.message
