# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing pg_hba.conf and pg_ident.conf: nothing is lost, nothing slips in, and no text is too odd."""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    hba_grammar,
    lexer,
    redaction,
    regex_syntax,
    rule_text,
)
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import given
from hypothesis import strategies as st

MAJORS = st.integers(min_value=13, max_value=19)
WORDS = st.sampled_from(
    [
        *("local", "host", "hostssl", "all", "md5", "cert", "ldap", "radius", "oauth", "10.0.0.0/8", "::1", "map=x"),
        *(" ", "\t", "\n", "\r\n", "\\\n", '"', '""', ",", "#", "@x", "=", "\\", "\0", "/^a$"),
        *("é", "\u00a0", "\udcff", "\ufeff"),
    ]
)
ANY_HBA_FILE = st.text() | st.lists(WORDS, max_size=20).map("".join)
# What makes trouble in names: of the grammar, of shells, of regular expressions, beyond ASCII
ANY_WORD = st.text(
    st.sampled_from("ab \t,\"#\\@+/='$;`|&*()[]{}<>é日\u00a0\u2028\x0b\x85") | st.characters(codec="utf-8"), min_size=1
)


@given(ANY_HBA_FILE, MAJORS)
def test_all_pieces_together_are_the_text(text: str, major: int) -> None:
    raws = [raw for _number, _content, raw in lexer.pieces(text, major)]
    assert "".join(raws) == text


@given(ANY_HBA_FILE, MAJORS)
def test_lines_are_numbered_in_their_order_and_hold_something(text: str, major: int) -> None:
    lines = lexer.read(text, major)
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert all(line.fields and all(line.fields) for line in lines)


@given(ANY_HBA_FILE, MAJORS, st.booleans())
def test_every_text_is_judged(text: str, major: int, ident: bool) -> None:
    found = hba_grammar.problems(text, major, ident=ident)
    lines = {line.number for line in lexer.read(text, major)}
    assert {one.line for one in found} <= lines
    assert all(one.reason and not one.file for one in found)


@given(st.lists(st.sampled_from("a-z[]()*+?{}|\\^$.,:=!<#012") | st.characters(codec="utf-8")).map("".join), MAJORS)
def test_every_regular_expression_is_judged(pattern: str, major: int) -> None:
    assert isinstance(regex_syntax.fault(pattern, major), str)
    assert regex_syntax.fault(re.sub(r"[^a-zA-Z0-9_]", "", pattern), major) == ""


@given(ANY_WORD, ANY_WORD)
def test_a_name_is_read_as_it_was_written(database: str, user: str) -> None:
    rule = {"database": database, "user": [user, "app"], "method": "md5"}
    line, message = attempt(rule_text.rule_line, rule)
    if message:
        assert any(set(name) & set("\0\r\n") or name[:1] == "/" for name in (database, user)), message
        return
    (found,) = lexer.read(line)
    texts = [[token.text for token in field] for field in found.fields]
    assert texts == [["hostssl"], [_meant(database)], [_meant(user), "app"], ["all"], ["md5"]]


@given(ANY_WORD, ANY_WORD, MAJORS)
def test_a_mapping_is_read_as_it_was_written(system_user: str, database_user: str, major: int) -> None:
    mapping = {"map": "people", "system_user": system_user, "database_user": database_user}
    line, message = attempt(rule_text.ident_line, mapping)
    if message:
        assert any(set(name) & set("\0\r\n") or name[:1] == "/" for name in (system_user, database_user)), message
        return
    (found,) = lexer.read(line + "\npeople x y\n", major)[:-1]
    assert [field[0].text for field in found.fields] == ["people", _meant(system_user), _meant(database_user)]


@given(ANY_WORD)
def test_a_password_is_hidden_and_the_server_gets_it(password: str) -> None:
    rule = {"type": "host", "user": "app", "method": "ldap", "ldapbasedn": "dc=x", "ldapbindpasswd": password}
    line, message = attempt(rule_text.rule_line, rule)
    if message:
        assert "line break" in message
        return
    assert lexer.read(line)[0].fields[-1][0].text == f"ldapbindpasswd={_meant(password)}"
    assert redaction.masked(line) == "host all app all ldap ldapbasedn=dc=x ldapbindpasswd=********"


def _meant(name: str) -> str:
    """Return a name without the quotes that somebody wrote around it on purpose."""
    return name[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', name) else name
