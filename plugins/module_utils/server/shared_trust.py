# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client CAs that also sign for others: which rules let in whoever has a certificate with the right common name.

ssl_ca_file trusts a CA for every role, and the common name of a certificate is whatever its CA lets somebody ask for.
So a rule is bound only if it compares the whole subject (``clientname=DN``, from PostgreSQL 14 on) through a map that
lists the subjects.
"""

from __future__ import annotations

from typing import Container, Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, redaction
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import Rule
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import GROUPS, Facts

ROLES = """
    SELECT json_build_object(
      'logins', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolcanlogin),
      'groups', (GROUPS))""".replace("GROUPS", GROUPS)
_NAMED = 5  # rules that a message names
_CLIENTNAME_SINCE = 14
# The subject of a certificate that the CA has issued for something else, with any common name
_STRANGER = "CN={role},OU=somebody else,O=pgops.tls"


class Unbound(NamedTuple):
    """A rule by which a stranger's certificate may log in, and the first role that it may be."""

    rule: Rule
    role: str

    @property
    def in_words(self) -> str:
        """Return it for messages."""
        line = self.rule.line
        return f"{self.rule.file} line {line.number} ({redaction.masked(line.text).strip()}) as {self.role}"


def unbound(rules: Sequence[Rule], maps: Sequence[Line], roles: Iterable[str], facts: Facts) -> list[Unbound]:
    """Return the rules by which a stranger's certificate may log in as one of the roles, to any database."""
    patterns = {line.fields[0][0].text for line in maps if len(line.fields) > 1 and _is_pattern(line)}
    found: dict[tuple[str, int], Unbound] = {}
    for role in roles:
        shown = access.Certificate(None, _STRANGER.format(role=role))
        for is_replication in (False, True):
            attempt = access.Attempt(role, None, tls=True, certificate=shown, is_replication=is_replication)
            for one in access.answer(rules, maps, attempt, facts).decisions:
                if one.rule is not None and _lets_in(one, patterns):
                    found.setdefault((one.rule.file, one.rule.line.number), Unbound(one.rule, role))
    return list(found.values())


def _lets_in(one: access.Decision, patterns: Container[str]) -> bool:
    """Return whether the certificate alone may decide, by its common name or by a pattern of subjects."""
    if one.rule is None or not one.rule.clientcert:
        return False
    return one.verdict in (access.ACCEPTED, access.UNKNOWN) or one.rule.options.get("map") in patterns


def _is_pattern(line: Line) -> bool:
    return line.fields[1][0].text.startswith("/")


def refuse_unbound(
    rules: Sequence[Rule], maps: Sequence[Line], roles: Iterable[str], facts: Facts, authorities: Sequence[str]
) -> None:
    """Raise TlsError for rules that trust whatever common name a shared CA (``authorities``, their names) certifies."""
    found = unbound(rules, maps, roles, facts)
    if not found:
        return
    listed = "; ".join(one.in_words for one in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more rules" if len(found) > _NAMED else ""
    raise TlsError(
        f"{', '.join(map(repr, authorities))} also sign for others, and these rules let in every certificate of theirs "
        f"with the right common name: {listed}{more}. Nothing was changed.",
        remedy=_remedy(facts.major),
        code="rules_not_bound",
    )


def _remedy(major: int) -> str:
    if major < _CLIENTNAME_SINCE:
        return f"PostgreSQL {major} cannot compare whole subjects. Use a client authority of its own for this server."
    return (
        f"In {option('hba')}, give each of these rules clientname: DN and a map. In {option('ident')}, list the "
        "subject of each certificate that may be a role, without a regular expression: {map: MAP, system_user: "
        "'CN=app,O=Example', database_user: app}. Or use a client authority of its own for this server."
    )
