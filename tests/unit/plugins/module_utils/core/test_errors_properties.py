# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in messages: never long, never a key, never more than one line."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import shown
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), st.lists)


@given(VALUES)
def test_what_is_shown_is_one_short_printable_line(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 160


@given(st.text(), st.text())
def test_a_key_is_never_shown(before: str, after: str) -> None:
    assert shown([f"{before}-----BEGIN EC PRIVATE KEY-----{after}"]) == "a private key"
