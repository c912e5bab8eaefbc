# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of pg_hba.conf taken apart: where its method is, and what its address stands for."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, hba_grammar, lexer, rule, rule_checks
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

LINK = socket.if_nameindex()[0][1]  # a network interface of this host
CLOSED = "hostnossl all all all reject\nhostnossl replication all all reject\n"


def of(address: str, *, elsewhere: bool = False) -> rule.Rule:
    """Return the rule with such an address, and with method reject behind it."""
    [line] = lexer.read(f"hostssl all all {address} reject clientcert=verify-ca")
    return rule.read(line, elsewhere=elsewhere)


def network(text: str) -> rule.Network:
    """Return the network of START MASK."""
    start, mask = map(ipaddress.ip_address, text.split())
    return rule.Network(start.max_prefixlen, int(start), int(mask))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0 255.0.0.0"),
        ("10.1 255.0.0.0", "10.0.0.0 255.0.0.0"),
        ("10.1/32", "10.0.0.1 255.255.255.255"),
        ("10.1.2 255.255.255.255", "10.1.0.2 255.255.255.255"),
        ("0x7f.1/32", "127.0.0.1 255.255.255.255"),
        ("010.08/32", None),
        ("010.8/32", "8.0.0.8 255.255.255.255"),
        ("2130706433/8", "127.0.0.0 255.0.0.0"),
        ("10.0.0.7 255.0.255.0", "10.0.0.0 255.0.255.0"),
        ("10.0.0.7 10.1", "10.0.0.1 10.0.0.1"),
        ("10.0.0.1/+8", "10.0.0.0 255.0.0.0"),
        ("10.0.0.1/08", "10.0.0.0 255.0.0.0"),
        ("10.0.0.1/-0", "0.0.0.0 0.0.0.0"),
        ('"10.1" "255.0.0.0"', "10.0.0.0 255.0.0.0"),
        ('"10.1/8"', "10.0.0.0 255.0.0.0"),
        ("::1/128", "::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::1 ffff::ffff", "2001::1 ffff::ffff"),
        ("::ffff:10.0.0.1/128", "::ffff:10.0.0.1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::1%1/64", "fe80:: ffff:ffff:ffff:ffff::"),
        (f"fe80::1%{LINK}/64", "fe80:: ffff:ffff:ffff:ffff::"),
        (f"fe80::1%{LINK} ffff::", "fe80:: ffff::"),
        ("10.0.0.0/33", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/8x", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0 ffff::", None),
        ("::1/129", None),
        (f"::1%{LINK}/128", None),
        ("db.example.org/8", None),
        ("fe80::1%nolink/64", None),
    ],
)
def test_what_the_server_takes_for_an_address_is_a_network(address: str, expected: str | None) -> None:
    found = of(address)
    assert (found.is_sound, found.host) == (expected is not None, None)
    assert found.network == (expected and network(expected))
    if expected:
        assert (found.method, found.options) == ("reject", {"clientcert": "verify-ca"})


@pytest.mark.parametrize(
    "host",
    ["db.example.org", ".example.org", "999.1", "10.0.0.256", "1.2.3.4.5", "fe80::1%nolink", f"::1%{LINK}", "-", "ALL"],
)
def test_anything_else_is_the_name_of_a_host(host: str) -> None:
    found = of(host)
    assert (found.host, found.network, found.method, found.is_sound) == (host, None, "reject", True)


@pytest.mark.parametrize("word", ["all", "samehost", "samenet"])
def test_words_have_a_meaning_unless_they_are_quoted(word: str) -> None:
    found, quoted = of(word), of(f'"{word}"')
    assert (found.host, found.network, found.method, found.is_sound) == (None, None, "reject", True)
    assert (quoted.host, quoted.method, quoted.is_sound) == (word, "reject", True)


@pytest.mark.parametrize("mask", ["/64", " ffff:ffff::"])
def test_a_zone_of_another_host_counts_as_one_where_that_makes_a_rule(mask: str) -> None:
    address = f"fe80::1%eth17{mask}"
    assert of(address).network is None
    assert of(address, elsewhere=True).method == "reject"
    assert of(address, elsewhere=True).network is not None
    assert of("fe80::1%eth17", elsewhere=True).host == "fe80::1%eth17"
    assert of(f"::1%eth17{mask}", elsewhere=True).network is None  # which only an address of one link can have
    assert not hba_grammar.problems(f"host all all {address} md5\n", 17)
    assert hba_grammar.problems(f"host all all {address} md5\n", 17, path="/etc/postgresql/17/main/pg_hba.conf")


@pytest.mark.parametrize(
    "text",
    [
        "host all all",
        "host all all 10.0.0.1",
        "host all all 10.0.0.1 255.0.0.0",
        "host all all 10.0.0.0/8,10.1.0.0/16 md5",
        "host all all 10.0.0.0 255.0.0.0,255.0.0.0 md5",
        "host all all all md5,trust",
        "host,hostssl all all all md5",
        "local all all",
        "hostx all all all md5",
        "include other.conf",
    ],
)
def test_a_line_with_something_missing_or_too_much_is_not_sound(text: str) -> None:
    [line] = lexer.read(text)
    assert not rule.read(line).is_sound


def test_a_line_that_the_server_reads_no_further_is_not_sound() -> None:
    [line] = lexer.read("local all all trust")
    assert rule.read(line).is_sound
    assert not rule.read(line._replace(error="file 'x' cannot be read")).is_sound


def test_commas_join_options_as_blanks_do() -> None:
    [line] = lexer.read("hostssl all all all cert map=x,clientname=DN clientcert=verify-full, map=y")
    assert rule.read(line).options == {"map": "y", "clientname": "DN", "clientcert": "verify-full"}


@pytest.mark.parametrize("kind", ["host", "hostnossl"])
@pytest.mark.parametrize("address", ["10.1 255.0.0.0", "0x0a.1 255.0.0.0", "fe80::1%eth17 ffff::", "10.0.0.1 10.1"])
def test_a_rule_that_rejects_lets_nobody_in_without_tls(kind: str, address: str) -> None:
    rule_checks.refuse_plaintext(f"{kind} all all {address} reject\n{CLOSED}", 17)
    with pytest.raises(TlsError, match=r"line 1 .* lets connections without TLS in"):
        rule_checks.refuse_plaintext(f"{kind} all all {address} md5\n{CLOSED}", 17)


def test_the_evaluator_knows_what_a_short_address_rejects() -> None:
    declared = list(rule.read_all(lexer.read("hostssl all all 10.1 255.0.0.0 reject\nhostssl all all all cert\n")))
    app = access.Attempt("app", "shop", address="10.9.9.9", tls=True, certificate=access.Certificate("app", "CN=app"))
    told = access.answer(declared, [], app, Facts(17)).decision
    assert told is not None
    assert (told.rule, told.verdict, told.reason) == (declared[0], access.REFUSED, "method reject")
    other = access.answer(declared, [], app._replace(address="11.9.9.9"), Facts(17)).decision
    assert other is not None
    assert (other.rule, other.verdict) == (declared[1], access.ACCEPTED)


def test_a_zone_of_a_client_does_not_count() -> None:
    declared = list(rule.read_all(lexer.read("hostssl all all fe80::/10 reject\n")))
    told = access.answer(declared, [], access.Attempt("app", "shop", address="fe80::9%eth17", tls=True), Facts(17))
    assert told.verdict == access.REFUSED
    assert len(told.decisions) == 1


def test_an_option_in_a_list_is_looked_for_in_the_maps() -> None:
    rule_checks.refuse_unknown_maps("hostssl all all 10.1 255.0.0.0 cert map=x", "x a b", 17, "postgres_server_hba")
    with pytest.raises(TlsError, match="line 1: map=y names a map"):
        rule_checks.refuse_unknown_maps("hostssl all all all cert clientname=DN,map=y", "x a b", 17, "hba")
