# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf and pg_ident.conf."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    hba_options,
    lexer,
    redaction,
    rule_checks,
    rule_text,
)


def words(text: str) -> list[list[list[str]]]:
    return [[[token.text for token in field] for field in line.fields] for line in lexer.read(text)]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"user": "app", "method": "cert"}, "hostssl all app all cert"),
        ({"type": "local", "user": "app", "method": "peer"}, "local all app peer"),
        (
            {
                "database": ["a", "b c"],
                "user": "+group",
                "address": "10.0.0.0/8",
                "method": "md5",
                "clientcert": "verify-ca",
            },
            'hostssl a,"b c" +group 10.0.0.0/8 md5 clientcert=verify-ca',
        ),
        ({"user": 'odd"name', "method": "reject"}, 'hostssl all "odd""name" all reject'),
        ({"user": '"all"', "method": "reject"}, 'hostssl all "all" all reject'),
        (
            {"type": "host", "user": "x", "method": "radius", "radiusservers": "a,b", "radiussecrets": "s"},
            'host all x all radius radiusservers="a,b" radiussecrets=s',
        ),
        (
            {"type": "host", "user": "x", "address": "10.0.0.1 255.255.255.255", "method": "md5"},
            'host all x "10.0.0.1 255.255.255.255" md5',
        ),
    ],
)
def test_a_rule_becomes_a_line_with_quotes_where_they_are_needed(rule: dict[str, Any], line: str) -> None:
    assert rule_text.rule_line(rule) == line


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("hostssl all all all cert", "expected a dictionary with user and method, found str"),
        ({"user": "app"}, "rules[3]: the rule has no method. Found user; add method."),
        ({"method": "cert"}, "rules[3]: the rule has no user"),
        ({"user": [], "method": "cert"}, "the rule has no user"),
        ({"user": "app", "method": "cart"}, "rules[3]: method 'cart' is unknown. Expected one of trust, reject"),
        ({"user": "app", "method": "cert", "type": "hostsll"}, "rules[3]: type 'hostsll' is unknown"),
        ({"user": "app", "method": "cert", "clintname": "DN"}, "has no option 'clintname'"),
        ({"user": "app", "method": "cert", "clientname": "dn"}, "clientname=dn, expected CN or DN"),
        ({"user": "app", "method": "cert", "clientcert": "verify-ca"}, "always means clientcert=verify-full"),
        ({"user": "app", "method": "md5", "clientcert": 1}, "clientcert=1, expected one of verify-ca, verify-full"),
        (
            {"user": "app", "method": "cert", "type": "host"},
            "cert works only on hostssl, this rule is host. Make it hostssl.",
        ),
        ({"user": "app", "method": "md5", "map": "x"}, "method md5 has no option 'map'"),
        ({"user": "app\nhost all all all trust", "method": "cert"}, "holds a line break"),
        ({"user": {"a": 1}, "method": "cert"}, "expected a word, found a dict"),
        ({"type": "local", "address": "all", "user": "x", "method": "peer"}, "type local has no address"),
    ],
)
def test_a_bad_rule_is_named_with_what_was_expected(rule: object, message: str) -> None:
    with pytest.raises(TlsError) as failure:
        rule_text.rule_line(rule, "rules[3]")
    assert message in failure.value.message


def test_lines_are_read_as_the_server_reads_them() -> None:
    assert words('host  a,b\t"c, ""d"" #e" all md5 # note\n\n# nothing\r\n') == [
        [["host"], ["a", "b"], ['c, "d" #e'], ["all"], ["md5"]]
    ]
    assert words("host all \\\n  app all \\\ncert\nlocal all all peer") == [
        [["host"], ["all"], ["app"], ["all"], ["cert"]],
        [["local"], ["all"], ["all"], ["peer"]],
    ]
    assert [line.number for line in lexer.read("# x\n\nhost a \\\nb c d\nlocal x y z")] == [3, 5]
    assert lexer.read('host "all" all all md5')[0].fields[1] == [lexer.Token("all", True)]
    assert words("host a, b c d") == [[["host"], ["a", "b"], ["c"], ["d"]]], "a comma joins over blanks"


def test_an_address_may_be_followed_by_a_mask() -> None:
    rule_checks.refuse_faulty("host all all 10.0.0.0 255.0.0.0 md5", 15, "hba", "")
    with pytest.raises(TlsError, match=r"address '10.0.0.0' has no mask; expected 10.0.0.0/32"):
        rule_checks.refuse_faulty("host all all 10.0.0.0 md5", 15, "hba", "")


def test_what_a_version_does_not_have_is_refused_for_it() -> None:
    rule = "hostssl all all all cert clientname=DN"
    rule_checks.refuse_faulty(rule, 14, "hba", "")
    with pytest.raises(TlsError, match="clientname needs PostgreSQL 14, this server is 13"):
        rule_checks.refuse_faulty(rule, 13, "hba", "")
    with pytest.raises(TlsError, match="oauth needs PostgreSQL 18, this server is 17"):
        rule_checks.refuse_faulty('host all all all oauth issuer="https://x.example" scope=openid', 17, "hba", "")


CONFIGURE = " '--prefix=/usr' '--with-pam' '--with-openssl' '--with-extra-version= (x)' '--with-gssapi' '--with-ldap'"


@pytest.mark.parametrize(
    ("configure", "lacking"),
    [
        (CONFIGURE, []),
        (CONFIGURE.replace("'--with-pam' ", ""), ["pam"]),
        (CONFIGURE.replace("--with-pam", "--without-pam"), ["pam"]),
        (CONFIGURE.replace("--with-ldap", "--with-ldap=no"), ["ldap"]),
        (CONFIGURE.replace("--with-ldap", "--with-ldap=yes"), []),
        ("--with-ssl=openssl", ["gss", "ldap", "pam"]),
        ("-Dssl=openssl -Dpam=disabled", []),
        ("not recorded", []),
        ("", []),
    ],
)
def test_what_a_build_lacks_is_known_by_the_options_of_configure(configure: str, lacking: list[str]) -> None:
    assert hba_options.lacking(configure) == lacking


def test_a_method_that_the_build_lacks_is_refused() -> None:
    rule_checks.refuse_faulty("host all all all pam", 16, "hba", "", configure=CONFIGURE)
    with pytest.raises(TlsError, match=r"hba line 1: this server was built without method pam \(--with-pam\)"):
        rule_checks.refuse_faulty("host all all all pam", 16, "hba", "", configure="--with-openssl")
    rule_checks.refuse_faulty("host all all all md5", 16, "hba", "", configure="--with-openssl")


def test_passwords_are_told_so_that_they_can_be_hidden() -> None:
    text = 'host all all all ldap ldapbindpasswd=abc\nhost all all all radius radiussecrets="d ""e"",f" radiusports=1\n'
    assert redaction.secrets(text) == {"abc", 'd ""e"",f', 'd "e",f'}
    assert redaction.secrets('host all all all ldap "ldapbindpasswd=g h"') == {"g h"}
    assert redaction.secrets("host all all all cert map=x") == set()


def test_a_list_for_a_password_is_not_shown() -> None:
    with pytest.raises(TlsError, match="expected a word, found a list") as caught:
        rule_text.rule_line({"user": "x", "method": "ldap", "ldapbindpasswd": ["abc"]})
    assert "abc" not in caught.value.message


def test_passwords_in_rules_are_masked() -> None:
    text = (
        'host all all all ldap ldapserver=x ldapbindpasswd="se cr""et" ldapport=1\nhost a b c radius radiussecrets=abc'
    )
    masked = redaction.masked(text)
    assert "cr" not in masked.replace("radiussecrets", "")
    assert "abc" not in masked
    assert masked.count("********") == 2
    assert "ldapport=1" in masked


def test_a_mapping_needs_its_three_parts() -> None:
    mapping = {"map": "people", "system_user": "Alice A", "database_user": "alice"}
    assert rule_text.ident_line(mapping) == 'people "Alice A" alice'
    with pytest.raises(TlsError, match="expected the keys map, system_user, database_user"):
        rule_text.ident_line({"map": "people", "system_user": "x"})
