# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's REST API as a client sees it: its certificate, and its answer to a request."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

LIVENESS = "/liveness"  # 200 while Patroni's main loop turns
STATUS = "/patroni"
DEFAULT_PORT = 8008
_ANY = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens here)
_TIMEOUT = 3.0  # seconds for a connection, and for each part of an answer
_LONGEST = 1024 * 1024  # bytes of an answer
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")


class Answer(NamedTuple):
    """What answered. ``leaf`` is None without TLS, and ``status`` 0 without an answer to the request (``reason``).

    With ``reason``, ``leaf`` is also None where TLS itself was refused before the certificate could be seen.
    """

    leaf: Certificate | None
    status: int
    body: bytes = b""
    reason: str = ""

    @property
    def fingerprint(self) -> str:
        """Return that of the certificate, '' without TLS."""
        return self.leaf.sha256 if self.leaf else ""

    @property
    def has_tls(self) -> bool:
        """Return whether it was TLS that answered."""
        return self.leaf is not None or bool(self.reason)

    @property
    def data(self) -> dict[str, Any]:
        """Return the answer if it is an object of JSON, else {}."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            return found if isinstance(found, dict) else {}
        return {}


class RefusedError(Exception):
    """One side refuses the other's certificate; the text says why."""


def endpoint(address: str) -> wire.Endpoint:
    """Return where to connect for HOST:PORT, as in restapi.listen."""
    host, _colon, port = address.rpartition(":")
    host = host.strip("[]")
    return wire.Endpoint(_ANY.get(host, host), int(port) if port.isdigit() else DEFAULT_PORT, _TIMEOUT)


def look(at: wire.Endpoint, context: ssl.SSLContext, path: str = LIVENESS, *, has_tls: bool) -> Answer | None:
    """Return what answers at an address, None for silence. ``has_tls`` says which form is tried first."""
    for tries_tls in (has_tls, not has_tls):
        with contextlib.suppress(OSError, ValueError, TlsError):  # ValueError: it went away before the handshake
            found = _tls(at, context, path) if tries_tls else _plain(at, path)
            if found is not None:
                return found
    return None


def ask(at: wire.Endpoint, context: ssl.SSLContext, path: str = LIVENESS) -> Answer:
    """Return the answer over TLS. Raises RefusedError where one side refuses the other, OSError for silence."""
    with socket.create_connection((at.host, at.port), timeout=at.timeout) as connection:
        try:
            with _wrapped(connection, at, context) as session:
                leaf = wire.shown(session, str(at)).leaf
                status, body = _asked(session, at, path)
        except ssl.SSLEOFError as error:  # it stopped in between
            raise ConnectionResetError(str(error)) from error
        except ssl.SSLError as error:
            raise RefusedError(getattr(error, "verify_message", "") or error.reason or str(error)) from error
        except ValueError as error:  # a host that cannot be a name
            raise RefusedError(str(error)) from error
    if status == 403:
        raise RefusedError("403 " + " ".join(body.decode("utf-8", "replace").split())[:200])
    return Answer(leaf, status, body)


def _wrapped(connection: socket.socket, at: wire.Endpoint, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection after its handshake. Raises OSError, ValueError."""
    connection.getpeername()  # where Python 3.11 finds it closed in the next line, it leaves it open
    return context.wrap_socket(connection, server_hostname=at.name or at.host)


def _asked(session: ssl.SSLSocket, at: wire.Endpoint, path: str) -> tuple[int, bytes]:
    """Return the answer. With TLS 1.3, a refusal comes after the handshake, and may be lost with the connection."""
    try:
        return _answer(session, at, path)
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as error:
        raise RefusedError("it ended the connection behind the handshake, as if it refused the client") from error


def _tls(at: wire.Endpoint, context: ssl.SSLContext, path: str) -> Answer | None:
    with socket.create_connection((at.host, at.port), timeout=at.timeout) as connection:
        try:
            session = _wrapped(connection, at, context)
        except ssl.SSLError as error:
            if error.reason in _PLAIN:
                return None
            if "_ALERT_" in (error.reason or ""):  # with TLS 1.2, a client without a certificate may be refused here
                return Answer(None, 0, reason=error.reason)
            raise
        with session:
            leaf = wire.shown(session, str(at)).leaf
            try:
                return Answer(leaf, *_answer(session, at, path))
            # It refuses this client, which came to see the certificate. The end of a connection may overtake the alert
            except (ssl.SSLError, ConnectionError) as error:
                return Answer(leaf, 0, reason=getattr(error, "reason", "") or str(error))
            except TimeoutError:
                return Answer(leaf, 0, reason="no answer in time")


def _plain(at: wire.Endpoint, path: str) -> Answer | None:
    with socket.create_connection((at.host, at.port), timeout=at.timeout) as connection:
        status, body = _answer(connection, at, path)
    return Answer(None, status, body) if status else None


def _answer(connection: socket.socket, at: wire.Endpoint, path: str) -> tuple[int, bytes]:
    """Send a request; return the status (0: this is no HTTP) and the body of what comes back."""
    connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {at}\r\nUser-Agent: pgops.tls\r\n\r\n".encode())
    data = b""
    while len(data) < _LONGEST:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    head, _blank, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return (int(words[1]), body) if is_http else (0, b"")
