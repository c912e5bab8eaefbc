# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to who can connect, from the files of a server or from texts: what module hba_info returns."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    access,
    includes,
    lexer,
    psql,
    redaction,
    rule_advice,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import Rule, read_all, without_zone
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import GROUPS, Facts
from ansible_collections.pgops.tls.plugins.module_utils.server import interference

_HOSTS_SINCE = 19  # pg_hosts.conf, which may name authorities in the place of ssl_ca_file
_STATE = """
    SELECT json_build_object(
      'major', current_setting('server_version_num')::int / 10000,
      'data_directory', current_setting('data_directory'),
      'hba_file', current_setting('hba_file'),
      'ident_file', current_setting('ident_file'),
      'ca', current_setting('ssl_ca_file'),
      'logins', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolcanlogin),
      'groups', (GROUPS))""".replace("GROUPS", GROUPS)


class Rules(NamedTuple):
    """What decides: rules, lines of maps, what the server knows besides, and the roles that may log in (none: unknown).

    ``resolves``: names of clients' addresses are looked up here. ``advice`` is about the rules.
    """

    rules: Sequence[Rule]
    maps: Sequence[lexer.Line]
    facts: Facts
    logins: Sequence[str] = ()
    resolves: bool = False
    advice: Sequence[rule_advice.Advice] = ()

    def advised(self) -> list[dict[str, Any]]:
        """Return the advice about the rules, for a result."""
        return [one._asdict() for one in self.advice]

    def answers(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the answer to a question; one that names no user has one for each role that may get in."""
        if question["user"]:
            return [self._answer(question, question["user"])]
        if not self.logins:
            raise TlsError(
                "questions: a question without user needs a server that knows its roles.",
                remedy="Name the user.",
                code="question_without_user",
            )
        found = [self._answer(question, user) for user in self.logins]
        return [one for one in found if one["verdict"] != access.REFUSED]

    def _answer(self, question: Mapping[str, Any], user: str) -> dict[str, Any]:
        attempt = _attempt(question, user)
        facts = self.facts
        if self.resolves and attempt.address is not None and any(rule.host is not None for rule in self.rules):
            facts = facts._replace(host_names={attempt.address: _name_of(attempt.address)})
        found = access.answer(self.rules, self.maps, attempt, facts)
        decisions = [_shown(one) for one in found.decisions]
        decided = found.decision is not None
        return {
            "user": user,
            "verdict": found.verdict,
            "certain": decided,
            "rule": decisions[0]["rule"] if decided else None,
            "reason": decisions[0]["reason"] if decided else "which rule decides depends on unknown facts",
            "may_decide": [] if decided else decisions,
        }


def of_server(port: int, socket_directory: str | None, role: str | None) -> Rules:
    """Return the rules in the files of a running server, as it would load them now. Raises TlsError, OSError."""
    administrator = psql.locate(port, socket_directory, role)
    state: dict[str, Any] = administrator.query(_STATE)
    paths = {name: os.path.realpath(state[name]) for name in ("hba_file", "ident_file")}
    major = int(state["major"])
    with acting_as(administrator.account):
        interference.refuse_foreign_paths(state["data_directory"], administrator)
        if not os.path.exists(paths["hba_file"]):
            raise TlsError(
                f"{state['hba_file']}: the server runs with this file, but it no longer exists.",
                code="config_file_missing",
            )
        texts = {name: files.text(path) or "" for name, path in paths.items()}
        rules = access.rules_in(texts["hba_file"], paths["hba_file"], major)
        maps = list(includes.followed(texts["ident_file"], includes.Source(paths["ident_file"], major)))
    has_ca = bool(state["ca"]) if major < _HOSTS_SINCE else None
    advice = rule_advice.advice(rules, maps, major, has_ca=has_ca)
    facts = Facts(major, groups=state["groups"])
    return Rules(rules, [line for _file, line in maps], facts, state["logins"], resolves=True, advice=advice)


def of_texts(hba: str, ident: str, major: int) -> Rules:
    """Return the rules of texts; files that they include are not read."""
    rules, maps = list(read_all(lexer.read(hba, major))), lexer.read(ident, major)
    advice = rule_advice.advice(rules, [("pg_ident.conf", line) for line in maps], major)
    return Rules(rules, maps, Facts(major), advice=advice)


def _attempt(question: Mapping[str, Any], user: str) -> access.Attempt:
    named = (question["common_name"], question["distinguished_name"])
    address = question["address"]
    if address is not None and without_zone(address) is None:
        raise TlsError(
            f"questions: address {address!r} is not an IP address.",
            remedy="Write the address that the client connects from.",
            code="address_invalid",
        )
    if question["local"] and (address is not None or question["tls"] or any(named)):
        raise TlsError(
            "questions: a connection over the socket (local) has no address, TLS or certificate.",
            code="question_contradictory",
        )
    return access.Attempt(
        user,
        question["database"],
        is_local=question["local"],
        address=address,
        tls=True if any(named) else question["tls"],
        certificate=access.Certificate(*named) if any(named) else False,
        os_user=question["os_user"],
        is_replication=question["replication"],
    )


def _shown(decision: access.Decision) -> dict[str, Any]:
    rule = decision.rule
    line = rule and {
        "file": rule.file,
        "line": rule.line.number,
        "text": redaction.printable(rule.line.text).strip(),
        "method": rule.method,
    }
    return {"rule": line, "verdict": decision.verdict, "reason": decision.reason}


def _name_of(address: str) -> str:
    """Return the name of an address that resolves back to it, as the server looks it up; '' for none."""
    with contextlib.suppress(OSError):
        name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        if without_zone(address) in {without_zone(str(found[4][0])) for found in socket.getaddrinfo(name, None)}:
            return name
    return ""
