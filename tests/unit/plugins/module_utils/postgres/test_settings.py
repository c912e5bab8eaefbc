# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ssl.conf."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "on"), (False, "off"), ("TLSv1.3", "'TLSv1.3'"), (600, "'600'"), ("it's", "'it''s'"), ("a\\b", "'a\\\\b'")],
)
def test_a_value_is_written_so_that_it_is_read_back(value: object, text: str) -> None:
    assert settings.written(value) == text
    expected = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    assert settings.parse(f"ssl_x = {text}") == {"ssl_x": expected}


def test_a_value_over_two_lines_is_refused() -> None:
    with pytest.raises(TlsError, match="holds a line break"):
        settings.written("HIGH\nshared_preload_libraries = 'evil'")


def test_comments_blank_lines_and_spaces_are_read_over() -> None:
    assert settings.parse("# x\n\n ssl=on # y\nSSL_Ciphers 'a#b'\n") == {"ssl": "on", "ssl_ciphers": "a#b"}


def test_a_setting_twice_and_a_line_that_is_none_are_refused() -> None:
    with pytest.raises(TlsError, match="line 2: ssl is set a second time"):
        settings.parse("ssl = on\nssl = off")
    with pytest.raises(TlsError, match=r"line 1: expected NAME = VALUE, found 'ssl = on; drop'"):
        settings.parse("ssl = on; drop")


@pytest.mark.parametrize("value", [None, ["HIGH"], {"a": 1}])
def test_what_is_no_single_value_is_refused(value: object) -> None:
    with pytest.raises(TlsError, match="expected a text, a number or a boolean"):
        settings.written(value)


@pytest.mark.parametrize("line", ["ssl_ciphers = HIGH:!aNULL", "ssl\u00a0= on", "ssl =\x0bon", "ssl = on \u2028x = 1"])
def test_what_the_server_would_call_a_syntax_error_is_refused(line: str) -> None:
    with pytest.raises(TlsError, match="line 1: expected NAME = VALUE"):
        settings.parse(line)


def test_a_line_ends_where_the_server_says() -> None:
    assert settings.parse("# a\u2028ssl = off\r\nssl = on\r\n") == {"ssl": "on"}


def test_an_escape_that_would_be_read_otherwise_is_refused() -> None:
    assert settings.parse(r"ssl_x = 'a\\b\'c'") == {"ssl_x": r"a\b'c"}
    with pytest.raises(TlsError, match="an escape other than"):
        settings.parse(r"ssl_x = 'a\tb'")
