# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which role a name of the outside may become: pg_ident.conf, and how a name in a rule matches one of a connection.

It follows check_usermap, check_role and is_member of PostgreSQL's hba.c. True, False, or None for unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Collection, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line, Token

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import regex
else:
    regex = lazy_import("postgres.regex")

# Query that gives ``Facts.groups``
GROUPS = """
    WITH RECURSIVE memberships (member, role) AS (
      SELECT oid, oid FROM pg_roles
      UNION SELECT memberships.member, granted.roleid
        FROM memberships JOIN pg_auth_members granted ON granted.member = memberships.role)
    SELECT json_object_agg(rolname, groups) FROM (
      SELECT member.rolname, json_agg(role.rolname) AS groups FROM memberships
        JOIN pg_roles member ON member.oid = memberships.member
        JOIN pg_roles role ON role.oid = memberships.role GROUP BY 1) AS grouped"""
_REGEX_EVERYWHERE = 16  # from this version on; before only the system user of a map can be an expression


class Facts(NamedTuple):
    """What the server knows and its files do not show.

    ``groups``: for each role that exists the roles that it is a member of, itself included (None for a role: not
    known; None for all: nobody was asked). ``networks``: the host's own addresses as ADDRESS/BITS. ``host_names``: the
    name of a client's address that resolves back to it, '' for none.
    """

    major: int
    groups: Mapping[str, Collection[str] | None] | None = None
    networks: Sequence[str] | None = None
    host_names: Mapping[str, str] = {}

    def is_member(self, role: str, group: str) -> bool | None:
        """Return whether a role is a member of another one, or is it; a superuser is no member of everything here."""
        known = None if self.groups is None else self.groups.get(role, ())
        return None if known is None else group in known


def any_of(values: Iterable[bool | None]) -> bool | None:
    """Return whether any value is true, None when that depends on an unknown one."""
    found: bool | None = False
    for value in values:
        if value:
            return True
        found = None if value is None else found
    return found


def all_of(values: Iterable[bool | None]) -> bool | None:
    """Return whether all values are true, None when that depends on an unknown one."""
    found: bool | None = True
    for value in values:
        if value is False:
            return False
        found = None if value is None else found
    return found


def matches_role(token: Token, role: str, facts: Facts) -> bool | None:
    """Return whether a word for roles, of a rule or a map, matches a role."""
    if not token.quoted:
        if token.text.startswith("+"):
            return facts.is_member(role, token.text[1:])
        if token.text == "all":
            return True
    return matches_name(token, role, facts)


def matches_name(token: Token, name: str, facts: Facts) -> bool | None:
    """Return whether a word that is no keyword matches a name: quotes do not take the meaning from a leading slash."""
    if token.text.startswith("/") and facts.major >= _REGEX_EVERYWHERE:
        return regex.search(token.text[1:], name).matches
    if token.text.startswith("@") and not token.quoted:
        return None  # names in a file that nobody has read
    return token.text == name


def permits(maps: Sequence[Line], name: str, role: str, system_user: str, facts: Facts) -> bool | None:
    """Return whether ``system_user`` (an OS user, the CN or DN of a certificate) may be a role through a map.

    ``maps`` are the lines of pg_ident.conf. Without the name of a map both must be the same.
    """
    if not name:
        return role == system_user
    found: bool | None = False
    for line in maps:
        if line.error or len(line.fields) < 3:  # an include that nobody has followed, or could
            found = None
        elif line.fields[0][0].text == name:
            matches, is_final = _maps(line, role, system_user, facts)
            if matches or is_final:
                return matches
            found = None if matches is None else found
    return found


def _maps(line: Line, role: str, system_user: str, facts: Facts) -> tuple[bool | None, bool]:
    """Return whether a line lets the name be the role, and whether the server looks no further although it does not."""
    system, database = line.fields[1][0], line.fields[2][0]
    if not system.text.startswith("/"):
        return (system.text == system_user and _is_role(database, role, facts)), False
    found = regex.search(system.text[1:], system_user)
    if not found.matches:
        return found.matches, False
    if _has_meaning(database, facts) or "\\1" not in database.text:
        return _is_role(database, role, facts), False
    if found.group is None:
        return False, True  # the server takes \1 without a group for a mistake
    if not found.is_group_sure:
        return None, False
    return database.text.replace("\\1", found.group, 1) == role, False


def _has_meaning(token: Token, facts: Facts) -> bool:
    """Return whether a database user is a group or an expression; up to 15 it is a plain name."""
    is_group = token.text.startswith("+") and not token.quoted
    return facts.major >= _REGEX_EVERYWHERE and (is_group or token.text.startswith("/"))


def _is_role(token: Token, role: str, facts: Facts) -> bool | None:
    return matches_role(token, role, facts) if facts.major >= _REGEX_EVERYWHERE else token.text == role
