# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lockouts by new rules: of this module itself, of live sessions, and of clients that no rule lets in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    access,
    client_addresses,
    client_rules,
    lexer,
    logins,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import ALL, Rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import GROUPS, Facts

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import redaction
else:
    redaction = lazy_import("postgres.redaction")

# Who is connected and may connect again, and which groups the roles are in. Without an address a client came by the
# socket; without a database it replicates. What GSSAPI encrypts is left out: nothing here knows its rules.
_FACTS = """
    SELECT json_build_object(
      'groups', (GROUPS),
      'sessions', (
        SELECT coalesce(json_agg(json_build_object('role', usename, 'database', datname, 'tls', ssl,
                 'address', host(client_addr), 'application', application_name,
                 'certificate', client_serial IS NOT NULL OR client_dn IS NOT NULL,
                 'since', to_char(backend_start, 'YYYY-MM-DD HH24:MI')) ORDER BY usename, client_addr, pid), '[]')
          FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) JOIN pg_stat_gssapi USING (pid)
          JOIN pg_roles ON rolname = usename
         WHERE rolcanlogin AND NOT encrypted AND pid <> pg_backend_pid()
           AND backend_type IN ('client backend', 'walsender')))""".replace("GROUPS", GROUPS)


class Files(NamedTuple):
    """The rules of pg_hba.conf and the lines of pg_ident.conf."""

    rules: Sequence[Rule]
    maps: Sequence[lexer.Line]

    def answer(self, attempt: access.Attempt, facts: Facts) -> access.Answer:
        """Return whether the files accept a connection."""
        return access.answer(self.rules, self.maps, attempt, facts)


class _Client(NamedTuple):
    """A role that must get in by its login, a database, where it connects from, and what the files answer to it."""

    who: client_rules.Who
    database: str
    place: str
    answer: access.Answer

    @property
    def restriction(self) -> dict[str, str]:
        """Return the address of its rule, if that is not for every address."""
        return {} if self.place == client_addresses.EVERYWHERE else {"address": self.place}

    @property
    def in_words(self) -> str:
        """Return what it connects to, for messages."""
        place = f" from {self.place}" if self.restriction else ""
        place += f" by the certificate {self.who.pooler} of a pooler" if self.who.pooler else ""
        return f"{self.who.role} in database {self.database}{place}"


def files(rules: str, maps: str, paths: Mapping[str, str], major: int) -> Files:
    """Return the files of these texts, and what they include, as a server of version ``major`` reads them."""
    return Files(
        access.rules_in(rules, paths["pg_hba.conf"], major), access.maps_in(maps, paths["pg_ident.conf"], major)
    )


def refuse_new_rules(before: Files, after: Files, administrator: Administrator, major: int, *, sessions: bool) -> None:
    """Refuse files that lock out this module or, with ``sessions``, clients that are connected. Raises TlsError."""
    found: dict[str, Any] = administrator.query(_FACTS)
    facts = Facts(major, groups=found["groups"])
    _refuse_own(after, administrator, facts)
    if sessions:
        _refuse_to_shut_out(found["sessions"], before, after, facts)


def refuse_to_forget(
    clients: Iterable[Any], after: Files, major: int, *, is_whole: bool = True, knows_subjects: bool = True
) -> None:
    """Refuse files without a rule that may let each of the ``clients`` in by its login. Raises TlsError.

    ``is_whole``: no other rules follow. The server is not asked for groups: a role may be created, or join a group,
    after it has its certificate. ``knows_subjects``: certificates say nothing but the common name, as ours do.
    """
    forgotten = [
        one
        for one in _answers(clients, after, major, knows_subjects=knows_subjects)
        if not any(map(_TAKES[one.who.login], one.answer.decisions))
        and (is_whole or one.answer.decisions[-1].rule is not None)
    ]
    if not forgotten:
        return
    missing = "; ".join(map(_missing_rule, forgotten))
    raise TlsError(
        f"{' '.join(_lacking(forgotten))} Nothing was changed.",
        remedy=f"Declare in {option('hba')}, before the rule that decides now: {missing}. If this server must not let "
        f"them in, set its {option('on_lockout')} to allow.",
        code="client_lockout",
        forgotten_clients=[{"role": one.who.role, "database": one.database, **one.restriction} for one in forgotten],
    )


def _lacking(forgotten: Sequence[_Client]) -> Iterable[str]:
    """Say for each login which roles no rule lets in by it."""
    for login, does in _DOES.items():
        own = [one for one in forgotten if one.who.login == login]
        listed = "; ".join(f"{one.in_words}: {_decided(one.answer)}" for one in own)
        if own:
            yield f"No rule of pg_hba.conf {does.format(option('clients'))}: {listed}."


# What a rule does for the roles of an option, by their login
_DOES = {
    logins.CERTIFICATE: "accepts the certificates of these roles of {}",
    logins.PASSWORD: "asks these roles of {} (login: password) for a password",
    logins.BOTH: "asks these roles of {} (login: both) for a certificate and a password",
}


def _missing_rule(client: _Client) -> str:
    user = _in_yaml(client_rules.literally(client.who.role))
    keys = {**client.restriction, **client.who.demands}
    demand = ", ".join(f"{key}: {_in_yaml(value)}" for key, value in keys.items())
    mapped = f"{{map: {client_rules.MAP}, system_user: {_in_yaml(client.who.pooler)}, database_user: {user}}}"
    more = f" and in {option('ident')}: {mapped}" if client.who.pooler else ""
    return f"{{database: {client.database}, user: {user}, {demand}}}{more}"


def asked_for_a_password(clients: Iterable[Mapping[str, Any]], after: Files, major: int) -> list[str]:
    """Return a warning about the ``clients`` that need a password besides their certificate, if they do not say so."""
    asking = [
        (one.who.role, decision)
        for one in _answers(clients, after, major)
        for decision in one.answer.decisions
        if one.who.login == logins.CERTIFICATE and _asks(decision)
    ]
    if not asking:
        return []
    roles = ", ".join(dict.fromkeys(role for role, _decision in asking))
    where = _decided(access.Answer([asking[0][1]]))
    warning = f"These roles of {option('clients')} need a password besides their certificate: {roles} ({where})."
    verified = "Without it, a connection is verified up to the password prompt."
    return [f"{warning} {verified} To verify the whole login, put the password into .pgpass of each OS user first."]


def _answers(clients: Iterable[Any], after: Files, major: int, *, knows_subjects: bool = True) -> list[_Client]:
    """Return the answers to connections with what their login shows, for each role of ``clients``.

    There is one for each database and each place that it connects from.
    """
    facts = Facts(major)
    return [
        _Client(who, name, place, after.answer(_of_client(who, name, place, knows_subjects=knows_subjects), facts))
        for who, names in client_rules.places(clients).items()
        for name, places in names.items()
        for place in places
    ]


def _asks(decision: access.Decision) -> bool:
    return decision.verdict == access.ASKED and decision.rule is not None and bool(decision.rule.clientcert)


def _refuse_own(after: Files, administrator: Administrator, facts: Facts) -> None:
    """Refuse files with which this module could no longer log in, or only with a password that it does not have."""
    role, account = administrator.role, administrator.account
    answer = after.answer(access.Attempt(role, "postgres", is_local=True, os_user=account.name), facts)
    has_password = answer.verdict == access.ASKED and os.path.exists(os.path.join(account.home, ".pgpass"))
    if answer.verdict in (access.ACCEPTED, access.UNKNOWN) or has_password:  # then the proof after the reload decides
        return
    raise TlsError(
        f"The new rules would lock out this module's own connection, of OS user {account.name!r} as role {role!r} over "
        f"the socket: {_decided(answer)}. Nothing was changed.",
        remedy=f"Add a rule for it before that one: local all {role} peer, with a map if the OS user has another name.",
        code="management_lockout",
    )


def _refuse_to_shut_out(sessions: Iterable[dict[str, Any]], before: Files, after: Files, facts: Facts) -> None:
    """Refuse files with which clients that are connected now could not reconnect.

    A session without a certificate counts as a client that has none.
    """
    answers = [(session, after.answer(_attempt(session), facts)) for session in sessions]
    shut_out = [
        (session, answer)
        for session, answer in answers
        if answer.verdict == access.REFUSED and before.answer(_attempt(session), facts).verdict != access.REFUSED
    ]
    if shut_out:
        listed = "; ".join(f"{_named(session)}: {_decided(answer)}" for session, answer in shut_out)
        rules = [one.rule for _session, answer in shut_out for one in answer.decisions if one.rule]
        first = _certificates_first() if any(rule.clientcert for rule in rules) else ""
        first += _addresses_first() if any(rule.method == "reject" and ALL not in rule.users for rule in rules) else ""
        raise TlsError(
            f"The new rules would not let {len(shut_out)} live session(s) in again: {listed}. Nothing was changed.",
            remedy=f"{first}Declare a rule for them in {option('hba')}. If they must be shut out, run ALTER ROLE ... "
            f"NOLOGIN first, or set {option('on_lockout')} to allow.",
            code="session_lockout",
            shut_out_sessions=[session for session, _answer in shut_out],
        )


def _certificates_first() -> str:
    return (
        f"If sessions lack a certificate, run with an empty {option('hba')} first, give these clients their "
        "certificates, and reconnect them. "
    )


def _addresses_first() -> str:
    return f"If the identity of a role in {option('clients')} has an address, add those of its sessions to it. "


def _attempt(session: Mapping[str, Any]) -> access.Attempt:
    is_local = session["address"] is None
    return access.Attempt(
        session["role"],
        session["database"],
        is_local=is_local,
        address=session["address"],
        tls=session["tls"],
        certificate=None if session["certificate"] else False,
        is_replication=session["database"] is None,
    )


def _of_client(who: client_rules.Who, database: str, place: str, *, knows_subjects: bool) -> access.Attempt:
    """Return a connection of a client, with its certificate if it has one, from each address of a place."""
    is_network, name = "/" in place, who.pooler or who.role
    database = who.role if database == "sameuser" else database
    is_word = database in ("all", "samerole", "samegroup", "replication") or database.startswith(("/", "+", "@"))
    return access.Attempt(
        who.role,
        None if is_word else database,
        address=place if is_network else None,
        tls=True,
        certificate=who.login != logins.PASSWORD and access.Certificate(name, f"CN={name}" if knows_subjects else None),
        is_replication=database == "replication",
    )


def _takes(decision: access.Decision) -> bool:
    """Return whether a rule may accept a client by its certificate, alone or with a password."""
    return _asks(decision) or decision.verdict in (access.ACCEPTED, access.UNKNOWN)


def _takes_password(decision: access.Decision) -> bool:
    """Return whether a rule may ask a client for a password, alone or besides a certificate that it shows."""
    method = decision.rule.method if decision.rule is not None else ""
    is_asked = decision.verdict == access.ASKED and method in logins.PASSWORD_METHODS
    return is_asked or decision.verdict == access.UNKNOWN


def _takes_both(decision: access.Decision) -> bool:
    """Return whether a rule may ask a client for its certificate and a password."""
    return _takes_password(decision) and (decision.verdict == access.UNKNOWN or _asks(decision))


_TAKES = {logins.CERTIFICATE: _takes, logins.PASSWORD: _takes_password, logins.BOTH: _takes_both}


def _decided(answer: access.Answer) -> str:
    """Return what decides if nothing before it does, for messages."""
    one = answer.decisions[-1]
    if one.rule is None:
        return one.reason
    place = f"{os.path.basename(one.rule.file)} line {one.rule.line.number}"
    return f"{place} ({redaction.masked(one.rule.line.text).strip()}) decides, {one.reason}"


def _in_yaml(word: str) -> str:
    """Return a word of a rule as YAML; one that has quotes of its own keeps them."""
    return "'" + word.replace("'", "''") + "'" if '"' in word or ":" in word else word


def _named(session: Mapping[str, Any]) -> str:
    """Return a session for messages; one without a database replicates."""
    place, database = session["address"] or "the socket", session["database"] or "replication"
    return f"{session['role']}@{database} from {place} ({session['application']}, since {session['since']})"
