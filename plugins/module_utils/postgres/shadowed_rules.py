# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one rule of pg_hba.conf leaves to the next: whether all that a rule is for is taken by others.

A rule is split into cells, so small that a single rule takes each of them or cannot be told to. Membership in groups,
names of hosts and what expressions have in common are such things: a cell counts as taken only if it surely is.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import usermap
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import ALL, Network, Rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

SOCKET, TLS, GSS, PLAIN = "socket", "tls", "gss", "plain"  # ways of a connection to the server
# What GSSAPI encrypts has no TLS, and the other way round
_WAYS = {
    "local": (SOCKET,),
    "host": (TLS, GSS, PLAIN),
    "hostssl": (TLS,),
    "hostnossl": (GSS, PLAIN),
    "hostgssenc": (GSS,),
    "hostnogssenc": (TLS, PLAIN),
}
_DATABASE_WORDS = ("all", "replication", "sameuser", "samerole", "samegroup")
_REGEX_SINCE = 16


class Origin(NamedTuple):
    """Where clients come from: a network and, where a rule has one, the name or word that they must match, too."""

    network: Network
    name: Token | None = None


NOWHERE = Origin(Network(0, 0, 0))  # of the socket
ANYWHERE = (Origin(Network(32, 0, 0)), Origin(Network(128, 0, 0)))  # IPv4, IPv6


class Cell(NamedTuple):
    """A part of what a rule is for: one way, one family of addresses, one word for databases and one for users."""

    way: str
    origin: Origin
    database: Token
    user: Token


class Order:
    """The rules in their order; the server must accept each of them."""

    def __init__(self, rules: Sequence[Rule], major: int) -> None:
        self.rules = rules
        self._facts = Facts(major)
        self._origins = [_origins(rule) for rule in rules]
        self._by_user: dict[str, list[int]] = {}  # thousands of rules have as many users
        self._for_many: list[int] = []
        for position, rule in enumerate(rules):
            if any(token == ALL or _has_meaning(token, major) for token in rule.users):
                self._for_many.append(position)
            else:
                for name in {token.text for token in rule.users}:
                    self._by_user.setdefault(name, []).append(position)

    def cells(self, position: int, ways: Sequence[str] = (SOCKET, TLS, GSS, PLAIN)) -> list[Cell]:
        """Return the cells of a rule in some of the ways."""
        rule = self.rules[position]
        return [
            Cell(way, origin, database, user)
            for way in _WAYS[rule.kind]
            if way in ways
            for origin in self._origins[position]
            for database in rule.databases
            for user in rule.users
        ]

    def taker(self, cell: Cell, end: int) -> int | None:
        """Return the position of the first rule before ``end`` that surely takes a cell, None for none."""
        candidates = (*self._by_user.get(cell.user.text, ()), *self._for_many)
        return min((one for one in candidates if one < end and self._takes(one, cell)), default=None)

    def is_open(self, position: int, way: str) -> bool:
        """Return whether rules before it leave anything of a way to a rule."""
        return any(self.taker(cell, position) is None for cell in self.cells(position, (way,)))

    def takers(self, position: int) -> list[int]:
        """Return the rules because of which a rule never matches, an empty list when it may."""
        found: set[int] = set()
        for cell in self.cells(position):
            one = self.taker(cell, position)
            if one is None:
                return []
            found.add(one)
        return sorted(found)

    def _takes(self, position: int, cell: Cell) -> bool:
        rule = self.rules[position]
        return (
            cell.way in _WAYS[rule.kind]
            and any(_contains(origin, cell.origin) for origin in self._origins[position])
            and any(_takes_user(token, cell.user, self._facts) for token in rule.users)
            and any(_takes_database(token, cell.database, self._facts) for token in rule.databases)
        )


def _origins(rule: Rule) -> Sequence[Origin]:
    if rule.address is None:
        return (NOWHERE,)
    if rule.network is not None:
        return (Origin(rule.network),)
    if rule.address == ALL:
        return ANYWHERE
    return [origin._replace(name=rule.address) for origin in ANYWHERE]


def _contains(outer: Origin, inner: Origin) -> bool:
    one, other = outer.network, inner.network
    return (
        outer.name in (None, inner.name)
        and one.size == other.size
        and one.mask & other.mask == one.mask
        and (one.start ^ other.start) & one.mask == 0
    )


def _takes_database(taker: Token, taken: Token, facts: Facts) -> bool:
    if taker == taken:
        return True
    if taken == Token("replication", quoted=False):  # which "all" does not match
        return False
    if taker == ALL:
        return True
    words = [one for one in (taker, taken) if one.text in _DATABASE_WORDS and not one.quoted]
    return not words and not _has_meaning(taken, facts.major) and bool(usermap.matches_name(taker, taken.text, facts))


def _takes_user(taker: Token, taken: Token, facts: Facts) -> bool:
    if taker in (taken, ALL):
        return True
    if taken == ALL or _has_meaning(taken, facts.major):
        return False
    return bool(usermap.matches_role(taker, taken.text, facts))


def _has_meaning(token: Token, major: int) -> bool:
    """Return whether a word stands for more than one name: a group, a file, an expression."""
    if token.text.startswith("/"):
        return major >= _REGEX_SINCE
    return not token.quoted and token.text[:1] in ("+", "@")
