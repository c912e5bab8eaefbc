# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server takes of pg_hba.conf although it is hardly meant, and who gets in by less than a certificate.

Lines that a server refuses are ``hba``'s business and are left out here. Only what is certain is told.
"""

from __future__ import annotations

import re
from typing import Callable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar, redaction
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import ALL, Rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.shadowed_rules import ANYWHERE, PLAIN, TLS, Order

# It is not what its author can have meant; it may be meant, and is good to know.
WARNING, INFORMATION = "warning", "information"
_IPV4, _IPV6 = ANYWHERE
# What no DN in the form of RFC 2253 is: a text without an attribute, with a blank behind a comma, in OpenSSL's old form
_NO_DN = re.compile(r"[^=]*|.*(?<!\\), .*|/[A-Za-z]+=[^/]*(?:/[A-Za-z]+=[^/]*)+", re.DOTALL)


class Advice(NamedTuple):
    """What there is to say of a rule: its file and line, the check's name, WARNING or INFORMATION, why, what to do."""

    file: str
    line: int
    name: str
    level: str
    reason: str
    remedy: str


class Site(NamedTuple):
    """The rules that a server takes, in their order, and what goes with them.

    ``maps``: the lines of pg_ident.conf, each with its file. ``has_ca``: whether ssl_ca_file is set, None: not known.
    """

    order: Order
    maps: Sequence[tuple[str, Line]]
    major: int
    has_ca: bool | None

    def rule(self, position: int) -> Rule:
        """Return the rule at a position."""
        return self.order.rules[position]


class Check(NamedTuple):
    """A check by its name: how bad it is, what finds the reason ('': nothing to say) for a rule, and what to do."""

    name: str
    level: str
    reason: Callable[[Site, int], str]
    remedy: str


def advice(
    rules: Sequence[Rule], maps: Sequence[tuple[str, Line]], major: int, *, has_ca: bool | None = None
) -> list[Advice]:
    """Return what there is to say of rules, for a server of version ``major``; see ``Site`` for the rest."""
    site = Site(Order([rule for rule in rules if not hba_grammar.fault(rule, major)], major), maps, major, has_ca)
    return [
        Advice(rule.file, rule.line.number, check.name, check.level, redaction.printable(reason), check.remedy)
        for position, rule in enumerate(site.order.rules)
        for check in CHECKS
        for reason in [check.reason(site, position)]
        if reason
    ]


def _never_matches(site: Site, position: int) -> str:
    rule, takers = site.rule(position), site.order.takers(position)
    # A rule that says the same as those before it is useless, and does no harm
    if all((one.method, one.options) == (rule.method, rule.options) for one in map(site.rule, takers)):
        return ""
    places = [
        f"{'' if one.file == rule.file else f'{one.file} '}line {one.line.number}" for one in map(site.rule, takers)
    ]
    decide = f"decide{'s' * (len(places) == 1)}"
    return f"it never matches: {' and '.join(places)} before it {decide} every connection that it covers"


def _any_certificate(site: Site, position: int) -> str:
    rule = site.rule(position)
    if (rule.method, rule.clientcert) != ("trust", "verify-ca"):
        return ""
    return f"any certificate from an authority in ssl_ca_file, even one for another role, logs in as {_users(rule)}"


def _unused_clientname(site: Site, position: int) -> str:
    rule = site.rule(position)
    if "clientname" not in rule.options or rule.clientcert == "verify-full":
        return ""
    return "clientname has no effect, since no name of the certificate is compared without clientcert=verify-full"


def _map_for_two(site: Site, position: int) -> str:
    rule = site.rule(position)
    if rule.method == "cert" or rule.clientcert != "verify-full" or not rule.options.get("map"):
        return ""
    name = rule.options["map"]
    return f"map {name} is used twice, for the name from {rule.method} and for the name in the certificate"


def _unknown_map(site: Site, position: int) -> str:
    name = site.rule(position).options.get("map")
    is_whole = all(not line.error and len(line.fields) > 2 for _file, line in site.maps)  # nothing is left out
    if not name or not is_whole or any(_map_of(line) == name for _file, line in site.maps):
        return ""
    return f"map={name} names a map that pg_ident.conf does not have, so the rule lets nobody in"


def _dn_without_map(site: Site, position: int) -> str:
    rule = site.rule(position)
    if not _compares_dn(rule) or rule.options.get("map") or any("=" in token.text for token in rule.users):
        return ""
    return "clientname=DN without a map lets in only a role that is named like the whole DN"


def _no_dn(site: Site, position: int) -> str:
    name = site.rule(position).options.get("map")
    same = (one for one in site.order.rules if _compares_dn(one) and one.options.get("map") == name)
    if not name or next(same, None) is not site.rule(position):  # reported once for each map
        return ""
    return "; ".join(
        f"{file} line {line.number}: {line.fields[1][0].text!r} is compared with a DN and can be none"
        for file, line in site.maps
        if _map_of(line) == name and _can_be_no_dn(line)
    )


def _no_ca(site: Site, position: int) -> str:
    if site.has_ca is not False or not site.rule(position).clientcert:
        return ""
    return "ssl_ca_file is empty, so no certificate can be checked and the rule lets nobody in"


def _without_ipv6(site: Site, position: int) -> str:
    rule = site.rule(position)
    cells = [cell for cell in site.order.cells(position) if cell.origin == _IPV4]
    others = (site.order.taker(cell._replace(origin=_IPV6), len(site.order.rules)) for cell in cells)
    if rule.method == "reject" or all(one is not None for one in others):
        return ""
    return f"it covers all of IPv4, but no rule covers {_users(rule)} in {_databases(rule)} by IPv6"


def _without_tls(site: Site, position: int) -> str:
    rule = site.rule(position)
    if rule.method == "reject" or not site.order.is_open(position, PLAIN):
        return ""
    return f"it lets {_users(rule)} into {_databases(rule)} without TLS, {_proof(rule)}"


def _without_certificate(site: Site, position: int) -> str:
    rule = site.rule(position)
    if rule.method == "reject" or rule.clientcert or site.order.is_open(position, PLAIN):
        return ""  # without TLS there is no certificate either: that is reported already
    if not site.order.is_open(position, TLS):
        return ""
    return f"it lets {_users(rule)} into {_databases(rule)} without a certificate, {_proof(rule)}"


def _compares_dn(rule: Rule) -> bool:
    return rule.options.get("clientname") == "DN" and rule.clientcert == "verify-full"


def _map_of(line: Line) -> str:
    return line.fields[0][0].text if line.fields else ""


def _can_be_no_dn(line: Line) -> bool:
    system = line.fields[1][0].text if len(line.fields) > 2 else "="
    is_expression = system.startswith("/") and system.count("/") < 2
    return not is_expression and _NO_DN.fullmatch(system) is not None


def _proof(rule: Rule) -> str:
    return "and asks for no proof" if rule.method == "trust" else f"by method {rule.method}"


def _users(rule: Rule) -> str:
    return "any role" if _names_all(rule.users) else f"role {_words(rule.users)}"


def _databases(rule: Rule) -> str:
    return "any database" if _names_all(rule.databases) else f"database {_words(rule.databases)}"


def _names_all(tokens: Sequence[Token]) -> bool:
    return ALL in tokens


def _words(tokens: Sequence[Token]) -> str:
    return ",".join(f'"{token.text}"' if token.quoted else token.text for token in tokens)


CHECKS = (
    Check("never_matches", WARNING, _never_matches, "Move it before those lines, or remove it."),
    Check("any_certificate", WARNING, _any_certificate, "Use method cert, or clientcert=verify-full."),
    Check(
        "unused_clientname",
        WARNING,
        _unused_clientname,
        "Add clientcert=verify-full, or leave clientname out.",
    ),
    Check("unknown_map", WARNING, _unknown_map, "Add lines of that map to pg_ident.conf, or leave map out."),
    Check("dn_without_map", WARNING, _dn_without_map, "Add a map, or leave clientname out to have the CN compared."),
    Check(
        "no_dn",
        WARNING,
        _no_dn,
        'Write it as RFC 2253 does, the last part first, without blanks and in quotes: "CN=alice,OU=shop,O=Example".',
    ),
    Check("no_ca", WARNING, _no_ca, "Set ssl_ca_file to the authorities whose clients may log in."),
    Check("map_for_two_names", INFORMATION, _map_for_two, "Add lines for both names to the map."),
    Check("without_ipv6", INFORMATION, _without_ipv6, "Write the same rule for ::/0, or once with address all."),
    Check("without_tls", INFORMATION, _without_tls, "Make it hostssl, once the clients use TLS."),
    Check("without_certificate", INFORMATION, _without_certificate, "Use method cert, or add clientcert=verify-full."),
)
