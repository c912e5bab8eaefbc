# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of pg_hba.conf that are read as the server does, and what is refused in them."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, redaction, rule_checks, rule_text

CLOSED = "hostnossl all all all reject\nhostnossl replication all all reject\n"


@pytest.mark.parametrize(
    "text",
    [
        "hostssl all all all cert",
        "local all all peer\nhostssl all all all cert\n# host all all all trust\n",
        CLOSED + "host all all all trust\nhost replication all all trust\n",
        "hostnossl all,replication all all reject\ninclude other.conf\n",
        "host all app 10.0.0.0/8 reject\n" + CLOSED,
        "hostgssenc all all all gss\n",
        "",
    ],
)
def test_rules_without_a_way_in_for_plaintext_pass(text: str) -> None:
    rule_checks.refuse_plaintext(text, 15)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("host all app all md5\n" + CLOSED, 1),
        ("hostssl all all all cert\nhostnossl all app 127.0.0.1/32 trust\n" + CLOSED, 2),
        ("hostnogssenc all all all md5\n" + CLOSED, 1),
        ("hostnossl all all all reject\nhost replication all all md5\n", 2),
        ("hostnossl all all 10.0.0.0/8 reject\nhost all all all md5\n", 2),
        ("hostnossl all app all reject\nhost all all all md5\n", 2),
        ('hostnossl "all" all all reject\nhost all all all md5\n', 2),
        ('hostnossl all "all" all reject\nhost all all all md5\n', 2),
        ("include other.conf\n" + CLOSED, 1),
        ("host \\\nall all all md5\n" + CLOSED, 1),
        ('host "replication" all all md5\nhostnossl replication all all reject\n', 1),
        ("hostnossl replication all all reject\nhost all,replication all all md5\n", 2),
    ],
)
def test_a_way_in_for_plaintext_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(TlsError, match=rf"pg_hba\.conf line {line} \(.*lets connections without TLS in"):
        rule_checks.refuse_plaintext(text, 15)


def test_a_backslash_at_the_end_of_a_value_joins_no_lines() -> None:
    line = rule_text.rule_line({"user": "x", "method": "ldap", "ldapsuffix": "end\\"})
    assert line == 'hostssl all x all ldap ldapsuffix="end\\"'


def test_line_ends_with_a_carriage_return_join_lines_too() -> None:
    lines = lexer.read("host all \\\r\nall all md5\r\nlocal all all peer \\")
    assert [(line.number, len(line.fields)) for line in lines] == [(1, 5), (3, 4)]


@pytest.mark.parametrize(
    "rule",
    [
        {"user": "x", "method": "cert", "address": ["10.0.0.0/8", "192.0.2.0/24"]},
        {"user": "x", "method": "cert,md5"},
        {"user": "x", "method": "cert", "type": "host,hostssl"},
    ],
)
def test_a_list_where_the_server_takes_one_value_is_refused(rule: dict[str, object]) -> None:
    with pytest.raises(TlsError, match=r"expected one value, found the list|is unknown"):
        rule_text.rule_line(rule)


@pytest.mark.parametrize(
    "text",
    [
        'ldap ldapbindpasswd=ab"c sesame" ldapport=1',
        'ldap "ldapbindpasswd=a sesame" ldapport=1',
        'ldap ldapbindpasswd="a sesame',
        "ldap ldapbindpasswd=a\\\nsesame ldapport=1",
        'radius radiussecrets="""sesame"",""b"""',
    ],
)
def test_a_password_is_masked_however_it_is_quoted(text: str) -> None:
    masked = redaction.masked(f"host all all all {text}\nhost next line")
    assert "sesame" not in masked
    assert "********" in masked


@pytest.mark.parametrize("end", ["-----END EC PRIVATE KEY-----\nport = 5432\n", ""])
def test_a_private_key_is_masked_wherever_it_ends(end: str) -> None:
    masked = redaction.masked(f"ssl = on\n-----BEGIN EC PRIVATE KEY-----\nsesame\n{end}")
    assert masked == "ssl = on\n(a private key)" + end.partition("-----END EC PRIVATE KEY-----")[2]


def test_a_part_of_a_password_is_not_told_in_an_error() -> None:
    with pytest.raises(TlsError, match="found a word without") as failure:
        rule_checks.refuse_faulty("host all all all ldap ldapserver=x ldapbindpasswd=a sesame", 15, "f", "")
    assert "sesame" not in failure.value.message


@pytest.mark.parametrize(
    "rule",
    [
        {"user": "x", "method": "cert\nhost all all all trust"},
        {"user": "x", "method": "cert", "type": "hostssl all all all cert\nhost"},
        {"user": "x", "method": "cert", "map=x\nhost all all all trust #": "y"},
        {"user": "x\rhost all all all trust", "method": "cert"},
    ],
)
def test_no_part_of_a_rule_makes_a_second_line(rule: dict[str, object]) -> None:
    with pytest.raises(TlsError, match="holds a line break"):
        rule_text.rule_line(rule)


def test_before_version_14_a_backslash_joins_no_lines() -> None:
    text = "# a note \\\nhost all all all trust\n" + CLOSED
    rule_checks.refuse_plaintext(text, 14)
    with pytest.raises(TlsError, match=r"line 2 \(host all all all trust\) lets connections without TLS in"):
        rule_checks.refuse_plaintext(text, 13)
