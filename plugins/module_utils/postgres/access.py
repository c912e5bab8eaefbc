# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can get in: which line of pg_hba.conf decides on a connection, and what it makes of it.

It follows check_hba, check_db, check_role and CheckCertAuth of PostgreSQL's hba.c and auth.c, versions 12 to 19. What
is not known of a connection, or of the server, makes an answer less certain, and never a wrong one.
"""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import includes, usermap
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import TYPES, Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

# What becomes of a connection: it is let in, it is not, a proof that is no certificate decides, it cannot be told.
ACCEPTED, REFUSED, ASKED, UNKNOWN = "accepted", "refused", "asked", "unknown"


class Certificate(NamedTuple):
    """What a server sees of a client's certificate that it trusts; None: this part is not known."""

    common_name: str | None = None
    distinguished_name: str | None = None


class Attempt(NamedTuple):
    """A connection. None for ``database``, ``address``, ``tls`` or ``certificate``: it may be any, or none.

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


class Rule(NamedTuple):
    """A line of a file taken apart; ``kind`` is '' for one that this module can make nothing of."""

    file: str
    line: Line
    kind: str
    databases: Sequence[Token] = ()
    users: Sequence[Token] = ()
    address: Token | None = None
    mask: str = ""
    method: str = ""
    options: Mapping[str, str] = {}


class Network(NamedTuple):
    """Addresses of ``size`` bits that are as ``start`` where ``mask`` has its bits."""

    size: int
    start: int
    mask: int


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


def rules(lines: Iterable[Line], file: str = "pg_hba.conf") -> list[Rule]:
    """Return the rules of a file's lines."""
    return [_rule(file, line) for line in lines]


def rules_in(text: str, path: str, major: int) -> list[Rule]:
    """Return the rules of the text of pg_hba.conf at ``path``, and of the files that it includes."""
    lines = includes.followed(text, includes.Place(path, major))
    return [_rule(file, line) for file, line in lines]


def maps_in(text: str, path: str, major: int) -> list[Line]:
    """Return the lines of the text of pg_ident.conf at ``path``, and of the files that it includes."""
    return [line for _file, line in includes.followed(text, includes.Place(path, major))]


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


def _rule(file: str, line: Line) -> Rule:
    fields = line.fields
    kind = fields[0][0].text if fields else ""
    has_address = kind != "local"
    if line.error or kind not in TYPES or len(fields) < (5 if has_address else 4):
        return Rule(file, line, "")
    address, mask, at = None, "", 3
    if has_address:
        address, at = fields[3][0], 4
        if packed_address(address.text) is not None:
            mask, at = fields[4][0].text, 5
    words = (",".join(token.text for token in field).partition("=") for field in fields[at + 1 :])
    options = {name: value for name, _equals, value in words}
    return Rule(
        file, line, kind, fields[1], fields[2], address, mask, fields[at][0].text if at < len(fields) else "", options
    )


def _matches(rule: Rule, attempt: Attempt, facts: Facts) -> bool | None:
    if not rule.kind:
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
    token = rule.address
    if token is None or (token.text == "all" and not token.quoted):
        return True
    if address is None:
        return None
    if not token.quoted and token.text in ("samehost", "samenet"):
        return _is_of_host(address, token.text, facts)
    network = network_of(rule)
    return _has_name(address, token.text.lower(), facts) if network is None else _is_within(address, network)


def _is_of_host(address: str, keyword: str, facts: Facts) -> bool | None:
    if facts.networks is None:
        return None
    own = (network.partition("/")[0] if keyword == "samehost" else network for network in facts.networks)
    return any(_is_within(address, parsed) for parsed in map(_network, own) if parsed)


def _has_name(address: str, wanted: str, facts: Facts) -> bool | None:
    """Return whether the host at an address is called ``wanted`` or, with a leading dot, lies below it."""
    if address not in facts.host_names:
        return None
    name = facts.host_names[address].lower()
    return bool(name) and (name.endswith(wanted) if wanted.startswith(".") else name == wanted)


def network_of(rule: Rule) -> Network | None:
    """Return the network that a rule is for, None when its address is a word, a name or not there."""
    if rule.address is None:
        return None
    return _network(f"{rule.address.text}/{rule.mask}" if rule.mask else rule.address.text)


def _network(text: str) -> Network | None:
    """Return what ADDRESS, ADDRESS/BITS or ADDRESS/MASK stands for."""
    start, _slash, mask = text.partition("/")
    packed, packed_mask = packed_address(start), packed_address(mask)
    if packed is None:
        return None
    size = len(packed) * 8
    if packed_mask is not None:
        return Network(size, _number(packed), _number(packed_mask))
    length = int(mask or size) if mask.isdecimal() or not mask else -1
    if not 0 <= length <= size:
        return None  # the server takes no such rule, or it is written in a way that is not worth to be known
    return Network(size, _number(packed), ((1 << size) - 1) ^ ((1 << (size - length)) - 1))


def _is_within(address: str, network: Network) -> bool:
    """Return whether an address is in a network; IPv4 and IPv6 never meet."""
    packed = packed_address(address)
    if packed is None or len(packed) * 8 != network.size:
        return False
    return (_number(packed) ^ network.start) & network.mask == 0


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "big")


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
    if not rule.kind:
        return Decision(rule, UNKNOWN, "this line cannot be evaluated")
    if rule.method == "reject":
        return Decision(rule, REFUSED, "method reject")
    if clientcert(rule):
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


def clientcert(rule: Rule) -> str:
    """Return what a rule demands of the client's certificate: verify-full, verify-ca, or '' for nothing."""
    if rule.method == "cert":
        return "verify-full"
    value = rule.options.get("clientcert", "")
    return {"1": "verify-ca", "0": "", "no-verify": ""}.get(value, value)  # the spellings of versions up to 13


def _of_certificate(rule: Rule, maps: Sequence[Line], attempt: Attempt, facts: Facts) -> tuple[str, str]:
    shown = attempt.certificate
    if shown is False:
        return REFUSED, "it demands a certificate"
    if clientcert(rule) == "verify-ca":
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
    # PostgreSQL refuses map= on any other method than cert; without one the name has to be the role
    permitted = usermap.permits(maps, rule.options.get("map", ""), attempt.role, name, facts)
    return _mapped(rule, permitted, f"{field} {name!r}", attempt.role)


def _mapped(rule: Rule, permitted: bool | None, called: str, role: str) -> tuple[str, str]:
    through = f" through map {rule.options['map']}" if rule.options.get("map") else ""
    if permitted is None:
        return UNKNOWN, f"it cannot be told whether {called} may be role {role!r}{through}"
    if permitted:
        return ACCEPTED, f"{called} may be role {role!r}{through}"
    return REFUSED, f"{called} may not be role {role!r}{through}"
