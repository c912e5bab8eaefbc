# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar, lexer, rule, rule_advice
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule_advice import Advice

CLOSING = "hostnossl all all all reject\nhostnossl replication all all reject\n"


def advised(text: str, ident: str = "", major: int = 17, *, has_ca: bool | None = True) -> list[Advice]:
    rules, maps = list(rule.read_all(lexer.read(text, major))), lexer.read(ident, major)
    return rule_advice.advice(rules, [("pg_ident.conf", line) for line in maps], major, has_ca=has_ca)


def named(name: str, text: str, ident: str = "", major: int = 17, *, has_ca: bool | None = True) -> list[int]:
    """Return the lines for which a check has something to say."""
    return [one.line for one in advised(text, ident, major, has_ca=has_ca) if one.name == name]


def test_rules_of_identities_and_what_closes_them_are_as_they_should_be() -> None:
    text = f'local all postgres peer\nhostssl all "all" all cert\nhostssl a,b app all cert\n{CLOSING}'
    assert advised(text) == []


def test_advice_names_place_reason_and_remedy() -> None:
    (told,) = advised("# rules\nhostssl all all all cert\nhostssl all app all reject\n")
    reason = "it never matches: line 2 before it decides every connection that it covers"
    place = ("pg_hba.conf", 3, "never_matches", "warning")
    assert told == Advice(*place, reason, "Move it before those lines, or remove it.")


@pytest.mark.parametrize(
    ("before", "rule"),
    [
        ("host all all all", "hostssl shop app 192.0.2.0/24"),
        ("host all all 0.0.0.0/0\nhost all all ::/0", "hostssl all all all"),
        ("hostssl all all all\nhostnossl all all all", "host all all samehost"),
        ("hostnogssenc all all all", "hostssl all all all"),
        ("hostnossl all all all", "hostgssenc all all all"),
        ("hostssl all all 192.0.2.0/24", "hostssl all all 192.0.2.77 255.255.255.240"),
        ("hostssl all all ::/0", "hostssl all all 2001:db8::/32"),
        ("hostssl all app all\nhostssl all boss all", "hostssl all app,boss all"),
        ("hostssl a,b all all", "hostssl b +staff all"),
        ("hostssl all +staff all", "hostssl all +staff all"),
        ("hostssl all /^a all", "hostssl all app,admin all"),
        ("hostssl /^s all all", "hostssl shop all all"),
        ("hostssl all all db1.example.com", "hostssl all all db1.example.com"),
        ("hostssl replication all all", "hostssl replication repl all"),
        ("hostssl all all all", 'hostssl "replication",sameuser,samerole all all'),
        ("local all all", "local all postgres"),
    ],
)
def test_a_rule_never_matches_when_others_take_all_of_it(before: str, rule: str) -> None:
    count = len(before.splitlines())
    text = "".join(f"{line} scram-sha-256\n" for line in before.splitlines()) + f"{rule} reject\n"
    assert named("never_matches", text) == [count + 1]
    assert named("never_matches", text.replace(" reject", " scram-sha-256")) == [], "it would do the same"


@pytest.mark.parametrize(
    ("before", "rule"),
    [
        ("hostssl all all all", "host all all all"),
        ("hostnossl all all all", "host all all all"),
        ("host all all 0.0.0.0/0", "host all all all"),
        ("host all all 0.0.0.0/0", "host all all ::/0"),
        ("host all all 192.0.2.0/24", "host all all 192.0.2.0/23"),
        ("host all all samehost", "host all all 127.0.0.1/32"),
        ("host all all samenet", "host all all samehost"),
        ("host all all .example.com", "host all all db1.example.com"),
        ("host all app all", "host all app,boss all"),
        ("host all app all", "host all App all"),
        ("host all +staff all", "host all app all"),
        ("host all app all", "host all all all"),
        ('host all "all" all', "host all app all"),
        ("host all /^a all", "host all /^ap all"),
        ("host all /a all", "host all +staff all"),
        ("host all /a all", "host all /^ab all"),
        ("host /h all all", "host /^sh all all"),
        ("host all @file all", "host all app all"),
        ("host all all all", "host replication all all"),
        ("host sameuser all all", "host app app all"),
        ("host samerole all all", "host sameuser all all"),
        ("local all all", "host all all all"),
        ("host all all 192.0.2.0/33", "host all all 192.0.2.0/24"),
    ],
)
def test_a_rule_may_match_when_something_of_it_is_left(before: str, rule: str) -> None:
    assert named("never_matches", f"{before} scram-sha-256\n{rule} reject\n") == []


def test_up_to_15_an_expression_is_a_name() -> None:
    text = "hostssl all /^a all scram-sha-256\nhostssl all app all reject\n"
    assert (named("never_matches", text, major=16), named("never_matches", text, major=15)) == ([2], [])


@pytest.mark.parametrize(
    ("name", "rule", "ident"),
    [
        ("any_certificate", "hostssl all all all trust clientcert=verify-ca", ""),
        ("unused_clientname", "hostssl all all all scram-sha-256 clientname=CN", ""),
        ("unused_clientname", "hostssl all all all md5 clientcert=verify-ca clientname=DN", ""),
        ("unknown_map", "hostssl all all all cert map=people", "others alice app"),
        ("unknown_map", "local all all peer map=people", ""),
        ("dn_without_map", "hostssl all all all cert clientname=DN", ""),
        ("no_dn", "hostssl all all all cert clientname=DN map=people", "people alice app"),
        ("no_dn", "hostssl all all all cert clientname=DN map=people", 'people "CN=alice, O=x" app'),
        ("no_dn", "hostssl all all all cert clientname=DN map=people", "people /O=x/CN=alice app"),
        ("map_for_two_names", "hostssl all all all gss clientcert=verify-full map=people", "people alice app"),
        ("without_ipv6", "hostssl all all 0.0.0.0/0 cert", ""),
        ("without_ipv6", "hostssl all all 0.0.0.0 0.0.0.0 cert", ""),
        ("without_tls", "host all all all scram-sha-256", ""),
        ("without_tls", "hostnossl all app 192.0.2.0/24 trust", ""),
        ("without_certificate", "hostssl all all all scram-sha-256", ""),
    ],
)
def test_a_check_finds_what_it_is_for(name: str, rule: str, ident: str) -> None:
    assert named(name, rule, ident) == [1]


@pytest.mark.parametrize(
    ("name", "text", "ident"),
    [
        ("any_certificate", "hostssl all all all trust clientcert=verify-full", ""),
        ("any_certificate", "hostssl all all all scram-sha-256 clientcert=verify-ca", ""),
        ("unused_clientname", "hostssl all all all md5 clientcert=verify-full clientname=CN", ""),
        ("unknown_map", "hostssl all all all cert map=people", "people alice app"),
        ("unknown_map", "hostssl all all all cert map=people", "include more.conf"),
        ("unknown_map", "hostssl all all all cert map=", ""),
        ("dn_without_map", "hostssl all CN=alice all cert clientname=DN", ""),
        ("no_dn", "hostssl all all all cert clientname=DN map=people", 'people "CN=alice\\, b,O=x" app'),
        ("no_dn", "hostssl all all all cert clientname=DN map=people", "people /^CN=alice, app"),
        ("no_dn", "hostssl all all all cert map=people", "people alice app"),
        ("map_for_two_names", "hostssl all all all cert map=people", "people alice app"),
        ("without_ipv6", "hostssl all all 0.0.0.0/0 cert\nhostssl all all ::/0 cert", ""),
        ("without_ipv6", "hostssl all all 0.0.0.0/0 reject", ""),
        ("without_ipv6", "hostssl all all 192.0.2.0/24 cert", ""),
        ("without_tls", f"{CLOSING}host all all all scram-sha-256", ""),
        ("without_tls", "hostssl all all all md5", ""),
        ("without_tls", "host all all all reject", ""),
        ("without_certificate", "hostssl all all all scram-sha-256 clientcert=verify-ca", ""),
        ("without_certificate", "hostssl all all all reject\nhostssl all all all md5", ""),
        ("without_certificate", "local all all md5", ""),
    ],
)
def test_a_check_leaves_alone_what_is_right(name: str, text: str, ident: str) -> None:
    assert named(name, text, ident) == []


def test_a_certificate_needs_authorities_and_who_does_not_know_them_says_nothing() -> None:
    text = "hostssl all all all cert\nhostssl x x all md5 clientcert=verify-ca\nlocal all all peer"
    assert named("no_ca", text, has_ca=False) == [1, 2]
    assert named("no_ca", text, has_ca=True) == named("no_ca", text, has_ca=None) == []


def test_each_map_is_told_of_once() -> None:
    text = "hostssl a all all cert map=m clientname=DN\nhostssl b all all cert map=m clientname=DN"
    (told,) = [one for one in advised(text, "m alice app") if one.name == "no_dn"]
    assert (told.line, told.reason) == (1, "pg_ident.conf line 1: 'alice' is compared with a DN and can be none")


def test_lines_that_the_server_refuses_are_left_out() -> None:
    assert advised("host all all all scram-sha-256 clientcert=verify-ca\nhost all all all nonsense\nhost") == []


def test_a_name_in_another_encoding_can_be_printed() -> None:
    (told,) = advised("hostssl all caf\udce9 all md5")
    assert (
        told.reason.encode() == "it lets role caf\ufffd into any database without a certificate, by method md5".encode()
    )


@pytest.mark.parametrize(("value", "remedy"), [("1", "Write clientcert=verify-ca"), ("0", "Leave it out")])
def test_values_of_clientcert_that_are_gone_are_told_with_what_to_write_instead(value: str, remedy: str) -> None:
    (problem,) = hba_grammar.problems(f"hostssl all all all md5 clientcert={value}", 14)
    assert f"{remedy}: this is how PostgreSQL 14 and later work" in problem.reason
    (problem,) = hba_grammar.problems("hostssl all all all cert clientcert=1", 14)
    assert problem.reason.endswith("Leave it out")


def test_a_map_that_a_method_cannot_have_is_told_with_what_holds_instead() -> None:
    (problem,) = hba_grammar.problems("hostssl all all all scram-sha-256 clientcert=verify-full map=people", 17)
    assert problem.reason.endswith("With this method, the CN of a certificate must be the role")
