# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libpq and servers say may be anything; it is judged, and shown on one line."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.verification import refusal_messages
from hypothesis import given
from hypothesis import strategies as st

ANY_REFUSAL = st.sampled_from(list(refusal_messages.REFUSALS))
MESSAGE_WORDS = st.sampled_from(
    ["connection requires a valid client certificate", "FATAL:  ", "\n", "\t", "no pg_hba.conf", "x"]
)
ANY_MESSAGE = st.text() | st.lists(MESSAGE_WORDS).map("".join)


@given(ANY_REFUSAL, ANY_MESSAGE)
def test_any_message_means_something_or_nothing(kind: str, message: str) -> None:
    found = refusal_messages.meaning(kind, message)
    assert found is None or found in [reason.meaning for reason in refusal_messages.REFUSALS[kind].reasons]


@given(st.text())
def test_a_message_about_something_else_is_no_proof(message: str) -> None:
    quoted = message.replace("certificate", "").replace("pg_hba", "").replace("SSL", "")
    assert all(
        refusal_messages.meaning(kind, f"timeout expired {quoted}") is None for kind in ("plaintext", "wrong_name")
    )


@given(ANY_MESSAGE)
def test_any_message_is_shown_on_one_line(message: str) -> None:
    found = refusal_messages.readable(message)
    assert len(found.splitlines()) <= 1
    assert found or message.strip()
