# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups for the key exchange, by what libraries and OpenSSL's output say."""

from __future__ import annotations

import os

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange

LIBRARY = "08:01 4711 /usr/lib/x86_64-linux-gnu/libssl.so.3"
OLDER, FIRST = (3, 4, 9, 0, 0), (3, 5, 0, 0, 0)


@pytest.mark.parametrize(
    ("theirs", "own", "version", "reason"),
    [
        (LIBRARY, LIBRARY, FIRST, ""),
        (LIBRARY, LIBRARY, (4, 0, 0, 0, 0), ""),
        (LIBRARY, LIBRARY, OLDER, "the server has OpenSSL x, and they need 3.5 or later"),
        (f"{LIBRARY} (deleted)", LIBRARY, FIRST, "OpenSSL was replaced while the server runs. Restart the server"),
        ("08:01 12 /opt/pg/lib/libssl.so.1.1", LIBRARY, FIRST, "the version of the server's OpenSSL is not known"),
        ("", "", FIRST, "the version of the server's OpenSSL is not known"),
    ],
)
def test_only_a_library_that_is_known_gets_groups_that_it_may_not_know(
    theirs: str, own: str, version: tuple[int, ...], reason: str
) -> None:
    found = key_exchange.judged(theirs, own, version, "OpenSSL x")
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(("in_use", "is_refused"), [("X25519", True), ("?X25519MLKEM768:X25519", False)])
def test_an_upgrade_on_disk_takes_no_group_from_a_server_that_has_it(
    monkeypatch: pytest.MonkeyPatch, in_use: str, is_refused: bool
) -> None:
    monkeypatch.setattr(
        key_exchange, "_library", lambda process: f"{LIBRARY}{'' if process == 'self' else ' (deleted)'}"
    )
    account = Account("me", os.geteuid(), os.getegid(), "/")
    assert bool(key_exchange.objection(os.getpid(), account, in_use)) is is_refused


def test_a_process_that_cannot_be_seen_has_no_library() -> None:
    assert key_exchange._library("0") == ""
    assert key_exchange._library("self") == key_exchange._library(str(os.getpid()))


@pytest.mark.parametrize(
    ("output", "group"),
    [
        ("Negotiated TLS1.3 group: X25519MLKEM768\n---\n", "X25519MLKEM768"),
        ("---\nPeer Temp Key: X25519, 253 bits\n", "X25519"),
        ("---\nServer Temp Key: X25519, 253 bits\n", "X25519"),
        ("---\nServer Temp Key: ECDH, P-256, 256 bits\n", "prime256v1"),  # of 1.1.1
        ("---\nPeer Temp Key: ECDH, prime256v1, 256 bits\n", "prime256v1"),
        ("---\nServer Temp Key: ECDH, secp384r1, 384 bits\n", "secp384r1"),
        ("Negotiated TLS1.3 group: <NULL>\nNew, (NONE), Cipher is (NONE)\n", ""),
        ("", ""),
    ],
)
def test_the_group_is_read_from_what_openssl_prints(output: str, group: str) -> None:
    assert key_exchange.negotiated(output) == group


def test_groups_have_the_names_of_the_documentation() -> None:
    names = {"x25519": "X25519", "secp256r1": "prime256v1", "X25519MLKEM768": "X25519MLKEM768", "": ""}
    assert {one: key_exchange.name(one) for one in names} == names


def test_groups_that_need_not_be_known_have_a_question_mark() -> None:
    assert key_exchange.split("?X25519MLKEM768:X25519:?new:prime256v1") == (
        ["X25519", "prime256v1"],
        ["X25519MLKEM768", "new"],
    )
