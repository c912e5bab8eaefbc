# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is given as a name of a server: a name that certificates can hold, or a message that says what is wrong."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import example, given
from hypothesis import strategies as st

LABEL = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", fullmatch=True)
NAME_TEXT = st.text(st.sampled_from("aZ09.-*_: /\\'\"`$();\n\0\u202e\u0301\u212a\U0001f600%[]"), max_size=80)


@given(st.text() | NAME_TEXT | st.integers() | st.none() | st.floats() | st.binary())
@example("a" * 10_000)
@example("\ud800")
@example("fe80::1%eth0")
def test_any_value_is_a_name_in_its_final_form_or_is_refused_in_a_few_words(value: object) -> None:
    found, message = attempt(names.parse, value, "names")
    if message:
        assert message.startswith("names: ")
        assert len(message) < 500
        return
    assert names.parse(found.value, "names") == found
    if found.kind == "ip":
        assert names.unpacked_address(names.packed_address(found.value) or b"") == found.value
        assert ipaddress.ip_address(found.value)
    else:
        assert re.fullmatch(r"(\*\.)?[a-z0-9._-]{1,253}", found.value)


@given(st.lists(LABEL, min_size=1, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1].isdigit()))
def test_every_name_of_rfc_1123_and_one_with_underscores_is_taken_in_lower_case(name: str) -> None:
    assert names.parse(name, "names") == names.Name("dns", name.lower())


@given(st.ip_addresses())
def test_every_address_is_taken(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert names.parse(str(address), "names").kind == "ip"
    assert names.packed_address(str(address)) == address.packed


@given(st.lists(st.text(max_size=5), max_size=5) | st.text() | st.none() | st.integers())
def test_a_list_of_names_is_read_without_duplicates_or_refused(value: object) -> None:
    found, message = attempt(names.parse_all, value, "names")
    assert message or (found and len(set(found)) == len(found))


def test_more_names_than_a_client_reads_in_a_handshake_are_refused() -> None:
    found, message = attempt(names.parse_all, [f"db{number}.example.com" for number in range(100_000)], "names")
    assert found is None
    assert message.startswith("names: 100000 names")


def test_two_thousand_names_are_taken() -> None:
    assert len(names.parse_all([f"db{number}.example.com" for number in range(2_000)], "names")) == 2_000
