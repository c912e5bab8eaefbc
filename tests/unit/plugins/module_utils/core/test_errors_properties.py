# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in messages: never long, never a key, never more than one line."""

from __future__ import annotations

import time

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import holds_private_key, shown
from hypothesis import given
from hypothesis import strategies as st

ANY_VALUE = st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), st.lists)


@given(ANY_VALUE)
def test_what_is_shown_is_one_short_printable_line(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 160


@given(st.text(), st.text())
def test_a_key_is_never_shown(before: str, after: str) -> None:
    assert shown([f"{before}-----BEGIN EC PRIVATE KEY-----{after}"]) == "a private key"


KEY_FORMS = ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"]
KEY_FORMS += ["OPENSSH PRIVATE KEY", "ANY PRIVATE KEY", "X9.42 DH PRIVATE KEY", "SSH2 ENCRYPTED PRIVATE KEY"]


@pytest.mark.parametrize("form", [*KEY_FORMS, "PGP PRIVATE KEY BLOCK", "private key"])
@pytest.mark.parametrize("line", ["-----BEGIN {}-----", "-----END {}-----", "---- BEGIN {} ----", "----END {}---"])
def test_a_key_of_any_form_is_found_by_either_of_its_lines(form: str, line: str) -> None:
    assert holds_private_key(f"-----BEGIN CERTIFICATE-----\r\nAA==\r\n{line.format(form)}\r\n")


@pytest.mark.parametrize(
    "text", ["", "PRIVATE KEY", "# root of the CA, without its private key\n", "-----BEGIN PUBLIC KEY-----"]
)
def test_what_only_speaks_of_keys_is_none(text: str) -> None:
    assert not holds_private_key(text)


def test_a_long_text_without_a_key_is_read_once() -> None:
    begin = time.process_time()
    assert not holds_private_key("BEGIN " * 500_000)
    assert time.process_time() - begin < 5
