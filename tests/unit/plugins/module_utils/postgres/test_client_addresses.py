# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``address`` of an identity: what it may be, and the rules that are made of it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    access,
    client_addresses,
    client_rules,
    rule,
    rule_advice,
    rule_text,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.access import ACCEPTED, ASKED, REFUSED, Attempt
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts
from hypothesis import given
from hypothesis import strategies as st

MAJOR = 15
INSIDE, OUTSIDE = "10.0.0.5", "10.9.9.9"
Identity = dict[str, Any]
Question = tuple[str, str, str]


def lines(*identities: Identity) -> list[str]:
    """Return the rules of identities as lines of pg_hba.conf."""
    return [rule_text.rule_line(one) for one in client_rules.rules(identities)]


def verdict(question: Question, identities: list[Identity], *, certificate: bool = True) -> str:
    """Return what the rules of identities, and one behind them that takes passwords of all, make of a connection."""
    role, database, address = question
    text = "\n".join([*lines(*identities), "hostnossl all all all reject", "host all all all scram-sha-256", ""])
    shown = access.Certificate(role) if certificate else False
    attempt = Attempt(role, database, address=address, tls=True, certificate=shown)
    return access.answer(access.rules_in(text, "", MAJOR), [], attempt, Facts(MAJOR)).verdict


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::1", "2001:db8::1/128"),
        ("2001:db8::/032", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_an_address_and_a_network_get_the_form_that_rules_have(written: str, canonical: str) -> None:
    assert client_addresses.network(written, "x") == canonical


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "found '', expected self, an IP address, or a network such as 10.0.0.0/24"),
        ("db1.example.com", "found 'db1.example.com', expected self"),
        ("10.0.0", "found '10.0.0', expected"),
        ("10.0.0.0/33", "found '10.0.0.0/33', expected"),
        ("10.0.0.0/", "found '10.0.0.0/', expected"),
        ("10.0.0.0/-1", "expected"),
        ("10.0.0.0/255.255.255.0", "expected"),
        ("fe80::1%eth0", "expected"),
        ("samenet", "expected"),
        ("samehost", "expected"),
        ("all", "expected"),
        (10, "found 10, expected"),
        (["10.0.0.1"], "expected"),
        ("10.0.0.1/24", "has bits beyond the first 24. Write 10.0.0.0/24 for the network, or 10.0.0.1 for the address"),
        ("2001:db8::1/64", "Write 2001:db8::/64 for the network, or 2001:db8::1 for the address alone"),
        ("::ffff:10.0.0.1", "is an IPv4 address in the form of IPv6. PostgreSQL never sees a client with it. Write 10"),
        ("::ffff:10.0.0.0/120", "Write 10.0.0.0/24."),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(written: Any, message: str) -> None:
    with pytest.raises(TlsError) as failure:
        client_addresses.written({"address": [written]}, "postgres_client_identities[2]")
    assert str(failure.value).startswith("postgres_client_identities[2].address: ")
    assert message in str(failure.value)


@given(st.ip_addresses(), st.integers(0, 128))
def test_only_what_is_a_network_is_taken_for_one(address: Any, bits: int) -> None:
    text = f"{address}/{bits}"
    try:
        expected = ipaddress.ip_network(text)
    except ValueError:
        with pytest.raises(TlsError):
            client_addresses.network(text, "x")
        return
    if not (expected.version == 6 and getattr(expected.network_address, "ipv4_mapped", None) and bits >= 96):
        assert ipaddress.ip_network(client_addresses.network(text, "x")) == expected


def test_an_empty_list_is_no_restriction_by_mistake() -> None:
    with pytest.raises(TlsError, match="Leave address out if the identity may connect from every address"):
        client_addresses.written({"address": []}, "x")
    assert client_addresses.written({"address": None}, "x") == []


def test_an_address_restricts_the_rule_and_closes_the_databases_to_all_others() -> None:
    assert lines({"role": "app", "databases": ["shop"], "address": INSIDE}) == [
        "hostssl shop app 10.0.0.5/32 cert",
        "hostssl shop app all reject",
    ]
    assert lines({"role": "app", "login": "both", "address": ["10.0.0.0/24", "2001:db8::/64"]}) == [
        "hostssl all app 10.0.0.0/24 scram-sha-256 clientcert=verify-full",
        "hostssl all app 2001:db8::/64 scram-sha-256 clientcert=verify-full",
        "hostssl all app all reject",
    ]


def test_without_an_address_the_rules_are_as_they_were() -> None:
    assert lines({"role": "app", "databases": ["stock", "shop"]}, {"role": "clerk", "login": "password"}) == [
        "hostssl shop,stock app all cert",
        "hostssl all clerk all scram-sha-256",
    ]


def test_who_may_not_connect_from_elsewhere_is_not_asked_for_a_password_there_instead() -> None:
    before = [{"role": "app", "databases": ["shop"]}]
    after = [{**before[0], "address": "10.0.0.0/24"}]
    for certificate, inside in ((True, ACCEPTED), (False, REFUSED)):
        for identities in (before, after):
            assert verdict(("app", "shop", INSIDE), identities, certificate=certificate) == inside
        assert verdict(("app", "shop", OUTSIDE), after, certificate=certificate) == REFUSED
    for identities in (before, after):  # what was never decided by these rules is not now
        assert verdict(("app", "stock", OUTSIDE), identities) == ASKED
        assert verdict(("stranger", "shop", OUTSIDE), identities) == ASKED


def test_identities_with_the_same_role_let_in_what_any_of_them_does() -> None:
    one = {"role": "app", "databases": ["shop"], "address": "10.0.0.0/24"}
    two = {"role": "app", "databases": ["shop", "stock"], "address": ["192.0.2.1", "10.0.0.7"]}
    assert lines(one, two) == [
        "hostssl shop app 10.0.0.0/24 cert",
        "hostssl stock app 10.0.0.7/32 cert",
        "hostssl shop,stock app 192.0.2.1/32 cert",
        "hostssl shop,stock app all reject",
    ]
    assert lines(one, {"role": "app", "databases": ["shop"]}) == ["hostssl shop app all cert"]
    assert lines(one, {"role": "app"}) == ["hostssl all app all cert"]
    assert lines({"role": "app", "address": INSIDE}, {"role": "app", "databases": ["shop"]}) == [
        "hostssl shop app all cert",
        "hostssl all app 10.0.0.5/32 cert",
        "hostssl all app all reject",
    ]


def test_replication_is_closed_by_its_own_word() -> None:
    standby = {"role": "standby", "databases": ["replication"], "address": INSIDE}
    assert lines(standby)[-1] == "hostssl replication standby all reject"
    assert lines({**standby, "databases": ["all", "replication"]})[-1] == "hostssl all,replication standby all reject"
    assert lines(standby, {"role": "standby"}) == [
        "hostssl all standby all cert",
        "hostssl replication standby 10.0.0.5/32 cert",
        "hostssl replication standby all reject",
    ]


def test_a_role_with_two_logins_is_closed_behind_both() -> None:
    certified = {"role": "app", "databases": ["shop"], "address": INSIDE}
    asked = {"role": "app", "databases": ["billing"], "login": "password", "address": OUTSIDE}
    assert lines(certified, asked) == [
        "hostssl shop app 10.0.0.5/32 cert",
        "hostssl billing app 10.9.9.9/32 scram-sha-256",
        "hostssl billing,shop app all reject",
    ]


NETWORKS = st.sampled_from(["10.0.0.0/8", "10.0.0.0/24", INSIDE, "10.9.0.0/16", "0.0.0.0/0", "2001:db8::/32", "::/0"])
IDENTITIES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["app", "clerk"])},
        optional={
            "databases": st.lists(st.sampled_from(["all", "shop", "stock"]), min_size=1),
            "address": st.lists(NETWORKS, min_size=1),
        },
    ),
    max_size=5,
)
QUESTIONS = st.tuples(
    st.sampled_from(["app", "clerk", "stranger"]),
    st.sampled_from(["shop", "stock", "other"]),
    st.sampled_from([INSIDE, OUTSIDE, "192.0.2.1", "2001:db8::1", "fd00::1"]),
)


def grants(identity: Identity, question: Question) -> bool:
    """Return whether an identity may connect, by what it says."""
    role, database, address = question
    named, networks = identity.get("databases", ["all"]), identity.get("address")
    is_within = not networks or any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in networks)
    return identity["role"] == role and (database in named or "all" in named) and is_within


@given(IDENTITIES, QUESTIONS)
def test_a_role_gets_in_where_one_of_its_identities_says_so_and_nobody_gets_more_than_without_addresses(
    identities: list[Identity], question: Question
) -> None:
    open_to_all = [{key: value for key, value in one.items() if key != "address"} for one in identities]
    found, before = verdict(question, identities), verdict(question, open_to_all)
    assert (found == ACCEPTED) == any(grants(one, question) for one in identities)
    assert found in (before, REFUSED)


@given(IDENTITIES)
def test_no_rule_is_made_that_never_decides(identities: list[Identity]) -> None:
    rules = access.rules_in("\n".join([*lines(*identities), ""]), "", MAJOR)
    found = rule_advice.advice(rules, [], MAJOR)
    assert [one for one in found if one.level == rule_advice.WARNING] == []


def test_a_network_is_in_another_one_or_apart_or_neither() -> None:
    def has(wide: str, narrow: str) -> bool | None:
        outer, inner = rule.network(wide), rule.network(narrow)
        assert outer is not None
        assert inner is not None
        return outer.has_all(inner)

    assert has("10.0.0.0/8", "10.1.0.0/16") is True
    assert has("10.1.0.0/16", "10.0.0.0/8") is None
    assert has("10.1.0.0/16", "10.2.0.0/16") is False
    assert has("0.0.0.0/0", "::/0") is False
