# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can get in: which line of pg_hba.conf decides on a connection, and what it makes of it.

It follows check_hba, check_db, check_role and CheckCertAuth of PostgreSQL's hba.c and auth.c, versions 12 to 19. What
is not known of a connection, or of the server, makes an answer less certain, and never a wrong one.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import includes, usermap
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import (
    ALL,
    Network,
    Rule,
    is_word,
    network,
    read,
    without_zone,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

# The result for a connection: accepted, refused, decided by a proof other than a certificate, or unknown.
ACCEPTED, REFUSED, ASKED, UNKNOWN = "accepted", "refused", "asked", "unknown"


class Certificate(NamedTuple):
    """What a server sees of a client's certificate that it trusts; None: this part is not known."""

    common_name: str | None = None
    distinguished_name: str | None = None


class Attempt(NamedTuple):
    """A connection. None for ``database``, ``address``, ``tls`` or ``certificate``: it may be any, or none.

    ``address`` may be a network (ADDRESS/BITS), which stands for each address in it.
    ``is_local``: over the Unix socket, where ``os_user`` connects. ``is_replication``: physical replication, which
    has no database. ``certificate`` is False for a client that shows none.
    """

    role: str
    database: str | None
    is_local: bool = False
    address: str | None = None
    tls: bool | None = None
    certificate: Certificate | bool | None = None
    os_user: str | None = None
    is_replication: bool = False


class Decision(NamedTuple):
    """A rule that may decide (None: the end of the file), what it makes of the connection, and why."""

    rule: Rule | None
    verdict: str
    reason: str


class Answer(NamedTuple):
    """The rules that may decide on a connection, in their order; a single one is the rule that does."""

    decisions: list[Decision]

    @property
    def decision(self) -> Decision | None:
        """Return what surely decides, None when that depends on something unknown."""
        return self.decisions[0] if len(self.decisions) == 1 else None

    @property
    def verdict(self) -> str:
        """Return what becomes of the connection, whichever rule decides."""
        verdicts = {one.verdict for one in self.decisions}
        return verdicts.pop() if len(verdicts) == 1 else UNKNOWN


def rules_in(text: str, path: str, major: int) -> list[Rule]:
    """Return the rules of the text of pg_hba.conf at ``path``, and of the files that it includes."""
    lines = includes.followed(text, includes.Source(path, major))
    return [read(line, file) for file, line in lines]


def maps_in(text: str, path: str, major: int) -> list[Line]:
    """Return the lines of the text of pg_ident.conf at ``path``, and of the files that it includes."""
    return [line for _file, line in includes.followed(text, includes.Source(path, major))]


def answer(declared: Iterable[Rule], maps: Sequence[Line], attempt: Attempt, facts: Facts) -> Answer:
    """Tell what decides on a connection: the first rule that matches, and each before it that may match.

    ``maps`` are the lines of pg_ident.conf.
    """
    decisions = []
    for rule in declared:
        matches = _matches(rule, attempt, facts)
        if matches is not False:
            decisions.append(_judged(rule, maps, attempt, facts))
        if matches:
            return Answer(decisions)
    return Answer([*decisions, Decision(None, REFUSED, "no rule matches")])


def _matches(rule: Rule, attempt: Attempt, facts: Facts) -> bool | None:
    if not rule.is_sound:
        return None
    place = _matches_place(rule, attempt, facts)
    if place is False:
        return False
    database = usermap.any_of(_matches_database(token, attempt, facts) for token in rule.databases)
    if database is False:
        return False
    role = usermap.any_of(usermap.matches_role(token, attempt.role, facts) for token in rule.users)
    return usermap.all_of((place, database, role))


def _matches_place(rule: Rule, attempt: Attempt, facts: Facts) -> bool | None:
    """Return whether socket, encryption and address fit; nothing here is encrypted by GSSAPI."""
    if rule.kind == "local" or attempt.is_local:
        return rule.kind == "local" and attempt.is_local
    if rule.kind == "hostgssenc":
        return False
    wanted = {"hostssl": True, "hostnossl": False}.get(rule.kind)
    encryption = True if wanted is None else None if attempt.tls is None else attempt.tls is wanted
    return usermap.all_of((encryption, _matches_address(rule, attempt.address, facts)))


def _matches_address(rule: Rule, address: str | None, facts: Facts) -> bool | None:
    if rule.address is None or rule.address == ALL:
        return True
    if address is None:
        return None
    if is_word(rule.address):
        return None if "/" in address else _is_of_host(address, rule.address.text, facts)
    if rule.host is not None:
        return _has_name(address, rule.host, facts)
    return _is_within(address, rule.network)


def _is_of_host(address: str, keyword: str, facts: Facts) -> bool | None:
    if facts.networks is None:
        return None
    if keyword == "samehost":
        return without_zone(address) in {without_zone(one.partition("/")[0]) for one in facts.networks}
    return any(_is_within(address, own) for own in map(network, facts.networks))


def _is_within(address: str, wanted: Network | None) -> bool | None:
    if "/" in address:
        whole = network(address)
        return whole is not None and wanted is not None and wanted.has_all(whole)
    packed = without_zone(address)
    return packed is not None and wanted is not None and wanted.holds(packed)


def _has_name(address: str, wanted: str, facts: Facts) -> bool | None:
    """Return whether the host at an address is called ``wanted`` or, with a leading dot, lies below it."""
    if address not in facts.host_names:
        return None
    # As the server does, letters of ASCII alone are the same in lower and upper case
    name, wanted_name = (one.encode("utf-8", "surrogateescape").lower() for one in (facts.host_names[address], wanted))
    return bool(name) and (name.endswith(wanted_name) if wanted.startswith(".") else name == wanted_name)


def _matches_database(token: Token, attempt: Attempt, facts: Facts) -> bool | None:
    keyword = "" if token.quoted else token.text
    if attempt.is_replication:
        return keyword == "replication"
    if keyword in ("all", "replication"):
        return keyword == "all"
    if attempt.database is None:
        return None
    if keyword == "sameuser":
        return attempt.database == attempt.role
    if keyword in ("samerole", "samegroup"):
        return facts.is_member(attempt.role, attempt.database)
    return usermap.matches_name(token, attempt.database, facts)


def _judged(rule: Rule, maps: Sequence[Line], attempt: Attempt, facts: Facts) -> Decision:
    if not rule.is_sound:
        return Decision(rule, UNKNOWN, "this line cannot be evaluated")
    if rule.method == "reject":
        return Decision(rule, REFUSED, "method reject")
    if rule.clientcert:
        verdict, reason = _of_certificate(rule, maps, attempt, facts)
        if verdict != ACCEPTED or rule.method == "cert":
            return Decision(rule, verdict, reason)
    return Decision(rule, *_of_method(rule, maps, attempt, facts))


def _of_method(rule: Rule, maps: Sequence[Line], attempt: Attempt, facts: Facts) -> tuple[str, str]:
    if rule.method == "trust":
        return ACCEPTED, "method trust"
    if rule.method != "peer" and (rule.method, rule.kind) != ("ident", "local"):
        return ASKED, f"method {rule.method} decides"
    if attempt.os_user is None:
        return UNKNOWN, "the OS user decides"
    permitted = usermap.permits(maps, rule.options.get("map", ""), attempt.role, attempt.os_user, facts)
    return _mapped(rule, permitted, f"OS user {attempt.os_user!r}", attempt.role)


def _of_certificate(rule: Rule, maps: Sequence[Line], attempt: Attempt, facts: Facts) -> tuple[str, str]:
    shown = attempt.certificate
    if shown is False:
        return REFUSED, "it demands a certificate"
    if rule.clientcert == "verify-ca":
        return (UNKNOWN, "the certificate decides") if shown is None else (ACCEPTED, "any certificate")
    field, name = "CN", None
    if rule.options.get("clientname") == "DN":
        field = "DN"
    if isinstance(shown, Certificate):
        name = shown.distinguished_name if field == "DN" else shown.common_name
    if name is None:
        return UNKNOWN, "the certificate decides"
    if not name:
        return REFUSED, f"the certificate has no {field}"
    # PostgreSQL refuses map= on any other method than cert; without one the name must be the role
    permitted = usermap.permits(maps, rule.options.get("map", ""), attempt.role, name, facts)
    return _mapped(rule, permitted, f"{field} {name!r}", attempt.role)


def _mapped(rule: Rule, permitted: bool | None, called: str, role: str) -> tuple[str, str]:
    through = f" through map {rule.options['map']}" if rule.options.get("map") else ""
    if permitted is None:
        return UNKNOWN, f"it is unknown whether {called} may be role {role!r}{through}"
    if permitted:
        return ACCEPTED, f"{called} may be role {role!r}{through}"
    return REFUSED, f"{called} may not be role {role!r}{through}"
