# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, regex, usermap
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts

MAP_FACTS = Facts(17, groups={"app": ["app", "staff"], "staff": ["staff"], "boss": ["boss"], "all": ["all"]})


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("^a", "app", True),
        ("p$", "app", True),
        ("p$", "app\n", False),
        ("a.p", "a\np", True),
        (r"a\.p", "axp", False),
        ("[[:digit:]]+", "x7", True),
        ("[^[:alpha:]]", "app", False),
        (r"\w{3}", "app", True),
        (r"\d", "\u0663", False),
        ("[]x]", "]", True),
        ("[a-c-]x", "-x", True),
        ("[~~&&]", "&", True),
        ("a|b", "xb", True),
        ("(?:ab)+c", "ababc", True),
        ("", "anything", True),
        ("(?i)a", "A", None),
        (r"\yapp\y", "app", None),
        (r"(a)\1", "aa", None),
        ("a+?", "aa", None),
        ("a++", "aa", None),
        ("***=a", "a", None),
        ("[[:punct:]]", "!", None),
        ("[[.hyphen.]]", "-", None),
        ("a{1", "a{1", None),
        ("(a", "a", None),
        ("a{99999999999}", "a", None),
    ],
)
def test_an_expression_is_searched_as_the_server_does_or_not_at_all(
    pattern: str, text: str, expected: bool | None
) -> None:
    assert regex.search(pattern, text).matches is expected


@pytest.mark.parametrize(
    ("pattern", "text", "group", "is_sure"),
    [
        (r"^(.*)@example\.com$", "app@example.com", "app", True),
        ("^CN=([^,]+)", "CN=app,O=x", "app", True),
        ("^(a?)(ab)?", "ab", "a", False),
        ("^(a|ab)", "ab", "a", False),
        ("^app$", "app", None, True),
    ],
)
def test_a_captured_part_is_sure_where_the_longest_match_is_the_only_one(
    pattern: str, text: str, group: str | None, is_sure: bool
) -> None:
    found = regex.search(pattern, text)
    assert (found.group, found.is_group_sure) == (group, is_sure)


@pytest.mark.parametrize(
    ("line", "name", "role", "expected"),
    [
        ("people alice app", "alice", "app", True),
        ("people alice app", "Alice", "app", False),
        ("others alice app", "alice", "app", False),
        ("people alice +staff", "alice", "app", True),
        ('people alice "+staff"', "alice", "app", False),
        ("people alice +staff", "alice", "boss", False),
        ("people alice all", "alice", "boss", True),
        ('people alice "all"', "alice", "boss", False),
        ('people alice "all"', "alice", "all", True),
        ("people alice /^a", "alice", "app", True),
        (r"people /^(.*)@x$ \1", "app@x", "app", True),
        (r"people /^(.*)@x$ \1", "all@x", "boss", False),
        (r"people /^(.*)@x$ \1", "all@x", "all", True),
        (r"people /^(.*)@x$ p\1p", "a@x", "pap", True),
        (r"people /^app$ \1", "app", "app", False),
        (r"people /^(a|b)$ \1", "a", "app", None),
        ("people /(?i)x app", "x", "app", None),
        ("include others.conf", "alice", "app", None),
    ],
)
def test_a_line_of_a_map(line: str, name: str, role: str, expected: bool | None) -> None:
    assert usermap.permits(lexer.read(line), "people", role, name, MAP_FACTS) is expected


def test_the_lines_of_a_map_are_tried_until_one_fits() -> None:
    lines = lexer.read("people alice boss\npeople /^(ali)ce$ app\n")
    assert usermap.permits(lines, "people", "app", "alice", MAP_FACTS)
    assert not usermap.permits(lines, "people", "staff", "alice", MAP_FACTS)


def test_a_group_that_is_missing_in_an_expression_ends_the_search() -> None:
    assert (
        usermap.permits(lexer.read("people /^a \\1\npeople alice app\n"), "people", "app", "alice", MAP_FACTS) is False
    )


def test_up_to_version_15_a_database_user_is_a_plain_name() -> None:
    old = MAP_FACTS._replace(major=15)
    assert not usermap.permits(lexer.read("people alice all"), "people", "app", "alice", old)
    assert not usermap.permits(lexer.read("people alice +staff"), "people", "app", "alice", old)
    assert usermap.permits(lexer.read("people alice +staff"), "people", "+staff", "alice", old)
    assert usermap.permits(lexer.read(r"people /^(.*)$ +\1"), "people", "+staff", "staff", old)


def test_without_a_map_the_name_is_the_role() -> None:
    assert usermap.permits([], "", "app", "app", MAP_FACTS)
    assert not usermap.permits([], "", "app", "App", MAP_FACTS)
