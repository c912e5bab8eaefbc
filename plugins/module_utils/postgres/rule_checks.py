# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of rules and maps before they are written: what no server would load, and what is not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import ALL, Rule, read_all

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar, hba_options, redaction
else:
    hba_grammar = lazy_import("postgres.hba_grammar")
    hba_options = lazy_import("postgres.hba_options")
    redaction = lazy_import("postgres.redaction")


def refuse_faulty(text: str, major: int, source: str, path: str, *, ident: bool = False, configure: str = "") -> None:
    """Refuse a text of pg_hba.conf, or pg_ident.conf, that a server of version ``major`` would not load.

    ``source`` is where the text is from, ``path`` the file that it is for, ``configure`` the options that the server
    was built with. Raises TlsError.
    """
    lacks = hba_options.lacking(configure)
    for found in hba_grammar.problems(text, major, ident=ident, path=path, lacks=lacks):
        if found.line:  # 0: there is nothing in it, but there may be elsewhere
            raise TlsError(f"{found.file or source} line {found.line}: {found.reason}.", code="rules_faulty")


def refuse_unknown_maps(text: str, ident: str, major: int, source: str) -> None:
    """Refuse rules that name a map which ``ident``, the future text of pg_ident.conf, does not have."""
    mappings = lexer.read(ident, major)
    maps = {line.fields[0][0].text for line in mappings if line.fields}
    if any(lexer.is_directive(line, major) for line in mappings):  # to other files, which may have it
        return
    for rule in read_all(lexer.read(text, major)):
        name = rule.options.get("map")
        if name and name not in maps:
            raise TlsError(
                f"{source} line {rule.line.number}: map={name} names a map that pg_ident.conf does not have; the "
                "server would refuse everybody without saying why.",
                remedy=f"Add it to {option('ident')}.",
                code="hba_unknown_map",
            )


def refuse_plaintext(text: str, major: int) -> None:
    """Refuse a whole text of pg_hba.conf by which a connection over TCP without TLS could log in. Raises TlsError."""
    rule = plaintext_rule(text, major)
    if rule is not None:
        raise plaintext_error(rule, f"pg_hba.conf line {rule.line.number}")


def plaintext_error(rule: Rule, place: str) -> TlsError:
    """Return the error for a rule by which a connection without TLS could log in; ``place`` is where it stands."""
    return TlsError(
        f"{place} ({redaction.masked(rule.line.text).strip()}) lets connections without TLS in, but "
        f"{option('plaintext')} is reject.",
        remedy=f"Make it a rule of type hostssl, or set {option('plaintext')} to "
        "allow and write rules of type hostnossl and method reject of your own.",
        code="plaintext_rule",
    )


def plaintext_rule(text: str, major: int) -> Rule | None:
    """Return the first rule of a whole pg_hba.conf by which a connection over TCP without TLS could log in."""
    closed: set[str] = set()
    for rule in read_all(lexer.read(text, major)):
        never_plain = rule.kind in ("local", "hostssl", "hostgssenc")
        if never_plain or (rule.databases and all(_is_closed(one, closed) for one in rule.databases)):
            continue
        if rule.method != "reject":
            return rule
        if (rule.users, rule.address) == ([ALL], ALL):
            names = {token.text for token in rule.databases if not token.quoted}
            closed |= names & {"all", "replication"}
        if len(closed) == 2:
            break
    return None


def _is_closed(database: Token, closed: set[str]) -> bool:
    """Return whether every connection without TLS to a database is refused; ``all`` does not match replication."""
    is_replication = database == Token("replication", quoted=False)
    return ("replication" if is_replication else "all") in closed
