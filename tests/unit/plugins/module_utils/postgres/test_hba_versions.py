# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each version of the server refuses in rules and maps; tests with a server compare many more of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    hba_grammar,
    hba_options,
    regex_syntax,
    rule_text,
)

ALL_VERSIONS = range(13, 20)


@pytest.mark.parametrize(
    ("line", "majors"),
    [
        ("host all all all md5", ALL_VERSIONS),
        ("local all all ident map=x", ALL_VERSIONS),
        ("hostssl all all all md5 clientcert=1", [13]),
        ("hostssl all all all md5 clientcert=no-verify", [13]),
        ("hostssl all all all cert clientcert=0", []),
        ("hostssl all all all cert clientcert=verify-ca", [13]),
        ("hostssl all all all cert clientname=DN", range(14, 20)),
        ("host all all all radius radiusservers=127.0.0.1 radiussecrets=x", range(13, 19)),
        ('host all all all radius radiusservers=127.0.0.1 radiussecrets="a b"', []),
        ("host all all all oauth issuer=i scope=s", [18, 19]),
        ("host all all all oauth issuer=i scope=s validator.x=y", [19]),
        ("host all all all oauth issuer=i scope=s map=x delegate_ident_mapping=1", []),
        ("host all all all oauth scope=s", []),
        ("host all /[ all md5", [13, 14, 15]),
        ('host "/[" all all md5', [13, 14, 15]),
        ("include other.conf", range(16, 20)),
        ("include other.conf more", []),
        ("host all all all md5 \\\nmap=x", []),
        ("host all all \\\nall md5", range(14, 20)),
        ("host all\rall all md5", range(13, 19)),
        ("host all all all md5 \r\r\nlocal all all md5\r", ALL_VERSIONS),
        ("host all all all md5 \r\\", range(14, 19)),
        ("host all all all md5 \r\\\n\n", range(14, 20)),
        ("host all all 10.1 255.0.0.0 md5", ALL_VERSIONS),
        ("host all all 10.0.0.0 ffff:: md5", []),
        ("host all all 10.0.0.0/+8 md5", ALL_VERSIONS),
        ("host all all 10.0.0.0/33 md5", []),
        ("host all all db.example.org/8 md5", []),
        ("host all all all peer", []),
        ("local all all gss", []),
        ("host all all all sspi", []),
        ("host all all all ldap ldapurl=ldap://h/dc=x?uid?sub", ALL_VERSIONS),
        ("host all all all ldap ldapurl=ldap://h", []),
        ("host all all all ldap ldapprefix=a ldapbasedn=b", []),
        ("host all all all ldap ldapbasedn=b ldapport=4294967296", []),
        ("host all all all ldap ldapbasedn=b ldapsearchattribute=a ldapsearchfilter=f", []),
        ("\ufeffhost all all all md5", []),
        ("host all all all\u00a0md5", []),
        (f"host {'x' * 10240} all all md5", range(16, 20)),
        (f"host {'x' * 10239} all all md5", ALL_VERSIONS),
        (f"host {'x' * 10239},y all all md5", range(16, 20)),
        (f"host all all all md5 # {'x' * 20480}", range(14, 20)),
        (f"{'#' * 20477}\nlocal all all md5\n", ALL_VERSIONS),
        (f"{'#' * 20477}\r\nlocal all all md5\n", range(14, 20)),
    ],
)
def test_a_line_is_right_for_the_versions_that_take_it(line: str, majors: range | list[int]) -> None:
    assert [major for major in ALL_VERSIONS if not hba_grammar.problems(line, major)] == list(majors)


@pytest.mark.parametrize(
    ("line", "majors"),
    [
        ("people alice app", ALL_VERSIONS),
        ("people alice app more", ALL_VERSIONS),
        ("people alice", []),
        ("people alice app,web", []),
        ("people /( app", []),
        ("people alice /(", [13, 14, 15]),
    ],
)
def test_a_mapping_is_right_for_the_versions_that_take_it(line: str, majors: range | list[int]) -> None:
    assert [major for major in ALL_VERSIONS if not hba_grammar.problems(line, major, ident=True)] == list(majors)


def test_every_bad_line_is_told_with_its_number_what_was_found_and_what_is_expected() -> None:
    text = (
        "host all all all md5\nhost all\n# x\nhost all all 10.0.0.0 md5\nlocal all all trust\nlocal all all nothing\n"
    )
    assert hba_grammar.problems(text, 17) == [
        ("", 2, "the rule has no method: 'host all'. Expected host DATABASE USER ADDRESS METHOD"),
        ("", 4, "address '10.0.0.0' has no mask; expected 10.0.0.0/32, or a mask in the next field"),
        ("", 6, f"method 'nothing' is unknown. Expected one of {', '.join(hba_options.METHODS)}"),
    ]


def test_the_validators_of_the_server_are_the_ones_that_a_rule_may_name() -> None:
    line = "host all all all oauth issuer=i scope=s"
    assert "needs the setting oauth_validator_libraries" in hba_grammar.problems(line, 18, libraries=[])[0].reason
    assert hba_grammar.problems(line, 18, libraries=["one"]) == []
    assert "needs validator, one of" in hba_grammar.problems(line, 18, libraries=["one", "two"])[0].reason
    assert (
        "validator=three, expected" in hba_grammar.problems(f"{line} validator=three", 18, libraries=["one"])[0].reason
    )


def test_what_other_files_bring_in_is_judged_in_its_place(tmp_path: Path) -> None:
    path = str(tmp_path / "pg_hba.conf")
    (tmp_path / "users").write_text("app, web\n")
    (tmp_path / "bad.conf").write_text("\nhost all all\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.conf").write_text("local all @../users peer\n")
    (tmp_path / "loop.conf").write_text("include loop.conf\n")
    text = "local all @users peer\ninclude bad.conf\ninclude_dir rules\ninclude missing.conf\n"
    text += "include_if_exists missing.conf\n"
    assert [(one.file, one.line) for one in hba_grammar.problems(text, 16, path=path)] == [
        (str(tmp_path / "bad.conf"), 2),
        ("", 4),
    ]
    assert [one.line for one in hba_grammar.problems("local all @missing peer\n", 13, path=path)] == [1]
    assert "more than 10 files lead to it" in hba_grammar.problems("include loop.conf\n", 16, path=path)[0].reason
    assert hba_grammar.problems("include_if_exists missing.conf\n", 16, path=path) == [
        ("", 0, "it has no rule, expected at least one")
    ]
    assert hba_grammar.problems("", 16, path=path, ident=True) == []


def test_a_pipe_in_place_of_an_included_file_is_a_problem_and_does_not_make_the_run_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.conf")
    (found,) = hba_grammar.problems("include pipe.conf\n", 16, path=str(tmp_path / "pg_hba.conf"))
    assert "expected a regular file" in found.reason


def test_a_key_that_is_no_option_is_told_even_beside_a_password() -> None:
    rule = {"user": "x", "method": "ldap", "ldapbasedn": "dc=x", "ldapbindpasswd": "sesame", "ldapsrver": "x"}
    with pytest.raises(TlsError, match=r"rule: method ldap has no option 'ldapsrver'. It takes ldapurl"):
        rule_text.rule_line(rule)


def test_a_word_that_may_be_a_part_of_a_password_is_not_told() -> None:
    for rest in ("sesame", "sesame=x"):
        (found,) = hba_grammar.problems(f"host all all all ldap ldapbasedn=x ldapbindpasswd=a {rest}", 15)
        assert "sesame" not in found.reason


@pytest.mark.parametrize(
    "pattern", ["", "a|", "()", "[]a]", "[^]-]", r"\w+\.x", "(a)\\1", "a{1,255}?", "***=(", "(?i)a", "{,1}", "(?#("]
)
def test_an_expression_that_postgresql_compiles(pattern: str) -> None:
    assert regex_syntax.fault(pattern, 17) == ""


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not closed"), (")", "was not opened"), ("[a", "a bracket is not closed"), ("*", "before the quantifier"),
        ("a**", "before the quantifier"), ("^*", "before the quantifier"), ("a{2,1}", "a repetition"),
        ("a{256}", "up to 255"),
        (r"\1", "group"), (r"(a\1)", "group"), (r"\q", "means nothing"), ("[z-a]", "a range"),
        ("[[:alfa:]]", "no class"),
        ("a\\", "backslash"), ("(?zz)a", "embedded options"), ("***", "quantifier"), (r"[\y]", "no character"),
    ],
)  # fmt: skip
def test_an_expression_that_postgresql_refuses(pattern: str, message: str) -> None:
    assert message in regex_syntax.fault(pattern, 17)
