# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed parts of configuration files."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration


def test_a_block_comes_first_and_is_replaced_in_place() -> None:
    once = configuration.with_block("old\n", "one", "f")
    assert once.startswith("# BEGIN pgops.tls\n")
    assert once.endswith("\none\n# END pgops.tls\nold\n")
    assert configuration.with_block(once, "one", "f") == once
    assert configuration.with_block(once, "two", "f") == once.replace("one", "two")
    assert configuration.with_block(once, "", "f") == "old\n"


def test_bytes_outside_the_block_stay_as_they_are() -> None:
    rest = "a\r\n\tb  \n\n# c without a line end"
    assert configuration.with_block(rest, "x", "f").endswith("# END pgops.tls\n" + rest)
    assert configuration.with_block(configuration.with_block(rest, "x", "f"), "", "f") == rest


@pytest.mark.parametrize("text", ["# BEGIN pgops.tls\nx\n", "# END pgops.tls\n# BEGIN pgops.tls\n", "# END pgops.tls"])
def test_markers_that_do_not_pair_are_refused(text: str) -> None:
    with pytest.raises(TlsError, match="Fix the markers by hand"):
        configuration.with_block(text, "x", "/etc/pg_hba.conf")


def test_the_include_is_the_last_line_once() -> None:
    once = configuration.with_include("a = 1", "/d/ssl.conf")
    assert once == "a = 1\ninclude_if_exists '/d/ssl.conf'  # pgops.tls\n"
    assert configuration.with_include(once, "/d/ssl.conf") == once
    assert configuration.with_include(once + "b = 2\n", "/d/ssl.conf") == (
        "a = 1\nb = 2\ninclude_if_exists '/d/ssl.conf'  # pgops.tls\n"
    )


def test_an_editor_that_changed_the_line_ends_does_not_make_a_second_block() -> None:
    once = configuration.with_block("old\n", "one", "f")
    assert configuration.with_block(once.replace("\n", "\r\n"), "two", "f") == once.replace("one", "two").replace(
        "old\n", "old\r\n"
    )


def test_markers_within_the_lines_are_refused() -> None:
    with pytest.raises(TlsError, match="mark the managed block itself"):
        configuration.with_block("old\n", "one\n# END pgops.tls", "f")


def test_a_whole_file_is_known_by_its_head() -> None:
    assert configuration.is_whole_file(configuration.whole_file("one"))
    assert not configuration.is_whole_file(configuration.with_block("", "one", "f"))


def test_an_include_that_is_commented_out_or_written_twice_is_made_good() -> None:
    line = "include_if_exists '/d/ssl.conf'  # pgops.tls\n"
    assert configuration.with_include(f"a = 1\n#{line}", "/d/ssl.conf") == f"a = 1\n#{line}{line}"
    assert configuration.with_include(f"{line}a = 1\n{line}", "/d/ssl.conf") == f"a = 1\n{line}"
    assert configuration.with_include(f"a = 1\r\n{line[:-1]}\r\n", "/d/ssl.conf") == f"a = 1\r\n{line[:-1]}\r\n"
    assert configuration.with_include("", "/d/ssl.conf") == line


def test_of_postgresql_conf_only_our_own_lines_are_shown() -> None:
    text = configuration.with_include("primary_conninfo = 'password=sesame'\n", "/d/ssl.conf")
    assert configuration.includes(text) == "line 2: include_if_exists '/d/ssl.conf'  # pgops.tls\n"
