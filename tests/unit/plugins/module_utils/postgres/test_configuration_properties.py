# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed parts of files: what others wrote stays byte for byte, whatever it is, and a second time changes nothing."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import given
from hypothesis import strategies as st

CONFIGURATION_PIECES = st.sampled_from(
    [configuration.BEGIN, configuration.END, "\n", "\r\n", " ", "host all all all md5", "\0", "é", "#"]
)
ANY_CONFIGURATION = st.text() | st.lists(CONFIGURATION_PIECES, max_size=12).map("".join)


@given(ANY_CONFIGURATION, ANY_CONFIGURATION)
def test_the_block_comes_first_goes_away_again_and_leaves_the_rest_as_it_was(text: str, lines: str) -> None:
    with_block, message = attempt(configuration.with_block, text, lines, "pg_hba.conf")
    if message:
        assert message.startswith("pg_hba.conf: ")
        return
    rest = configuration.with_block(text, "", "pg_hba.conf")
    assert with_block.endswith(rest)
    assert configuration.with_block(with_block, lines, "pg_hba.conf") == with_block
    assert configuration.with_block(with_block, "", "pg_hba.conf") == rest


@given(ANY_CONFIGURATION)
def test_the_include_is_the_last_line_and_the_only_one(text: str) -> None:
    found = configuration.with_include(text, "/etc/postgresql/tls/5432/current/ssl.conf")
    assert configuration.with_include(found, "/etc/postgresql/tls/5432/current/ssl.conf") == found
    assert found.startswith(text) or "include_if_exists" in text
    assert configuration.includes(found).count("\n") >= 1


@given(ANY_CONFIGURATION)
def test_a_whole_file_is_known_again(text: str) -> None:
    assert configuration.is_whole_file(configuration.whole_file(text))
