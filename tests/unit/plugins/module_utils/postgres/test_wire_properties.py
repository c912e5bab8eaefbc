# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers with garbage: whatever comes, it ends with an explanation."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import example, given
from hypothesis import strategies as st

ENDPOINT = wire.Endpoint("db.example.com", 5432, 1.0)
LENGTHS = st.integers(-(2**31), 2**31 - 1).map(lambda number: number.to_bytes(4, "big", signed=True))
ANSWERS = st.binary() | st.builds(
    lambda kind, length, body: kind + length + body, st.sampled_from([b"E", b"R", b"S"]), LENGTHS, st.binary()
)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[socket.socket]:
    """Give a connection to a server that sends these bytes whatever it is asked, and hangs up."""
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(1.0)
        server.sendall(answer)
        server.shutdown(socket.SHUT_WR)
        yield client


@given(ANSWERS)
@example(b"R\0\0\0\x04")
@example(b"R\x7f\xff\xff\xff")
@example(b"E\0\0\0\x0bC28000")
def test_any_answer_to_a_login_is_a_refusal_or_a_word(answer: bytes) -> None:
    with answering(answer) as connection:
        try:
            word, message = attempt(wire.log_in, connection, "app", "postgres")
        except wire.RefusedError as refusal:
            word, message = refusal.sqlstate + refusal.message + "!", ""
    assert word or message.startswith("The server broke the connection")


@given(ANSWERS)
def test_any_answer_to_the_request_for_tls_but_yes_is_refused(answer: bytes) -> None:
    with answering(answer) as connection:
        _nothing, message = attempt(wire._ask_for_tls, connection, ENDPOINT)
    assert bool(message) == (answer[:2] != b"S")
    assert not message or message.startswith("db.example.com:5432: ")


@given(st.binary(max_size=2000) | st.binary(max_size=200).map(lambda more: b"\x16\x03\x03" + more))
def test_garbage_in_a_handshake_is_explained(answer: bytes) -> None:
    with answering(answer) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "connected", lambda _endpoint: contextlib.nullcontext(connection))
        found, message = attempt(wire.observe, ENDPOINT, direct=True)
    assert found is None
    assert message.startswith("db.example.com:5432: the TLS handshake failed")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "a" * 64,
        "a" * 10_000,
        "x\0y",
        "\ud800",
        "$(id)",
        "`id`",
        "\u202e",
        "host name",
        "[::1]",
        "::1%no",
    ],
)
def test_what_is_no_host_is_explained(host: str) -> None:
    _found, message = attempt(wire.observe, wire.Endpoint(host, 1, 0.5))
    assert "no TCP connection to the PostgreSQL server" in message


@pytest.mark.parametrize("port", [65536, -1, 10**12])
def test_a_port_that_is_none_is_explained(port: int) -> None:
    _found, message = attempt(wire.observe, wire.Endpoint("127.0.0.1", port))
    assert "no TCP connection to the PostgreSQL server" in message
