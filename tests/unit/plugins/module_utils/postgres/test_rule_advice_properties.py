# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of made-up rules, against the evaluator that is held against real servers elsewhere."""

from __future__ import annotations

import random

from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, lexer, rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.shadowed_rules import PLAIN, TLS, Order
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

SEED, FILE_COUNT, ATTEMPTS = 20261121, 800, 60
RULE_DATABASES = [
    "all",
    "all",
    "shop",
    "app,shop",
    "sameuser",
    "samerole",
    "replication",
    '"replication"',
    '"all"',
    "/^s",
]
USERS = ["all", "all", "app", "boss", "app,boss", "+staff", '"all"', "/^a", "/p"]
RULE_ADDRESSES = [
    "all", "all", "192.0.2.0/24", "192.0.2.7/32", "192.0.2.0 255.255.255.0", "0.0.0.0/0", "::/0", "2001:db8::/32",
    "samenet", "samehost", "app1.example", ".example",
]  # fmt: skip
RULE_TYPES = ["host", "host", "hostssl", "hostnossl", "hostnogssenc", "local"]
MEMBERSHIPS = {"app": ["app", "staff"], "boss": ["boss"], "all": ["all"], "shop": ["shop"]}
HOST_NAMES = {"192.0.2.7": "app1.example", "192.0.2.99": "", "198.51.100.1": "x.example", "2001:db8::7": "app1.example"}


def made_up(draw: random.Random) -> str:
    lines = []
    for _number in range(draw.randint(2, 6)):
        kind = draw.choice(RULE_TYPES)
        address = "" if kind == "local" else draw.choice(RULE_ADDRESSES)
        method = draw.choice(["trust", "reject"])
        lines.append(f"{kind} {draw.choice(RULE_DATABASES)} {draw.choice(USERS)} {address} {method}")
    return "\n".join(lines)


def attempt(draw: random.Random) -> access.Attempt:
    is_local = draw.random() < 0.1
    return access.Attempt(
        draw.choice(sorted(MEMBERSHIPS)),
        draw.choice(["shop", "app", "all", "replication", "staff"]),
        is_local=is_local,
        address=None if is_local else draw.choice(sorted(HOST_NAMES)),
        tls=None if is_local else draw.random() < 0.5,
        is_replication=draw.random() < 0.2,
    )


def test_a_rule_that_never_matches_decides_on_no_connection_and_closed_ways_are_closed() -> None:
    draw, never, closed = random.Random(SEED), 0, 0  # noqa: S311
    for _file in range(FILE_COUNT):
        major = draw.choice([15, 17])
        rules = list(rule.read_all(lexer.read(made_up(draw), major)))
        facts = Facts(major, groups=MEMBERSHIPS, networks=["192.0.2.7/24"], host_names=HOST_NAMES)
        order = Order(rules, major)
        dead = {position for position in range(len(rules)) if order.takers(position)}
        ways = [(position, way) for position in range(len(rules)) for way in (TLS, PLAIN)]
        shut = {one for one in ways if not order.is_open(*one)}
        never, closed = never + len(dead), closed + len(shut)
        for _attempt in range(ATTEMPTS):
            one = attempt(draw)
            decision = access.answer(rules, [], one, facts).decision
            assert decision is not None, "all is known"
            if decision.rule is not None:
                position = rules.index(decision.rule)
                assert position not in dead, (rules, one)
                assert one.is_local or (position, TLS if one.tls else PLAIN) not in shut, (rules, one)
    assert never > FILE_COUNT / 20, "else nothing is tried"
    assert closed > FILE_COUNT / 10
