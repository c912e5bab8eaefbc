# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules of pg_hba.conf must name for clients to log in."""

from __future__ import annotations

import itertools
from typing import Any, Iterable, List, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_addresses
from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import BOTH, CERTIFICATE, PASSWORD, login_of

# What asks for a login, as a rule has it
DEMANDS: Mapping[str, Mapping[str, str]] = {
    CERTIFICATE: {"method": "cert"},
    PASSWORD: {"method": "scram-sha-256"},
    BOTH: {"method": "scram-sha-256", "clientcert": "verify-full"},
}
MAP = "pgops_pooler"  # of pg_ident.conf: the certificates of poolers, and the roles that they may be

Places = Mapping[str, List[str]]


class Who(NamedTuple):
    """A role, and what it logs in by. ``pooler``: the common name of the certificate of the pooler that does."""

    role: str
    pooler: str
    login: str

    @property
    def demands(self) -> Mapping[str, str]:
        """Return what a rule asks for."""
        return {**DEMANDS[self.login], "map": MAP} if self.pooler else DEMANDS[self.login]


def places(identities: Iterable[Any]) -> dict[Who, Places]:
    """Return for each role and login the databases of all identities that have them, and where they connect from.

    An identity without databases has ``all``, one without an address connects from ``all``. What others have in them is
    left out. Raises TlsError for an identity without a role.
    """
    found: dict[Who, dict[str, list[str]]] = {}
    for identity in identities:
        if not isinstance(identity, Mapping) or not identity.get("role"):
            raise TlsError(
                f"{option('clients')}: expected dictionaries with role and os_user, found {shown(identity)}.",
                code="identity_not_dictionary",
            )
        named = identity.get("databases") or ["all"]
        if not isinstance(named, (list, tuple)):
            raise TlsError(
                f"{option('clients')}: databases is {shown(named)}, expected a list of names, such as [shop].",
                code="databases_invalid",
            )
        pooler = str(identity.get("pooler") or "")
        login = CERTIFICATE if pooler else login_of(identity, option("clients"))
        own = found.setdefault(Who(str(identity["role"]), pooler, login), {})
        for name in map(str, named):
            own.setdefault(name, []).extend(client_addresses.places(identity, option("clients")))
    return {who: _needed(own) for who, own in sorted(found.items())}


def _needed(own: Places) -> dict[str, list[str]]:
    """Return databases with their places, without those that ``all`` has in it; replication never is."""
    of_all = client_addresses.needed(own.get("all", ()))
    found = {
        name: client_addresses.needed(networks, () if name in _APART else of_all)
        for name, networks in sorted(own.items())
    }
    return {name: networks for name, networks in found.items() if networks}


_APART = ("all", "replication")


def rules(identities: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the rules for each role and login of the identities, as filter hba_rule takes them. Raises TlsError.

    Where a role has addresses, a rule behind them rejects it from all others: rules that follow must not let it in. The
    rules of poolers come first: a rule for every address would compare the role with the name of the pooler.
    """
    found: list[dict[str, Any]] = []
    for role, group in itertools.groupby(places(identities).items(), key=lambda one: one[0].role):
        own = sorted(group, key=lambda one: not one[0].pooler)
        found += [
            {"database": names, "user": literally(role), **_from(place), **who.demands}
            for who, named in own
            for place, names in _by_place(named)
        ]
        open_ones = {name for _who, named in own for name, networks in named.items() if _is_open(networks)}
        closed = {name for _who, named in own for name in named} - open_ones
        found += [{"database": _listed(closed), "user": literally(role), "method": "reject"}] if closed else []
    return found


def _by_place(named: Places) -> list[tuple[str, list[str]]]:
    """Return each place with its databases, first what is from everywhere."""
    found: dict[str, list[str]] = {}
    for name, networks in named.items():
        for place in networks:
            found.setdefault(place, []).append(name)
    return [(place, found[place]) for place in client_addresses.in_order(found)]


def _from(place: str) -> dict[str, str]:
    return {} if place == client_addresses.EVERYWHERE else {"address": place}


def maps(identities: Iterable[Any]) -> list[dict[str, str]]:
    """Return the lines of pg_ident.conf that let poolers log in as the roles of those who go through them.

    Who connects directly from the address of a pooler, with a certificate for the role, meets the same rule.
    """
    own = list(places(identities))
    pooled = {who.role for who in own if who.pooler}
    pairs = {(who.pooler or who.role, who.role) for who in own if who.role in pooled and who.login == CERTIFICATE}
    return [
        {"map": MAP, "system_user": system_user, "database_user": literally(role)}
        for system_user, role in sorted(pairs)
    ]


def _is_open(networks: Iterable[str]) -> bool:
    return client_addresses.EVERYWHERE in networks


def refuse_patterns(identities: Iterable[Any]) -> None:
    """Raise TlsError for a role or database that rules cannot name: from 16 on a slash begins a regular expression.

    Quotes do not help: a server looks at what is in them.
    """
    for one in (one for one in identities if isinstance(one, Mapping)):
        whose = f" of {shown(one['os_user'])}" if one.get("os_user") else ""
        named = one.get("databases") or ()
        found = [("role", one.get("role")), ("role of the pooler", one.get("pooler"))]
        for what, name in [*found, *(("database", name) for name in named if isinstance(named, (list, tuple)))]:
            if str(name).startswith("/"):
                raise TlsError(
                    f"{option('clients')}: {what} {shown(name)}{whose} begins with a slash. In a rule PostgreSQL takes "
                    "it for a regular expression, from version 16 on, so the rule could let others in.",
                    remedy=f"Rename the {what}. Or write rules of your own in {option('hba')}.",
                    code="name_is_pattern",
                )


def refuse_two_logins(identities: Iterable[Any]) -> None:
    """Raise TlsError for a role with two logins for one database: the first rule would decide on both."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for who, named in places(identities).items():
        if not who.pooler:  # those rules are for its address alone
            found.setdefault(who.role, []).append((who.login, list(named)))
    pairs = ((role, *pair) for role, own in found.items() for pair in itertools.combinations(own, 2))
    for role, (login, names), (other, others) in pairs:
        if _may_meet(set(names), set(others)):
            raise TlsError(
                f"{option('clients')}: role {shown(role)} has login {login} for {_in_words(names)} and login {other} "
                f"for {_in_words(others)}. PostgreSQL uses the first rule that matches, so one of them would fail.",
                remedy=f"Give the role one login, or different databases. Or write rules with addresses in "
                f"{option('hba')}.",
                code="two_logins",
            )


def _may_meet(names: set[str], others: set[str]) -> bool:
    """Return whether two lists of databases may have one in common; words and patterns may stand for any."""
    common, plain, other_plain = names & others, names - {"replication"}, others - {"replication"}
    has_pattern = any(one in _WORDS or one.startswith(("+", "@")) for one in plain | other_plain)
    return bool(common) or (has_pattern and bool(plain) and bool(other_plain))


_WORDS = ("all", "sameuser", "samerole", "samegroup")


def _in_words(names: Iterable[str]) -> str:
    return f"database {', '.join(names)}"


def _listed(names: set[str]) -> list[str]:
    """Return databases for a rule; ``all`` stands for every one, but not for replication."""
    return sorted(names.intersection(_APART) if "all" in names else names)


def literally(role: str) -> str:
    """Return a role for a rule, in quotes where it would be read as a word, a group, a file or as quoted already."""
    is_special = role == "all" or role[0] in "+@" or '"' in role
    return '"' + role.replace('"', '""') + '"' if is_special else role
