# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests from hosts that may be in somebody else's hands: each is refused by itself, or gives a key and a name."""

from __future__ import annotations

import base64
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import requests
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.tests.properties import COMMON, attempt
from hypothesis import example, given
from hypothesis import strategies as st

ANY_ID = st.text() | st.text(st.sampled_from("ab/.]'\"`$();\n\0\u202e\u0301\U0001f600\ud800"), max_size=70)
ITEMS = st.fixed_dictionaries(
    {"id": ANY_ID | st.none()},
    optional={"role": ANY_ID, "names": st.lists(ANY_ID, max_size=3), "csr": st.text(), "reasons": st.lists(st.text())},
)


def pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE REQUEST-----\n"


@given(st.text() | st.binary().map(pem))
@example("-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 1_000_000)
def test_any_text_is_refused_as_a_request(csr: str) -> None:
    key, message = attempt(requests.leaf_key, csr, "requests[db1].csr")
    assert key is None
    assert message.startswith("requests[db1].csr: ")
    assert len(message) < 200


@given(data=st.data())
@COMMON
def test_a_damaged_request_is_refused(csr: str, data: st.DataObject) -> None:
    der = bytearray(base64.b64decode("".join(csr.splitlines()[1:-1])))
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] ^= data.draw(st.integers(1, 255))
    key, message = attempt(requests.leaf_key, pem(bytes(der)), "requests[db1].csr")
    assert key is None
    assert message.startswith("requests[db1].csr: ")


@given(st.sampled_from(["server", "client"]), st.lists(ITEMS, max_size=4))
def test_any_list_of_requests_is_sorted_into_right_and_refused(authority: str, items: list[dict[str, Any]]) -> None:
    found, message = attempt(requests.parse_all, authority, items, is_dry=True)
    if message:
        assert message.startswith("requests: ")
        return
    right, refused = found
    assert len(right) + len(refused) == len(items)
    for one in right:
        assert len(one.holder.common_name) <= names.LONGEST_COMMON_NAME
        assert "\n" not in one.id
    assert all(message.startswith("requests[") for message in refused.values())
