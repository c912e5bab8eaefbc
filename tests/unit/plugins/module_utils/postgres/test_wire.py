# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire protocol against a small server of our own, which can misbehave as no PostgreSQL does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire

Behaviour = Callable[[socket.socket], None]
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # as PostgreSQL's documentation has it


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a self-signed certificate and its key."""
    directory = tmp_path_factory.mktemp("wire")
    certificate, key = directory / "crt", directory / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=wire", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[wire.Endpoint]:
    """Answer one connection as ``behaviour`` does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _address = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            behaviour(connection)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield wire.Endpoint("127.0.0.1", listener.getsockname()[1], 2.0)
    finally:
        with contextlib.suppress(OSError), socket.create_connection(listener.getsockname(), 1):
            pass  # for a thread that nobody called
        thread.join(10)
        listener.close()


def answering(data: bytes) -> Behaviour:
    """Read the request for TLS and answer with these bytes."""

    def behave(connection: socket.socket) -> None:
        assert connection.recv(8) == SSL_REQUEST
        connection.sendall(data)
        connection.recv(1)

    return behave


def with_tls(pair: tuple[Path, Path], *, direct: bool = False, alpn: bool = True) -> Behaviour:
    """Answer with TLS and read until the client says goodbye."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if alpn:
        context.set_alpn_protocols(["postgresql"])

    def behave(connection: socket.socket) -> None:
        if not direct:
            assert connection.recv(8) == SSL_REQUEST
            connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    return behave


def test_a_handshake_shows_the_certificate(pair: tuple[Path, Path]) -> None:
    with serving(with_tls(pair)) as endpoint:
        found = wire.observe(endpoint)
    assert found.leaf.common_name == "wire"
    assert found.protocol == "TLSv1.3"
    assert found.cipher.startswith("TLS_")


def test_direct_tls_needs_no_request(pair: tuple[Path, Path]) -> None:
    with serving(with_tls(pair, direct=True)) as endpoint:
        assert wire.observe(endpoint, direct=True).leaf.common_name == "wire"


def test_direct_tls_of_something_else_is_no_postgresql(pair: tuple[Path, Path]) -> None:
    other = with_tls(pair, direct=True, alpn=False)
    with serving(other) as endpoint, pytest.raises(TlsError, match="not as a PostgreSQL server"):
        wire.observe(endpoint, direct=True)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"N", "offers no TLS"),
        (b"", "expected one byte, S or N"),
        (b"E\0\0\0\x10secret text", r"found b'E'\."),
        (b"Sx", r"found b'S'\."),
        (b"HTTP/1.1 400", r"found b'H'\."),
    ],
)
def test_any_answer_but_one_s_is_refused_without_printing_it(answer: bytes, message: str) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(answer)

    with serving(behave) as endpoint, pytest.raises(TlsError, match=message) as caught:
        wire.observe(endpoint)
    assert "secret" not in caught.value.message


def test_an_answer_that_never_comes_is_given_up() -> None:
    with serving(answering(b"")) as endpoint, pytest.raises(TlsError, match="no answer to the request for TLS"):
        wire.observe(endpoint._replace(timeout=0.2))


def test_a_handshake_that_fails_is_named() -> None:
    with serving(answering(b"S")) as endpoint, pytest.raises(TlsError, match="the TLS handshake failed"):
        wire.observe(endpoint._replace(timeout=0.2))


def test_nobody_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TlsError, match=rf"127\.0\.0\.1:{port}: no TCP connection"):
        wire.observe(wire.Endpoint("127.0.0.1", port, 2.0))


def logged_in(answer: bytes) -> tuple[str, bytes]:
    """Begin a session with a server that answers like this; return what log_in says and the start-up message."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        return wire.log_in(ours, "app", "shop"), theirs.recv(1000)


def test_the_start_of_a_session_is_a_start_up_message_of_protocol_3() -> None:
    _answer, message = logged_in(b"R" + struct.pack("!ii", 8, 0))
    assert struct.unpack("!ii", message[:8]) == (len(message), 196608)
    assert message[8:].startswith(b"user\0app\0database\0shop\0")
    assert message.endswith(b"\0\0")


@pytest.mark.parametrize(("code", "meaning"), [(0, "in"), (3, "password"), (5, "password"), (10, "password"), (7, "7")])
def test_the_servers_wish_is_understood(code: int, meaning: str) -> None:
    assert logged_in(b"R" + struct.pack("!ii", 8, code))[0] == meaning


def test_a_refusal_gives_state_and_message() -> None:
    body = b"SFATAL\0VFATAL\0C28000\0Mno entry\0\0"
    with pytest.raises(wire.RefusedError) as caught:
        logged_in(b"E" + struct.pack("!i", len(body) + 4) + body)
    assert (caught.value.sqlstate, caught.value.message) == ("28000", "no entry")


@pytest.mark.parametrize("answer", [b"", b"R", b"R\0\0\0\x08\0\0"])
def test_a_session_that_breaks_off_is_named(answer: bytes) -> None:
    with pytest.raises(TlsError, match="broke the connection"):
        logged_in(answer)
