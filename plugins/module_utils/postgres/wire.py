# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's wire protocol, as far as TLS needs it: who answers, with which certificate, and what it says.

Numbers are those of PostgreSQL's "Message Formats" page. Pure Python on one socket, no libpq.
"""

from __future__ import annotations

import codecs
import contextlib
import socket
import ssl
import struct
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_der

codecs.lookup("idna")  # sockets load it late, perhaps with the rights of a user who cannot read it

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL_3 = 196608
_ALPN = "postgresql"
_LONGEST_MESSAGE = 65536  # bytes that are read of a server's answer


class RefusedError(Exception):
    """The server answered the start-up of a session with an error: its SQLSTATE and message."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate
        self.message = message


class Endpoint(NamedTuple):
    """Where a server listens. ``name`` is what the client asks for (SNI), if it differs from ``host``."""

    host: str
    port: int
    timeout: float = 5.0
    name: str = ""

    def __str__(self) -> str:
        """Return HOST:PORT for messages."""
        return f"{self.host[:255]}:{self.port}"


class Handshake(NamedTuple):
    """What a handshake showed: the server's chain (leaf first), protocol and cipher."""

    chain: tuple[Certificate, ...]
    protocol: str
    cipher: str

    @property
    def leaf(self) -> Certificate:
        """Return the server's own certificate."""
        return self.chain[0]


def observing_context(certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return a client that takes any certificate: it is there to look, the caller compares what it sees.

    It shows its own ``certificate`` with that ``key`` (paths), if they are given and can be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        with contextlib.suppress(OSError):  # an SSLError is one; there is no pair yet, or it is damaged
            context.load_cert_chain(certificate, key)
    return context


@contextlib.contextmanager
def connected(endpoint: Endpoint) -> Iterator[socket.socket]:
    """Open a TCP connection. Raises TlsError that names the endpoint when nobody answers."""
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=endpoint.timeout)
    except (OSError, ValueError, OverflowError) as error:  # ValueError: what cannot be a host name at all
        raise TlsError(
            f"{endpoint}: no TCP connection to the PostgreSQL server: {error}.", code="connection_failed"
        ) from error
    with connection:
        # Else a goodbye right behind the handshake waits 40 ms for the acknowledgment that the other side delays
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


@contextlib.contextmanager
def encrypted(
    endpoint: Endpoint, context: ssl.SSLContext | None = None, *, direct: bool = False
) -> Iterator[ssl.SSLSocket]:
    """Open a TLS session: after an SSLRequest, or at once (``direct``, PostgreSQL 17 and later).

    Raises TlsError when the server offers no TLS, answers with more than one byte, or the handshake fails.
    """
    context = context or observing_context()
    with connected(endpoint) as connection:
        if direct:
            context.set_alpn_protocols([_ALPN])  # the server insists on it, and so does libpq on its answer
        else:
            _ask_for_tls(connection, endpoint)
        name = endpoint.name or endpoint.host
        try:
            name.encode("idna")  # where Python 3.11 fails at this in the next line, it leaves the connection open
            session = context.wrap_socket(connection, server_hostname=name)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise TlsError(f"{endpoint}: the TLS handshake failed: {error}.", code="handshake_failed") from error
        with session:  # wrapping took the connection over; closing that would not close this
            if direct and session.selected_alpn_protocol() != _ALPN:
                raise TlsError(
                    f"{endpoint}: something answers with TLS, but not as a PostgreSQL server (no ALPN).",
                    code="server_not_postgresql",
                )
            try:
                yield session
            finally:
                _say_goodbye(session)


def observe(endpoint: Endpoint, context: ssl.SSLContext | None = None, *, direct: bool = False) -> Handshake:
    """Make one handshake and return what the server showed. Raises TlsError."""
    with encrypted(endpoint, context, direct=direct) as session:
        return shown(session, str(endpoint))


def shown(session: ssl.SSLSocket, source: str) -> Handshake:
    """Return what the server of an open TLS session showed."""
    cipher = session.cipher()
    return Handshake(
        chain=tuple(read_der(der, source) for der in _peer_chain(session)),
        protocol=session.version() or "",
        cipher=cipher[0] if cipher else "",
    )


def log_in(connection: socket.socket, user: str, database: str) -> str:
    """Begin a session and return what the server asks for: ``in``, ``password`` or another request's number.

    Raises RefusedError with the server's SQLSTATE, TlsError when the connection breaks.
    """
    options = f"user\0{user}\0database\0{database}\0application_name\0pgops.tls\0\0".encode()
    try:
        connection.sendall(struct.pack("!ii", len(options) + 8, _PROTOCOL_3) + options)
        kind = exactly(connection, 1)
        body = exactly(connection, min(struct.unpack("!i", exactly(connection, 4))[0] - 4, _LONGEST_MESSAGE))
    except OSError as error:
        raise TlsError(
            f"The server broke the connection during the start of a session: {error}.", code="connection_broken"
        ) from error
    if kind == b"E":
        fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
        raise RefusedError(fields.get(b"C", ""), fields.get(b"M", ""))
    code = int.from_bytes(body[:4], "big") if kind == b"R" and len(body) >= 4 else -1
    return {0: "in", 3: "password", 5: "password", 10: "password"}.get(code, str(code))


def _ask_for_tls(connection: socket.socket, endpoint: Endpoint) -> None:
    try:
        connection.sendall(_SSL_REQUEST)
        answer = connection.recv(2)  # two, to notice bytes that somebody put before the handshake (CVE-2021-23222)
    except OSError as error:
        raise TlsError(f"{endpoint}: no answer to the request for TLS: {error}.", code="tls_answer_missing") from error
    if answer == b"N":
        raise TlsError(
            f"{endpoint}: the server answers, but offers no TLS (ssl is off, or its TLS files did not load).",
            code="tls_not_offered",
        )
    if answer != b"S":
        raise TlsError(
            f"{endpoint}: expected one byte, S or N, in answer to the request for TLS; found {answer[:1]!r}.",
            code="tls_answer_unexpected",
        )


def _peer_chain(session: ssl.SSLSocket) -> list[bytes]:
    """Return the certificates that the server sent; before Python 3.10 only the leaf can be had."""
    public = getattr(session, "get_unverified_chain", None)  # Python 3.13
    if public is not None:
        return list(public())
    inner = getattr(getattr(session, "_sslobj", None), "get_unverified_chain", None)  # Python 3.10 to 3.12
    if inner is not None:
        return [certificate.public_bytes(2) for certificate in inner()]  # 2: DER
    return [session.getpeercert(binary_form=True) or b""]


def _say_goodbye(session: ssl.SSLSocket) -> None:
    """Close with a TLS shutdown: a plain close leaves noise in the server's log."""
    with contextlib.suppress(OSError, ValueError):
        session.settimeout(1.0)
        session.unwrap()


def exactly(connection: socket.socket, size: int, closed: str = "closed by the server") -> bytes:
    """Return so many bytes of an answer. Raises OSError, in the words ``closed`` if there are no more."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError(closed)
        data += part
    return data
