# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can get in, asked of the files of a real server and of texts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import visitors

BLANK_QUESTION: dict[str, Any] = {
    **dict.fromkeys(("user", "database", "address", "tls", "common_name", "distinguished_name", "os_user")),
    **dict.fromkeys(("local", "replication"), False),
}


def ask(rules: visitors.Rules, **question: Any) -> list[dict[str, Any]]:
    return rules.answers({**BLANK_QUESTION, **question})


@pytest.fixture
def asked(cluster: Any) -> Any:
    """Give a cluster with roles, a group, rules and maps that are on disk and not loaded."""
    cluster.psql("CREATE ROLE staff; CREATE ROLE app LOGIN; CREATE ROLE boss LOGIN; GRANT staff TO boss")
    cluster.write("users", "app,boss\n")
    cluster.hba(
        'hostssl all +staff all ldap ldapserver=x ldapprefix=cn= ldapbindpasswd="sesame street"',
        "hostssl shop @users 192.0.2.0/24 cert map=people",
        "hostssl all all localhost trust",
        "host all all all reject",
    )
    cluster.write("pg_ident.conf", "people alice app\n")
    return cluster


def of(cluster: Any) -> visitors.Rules:
    return visitors.of_server(cluster.port, cluster.socket_directory, "postgres")


def test_the_rule_that_decides_is_named_with_its_file(asked: Any) -> None:
    (told,) = ask(of(asked), user="app", database="shop", address="192.0.2.7", common_name="alice")
    assert (told["user"], told["verdict"], told["certain"]) == ("app", "accepted", True)
    assert told["reason"] == "CN 'alice' may be role 'app' through map people"
    text = "hostssl shop @users 192.0.2.0/24 cert map=people"
    rule = {"file": f"{asked.data}/pg_hba.conf", "line": 3, "text": text, "method": "cert"}
    assert told["rule"] == rule
    assert told["may_decide"] == []


def test_passwords_are_shown_nowhere(asked: Any) -> None:
    (told,) = ask(of(asked), user="boss", address="192.0.2.7", tls=True)
    assert told["verdict"] == "asked"
    assert "ldapbindpasswd=********" in told["rule"]["text"]
    assert "sesame" not in str(told)


def test_without_a_user_each_role_that_a_certificate_may_become_is_named(asked: Any) -> None:
    told = ask(of(asked), database="shop", address="192.0.2.7", common_name="alice")
    assert [(one["user"], one["verdict"]) for one in told] == [("app", "accepted"), ("boss", "asked")]


def test_names_of_addresses_are_looked_up(asked: Any) -> None:
    (told,) = ask(of(asked), user="app", address="127.0.0.1", tls=True)
    assert (told["verdict"], told["rule"]["line"]) == ("accepted", 4)
    (told,) = ask(of(asked), user="app", database="other", address="127.0.0.9", tls=True)
    assert (told["verdict"], told["rule"]["line"]) == ("refused", 5)


def test_what_is_not_known_leaves_several_rules(asked: Any) -> None:
    (told,) = ask(of(asked), user="app", common_name="alice")
    assert (told["verdict"], told["certain"], told["rule"]) == ("unknown", False, None)
    assert [one["rule"]["line"] for one in told["may_decide"]] == [3, 4, 5]
    assert [one["verdict"] for one in told["may_decide"]] == ["accepted", "accepted", "refused"]


def test_a_connection_over_the_socket(asked: Any) -> None:
    (told,) = ask(of(asked), user="app", local=True)
    assert (told["verdict"], told["rule"]["line"]) == ("accepted", 1)


def test_included_files_are_followed(asked: Any) -> None:
    rules = of(asked)
    if rules.facts.major < 16:
        pytest.skip("pg_hba.conf includes files from PostgreSQL 16 on")
    asked.write("more.conf", "# more\nhostssl all app all cert\n")
    asked.hba("include more.conf", "host all all all reject")
    (told,) = ask(of(asked), user="app", common_name="app")
    assert (told["rule"]["file"], told["rule"]["line"]) == (f"{asked.data}/more.conf", 2)
    asked.hba("include gone.conf", "host all all all reject")
    (told,) = ask(of(asked), user="app", common_name="app")
    assert told["verdict"] == "unknown"


def test_texts_need_no_server() -> None:
    text = "hostssl all /^a all cert\nhost all all all reject"
    new, old = visitors.of_texts(text, "", 16), visitors.of_texts(text, "", 15)
    assert [one["verdict"] for one in ask(new, user="app", common_name="app")] == ["accepted"]
    assert [one["verdict"] for one in ask(old, user="app", common_name="app")] == ["refused"]
    (told,) = ask(new, user="app", tls=False)
    rule = {"file": "pg_hba.conf", "line": 2, "text": "host all all all reject", "method": "reject"}
    assert told["rule"] == rule


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"common_name": "app"}, "a question without user needs a server"),
        ({"user": "app", "address": "db1"}, "address 'db1' is not an IP address"),
        ({"user": "app", "local": True, "tls": True}, "has no address, TLS or certificate"),
        ({"user": "app", "local": True, "address": "::1"}, "has no address, TLS or certificate"),
    ],
)
def test_questions_that_cannot_be_meant_are_refused(question: dict[str, Any], message: str) -> None:
    with pytest.raises(TlsError, match=message):
        ask(visitors.of_texts("local all all peer", "", 17), **question)
