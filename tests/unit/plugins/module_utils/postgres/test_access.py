# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, lexer, rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

MEMBERSHIPS = {"app": ["app", "staff"], "boss": ["boss"], "staff": ["staff"]}
FACTS = Facts(17, groups=MEMBERSHIPS, networks=["192.0.2.1/24"], host_names={"192.0.2.9": "App1.example.com"})
APP_ATTEMPT = access.Attempt(
    "app", "shop", address="192.0.2.7", tls=True, certificate=access.Certificate("app", "CN=app,O=x")
)


def decided(
    text: str, attempt: access.Attempt = APP_ATTEMPT, ident: str = "", facts: Facts = FACTS
) -> list[tuple[Any, str]]:
    """Return the numbers of the lines that may decide, with their verdicts."""
    found = access.answer(list(rule.read_all(lexer.read(text))), lexer.read(ident), attempt, facts)
    return [(one.rule and one.rule.line.number, one.verdict) for one in found.decisions]


def matches(
    field: str, attempt: access.Attempt = APP_ATTEMPT, facts: Facts = FACTS, column: str = "database"
) -> bool | None:
    """Return whether a word for a database, user or address matches, None when it cannot be told."""
    words = {"database": "all", "user": "all", "address": "all", column: field}
    words["database"] = "replication" if attempt.is_replication and column != "database" else words["database"]
    found = decided("hostssl {database} {user} {address} trust".format(**words), attempt, facts=facts)
    return {((1, "accepted"),): True, ((None, "refused"),): False}.get(tuple(found))


def test_the_first_rule_that_matches_decides() -> None:
    text = "hostssl other all all trust\nhostssl all app all reject\nhostssl all all all trust"
    assert decided(text) == [(2, "refused")]
    assert decided(text, APP_ATTEMPT._replace(role="boss")) == [(3, "accepted")]


def test_where_no_rule_matches_nobody_gets_in() -> None:
    assert decided("hostssl other all all trust") == [(None, "refused")]


@pytest.mark.parametrize(
    ("kind", "plain", "encrypted"),
    [
        ("host", True, True),
        ("hostssl", False, True),
        ("hostnossl", True, False),
        ("hostgssenc", False, False),
        ("hostnogssenc", True, True),
        ("local", False, False),
    ],
)
def test_a_type_stands_for_the_encryption(kind: str, plain: bool, encrypted: bool) -> None:
    text = f"{kind} all all {'' if kind == 'local' else 'all'} trust"
    assert decided(text)[0][1] == ("accepted" if encrypted else "refused")
    assert decided(text, APP_ATTEMPT._replace(tls=False))[0][1] == ("accepted" if plain else "refused")


def test_only_a_local_rule_takes_who_comes_by_the_socket() -> None:
    text = "host all all all trust\nlocal all all trust"
    assert decided(text, access.Attempt("app", "shop", is_local=True)) == [(2, "accepted")]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("all", True),
        ('"all"', False),
        ("shop", True),
        ("Shop", False),
        ("other,shop", True),
        ("sameuser", False),
        ("samerole", False),
        ("replication", False),
        ("/^sh", True),
        ('"/op$"', True),
        ("/^op", False),
        ("/(?i)SHOP", None),
        ("@names", None),
        ('"@names"', False),
    ],
)
def test_a_word_for_databases(word: str, expected: bool | None) -> None:
    assert matches(word) is expected


def test_databases_that_are_called_like_a_role() -> None:
    assert matches("sameuser", APP_ATTEMPT._replace(database="app"))
    assert matches("samerole", APP_ATTEMPT._replace(database="staff"))
    assert matches("samegroup", APP_ATTEMPT._replace(database="staff"))
    assert not matches('"sameuser"', APP_ATTEMPT._replace(database="app"))
    assert matches("samerole", APP_ATTEMPT._replace(database="staff"), FACTS._replace(groups=None)) is None


def test_physical_replication_matches_its_own_word_alone() -> None:
    replica = APP_ATTEMPT._replace(database=None, is_replication=True)
    assert matches("replication", replica)
    assert not matches("all", replica)
    assert not matches('"replication"', replica)
    assert matches('"replication"', APP_ATTEMPT._replace(database="replication"))
    assert not matches("replication", APP_ATTEMPT._replace(database="replication"))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("all", True),
        ('"all"', False),
        ("app", True),
        ("+staff", True),
        ("+app", True),
        ('"+staff"', False),
        ("+boss", False),
        ("/^a.p$", True),
        ("/^b", False),
    ],
)
def test_a_word_for_roles(word: str, expected: bool) -> None:
    assert matches(word, column="user") is expected


def test_a_group_is_unknown_when_nobody_asked_the_server() -> None:
    assert matches("+staff", facts=FACTS._replace(groups=None), column="user") is None
    assert matches("+staff", facts=FACTS._replace(groups={"app": None}), column="user") is None
    assert matches("+staff", APP_ATTEMPT._replace(role="gone"), column="user") is False


def test_up_to_version_15_a_slash_begins_a_name() -> None:
    old = FACTS._replace(major=15)
    assert not matches("/^sh", facts=old)
    assert matches("/^sh", APP_ATTEMPT._replace(database="/^sh"), old)
    assert not matches("/^a", facts=old, column="user")


@pytest.mark.parametrize(
    ("word", "address", "expected"),
    [
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.99/24", "192.0.2.7", True),
        ("192.0.2.0/29", "192.0.2.8", False),
        ("192.0.2.0 255.255.255.0", "192.0.2.7", True),
        ("192.0.2.0 255.255.255.252", "192.0.2.7", False),
        ("0.0.0.0/0", "192.0.2.7", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "192.0.2.7", False),
        ("2001:db8::/33", "2001:db8:7fff::1", True),
        ("2001:db8::/33", "2001:db8:8000::1", False),
        ("::1/128", "::1", True),
        ("samehost", "192.0.2.1", True),
        ("samehost", "192.0.2.7", False),
        ("samenet", "192.0.2.7", True),
        ("samenet", "198.51.100.7", False),
        ('"samenet"', "192.0.2.9", False),
        ("app1.example.com", "192.0.2.9", True),
        (".EXAMPLE.com", "192.0.2.9", True),
        ("example.com", "192.0.2.9", False),
        ("app1.example.com", "192.0.2.7", None),
        ("192.0.2.0/24", None, None),
        ("all", None, True),
    ],
)
def test_an_address(word: str, address: str | None, expected: bool | None) -> None:
    assert matches(word, APP_ATTEMPT._replace(address=address), column="address") is expected


def test_the_own_addresses_are_unknown_when_nobody_looked() -> None:
    assert matches("samenet", facts=FACTS._replace(networks=None), column="address") is None


@pytest.mark.parametrize(
    ("method", "shown", "verdict"),
    [
        ("cert", access.Certificate("app"), "accepted"),
        ("cert", access.Certificate("boss"), "refused"),
        ("cert", access.Certificate(""), "refused"),
        ("cert", False, "refused"),
        ("cert", None, "unknown"),
        ("cert", True, "unknown"),
        ("cert map=people", access.Certificate("alice"), "accepted"),
        ("cert map=people", access.Certificate("app"), "refused"),
        ("cert map=people clientname=DN", access.Certificate("x", "CN=x,O=y"), "accepted"),
        ("cert map=people clientname=DN", access.Certificate("alice", "CN=alice"), "refused"),
        ("trust clientcert=verify-full", access.Certificate("app"), "accepted"),
        ("trust clientcert=verify-full", access.Certificate("boss"), "refused"),
        ("trust clientcert=verify-ca", access.Certificate("boss"), "accepted"),
        ("trust clientcert=verify-ca", False, "refused"),
        ("trust clientcert=1", False, "refused"),
        ("trust clientcert=no-verify", False, "accepted"),
        ("scram-sha-256", False, "asked"),
        ("scram-sha-256 clientcert=verify-full", access.Certificate("app"), "asked"),
        ("scram-sha-256 clientcert=verify-full", access.Certificate("boss"), "refused"),
        ("reject", access.Certificate("app"), "refused"),
    ],
)
def test_what_a_rule_makes_of_a_certificate(method: str, shown: Any, verdict: str) -> None:
    ident = 'people alice app\npeople "CN=x,O=y" app\n'
    assert decided(f"hostssl all all all {method}", APP_ATTEMPT._replace(certificate=shown), ident) == [(1, verdict)]


@pytest.mark.parametrize(
    ("method", "os_user", "verdict"),
    [
        ("peer", "app", "accepted"),
        ("ident", "app", "accepted"),
        ("peer", "root", "refused"),
        ("peer", None, "unknown"),
        ("peer map=people", "alice", "accepted"),
        ("md5", "app", "asked"),
    ],
)
def test_an_os_user_at_the_socket(method: str, os_user: str | None, verdict: str) -> None:
    attempt = access.Attempt("app", "shop", is_local=True, os_user=os_user)
    assert decided(f"local all all {method}", attempt, "people alice app") == [(1, verdict)]


def test_every_rule_that_may_decide_is_named_until_one_surely_does() -> None:
    text = "hostssl all +staff all reject\n"
    text += "hostssl all all 192.0.2.0/24 cert\nhost all all all reject\nhost all all all md5\n"
    unknown = FACTS._replace(groups=None)
    assert decided(text, facts=unknown) == [(1, "refused"), (2, "accepted")]
    anywhere = APP_ATTEMPT._replace(address=None, role="boss")
    assert [number for number, _verdict in decided(text, anywhere)] == [2, 3]
    found = access.answer(list(rule.read_all(lexer.read(text))), [], APP_ATTEMPT, unknown)
    assert (found.verdict, found.decision) == ("unknown", None)


def test_a_certain_verdict_of_uncertain_rules() -> None:
    text = "hostssl all all 192.0.2.0/24 reject"
    found = access.answer(list(rule.read_all(lexer.read(text))), [], APP_ATTEMPT._replace(address=None), FACTS)
    assert found.verdict == "refused"
    assert len(found.decisions) == 2


def test_a_line_that_nobody_follows_makes_all_behind_it_uncertain() -> None:
    assert decided("include other.conf\nhost all all all trust") == [(1, "unknown"), (2, "accepted")]
    assert decided("host all all all trust\ninclude other.conf") == [(1, "accepted")]


def test_any_database_and_any_encryption_are_uncertain() -> None:
    text = "hostssl shop all all trust\nhostnossl all all all trust\nhost all all all reject"
    assert [number for number, _verdict in decided(text, access.Attempt("app", None))] == [1, 2, 3]


@pytest.mark.parametrize("address", ["192.0.2.0/x", "192.0.2.0/33", "192.0.2.0/-1"])
def test_an_address_that_the_server_refuses_leaves_the_answer_open(address: str) -> None:
    assert matches(address, column="address") is None
