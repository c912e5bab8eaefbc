# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libpq by ctypes: the functions that a connection needs, as they are in its documentation.

A connection and a result are addresses; None is a null pointer. Texts are UTF-8, and what is not is replaced.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import PATH
from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange
from ansible_collections.pgops.tls.plugins.module_utils.verification import verdicts

NAME = "libpq.5.dylib" if sys.platform == "darwin" else "libpq.so.5"  # the same since PostgreSQL 8.2
CONNECTION_OK, CONNECTION_BAD, CONNECTION_MADE = 0, 1, 3  # of ConnStatusType
POLLING_FAILED, POLLING_READING, POLLING_WRITING, POLLING_OK = range(4)  # of PostgresPollingStatusType
TUPLES_OK = 2  # of ExecStatusType
ERRORS_VERBOSE = 2  # of PGVerbosity
_NEGOTIATED_GROUP = 134  # SSL_CTRL_GET_NEGOTIATED_GROUP of OpenSSL's ssl.h
_PEER_CERTIFICATE = ("SSL_get1_peer_certificate", "SSL_get_peer_certificate")
_LIBRARIES = ("../lib", "../lib64")  # beside the directory of psql, where PostgreSQL was built from source


class Library(NamedTuple):
    """A loaded libpq; ``functions`` has those of ``_declare``."""

    functions: Any

    @property
    def major(self) -> int:
        """Return its major version."""
        return int(self.functions.PQlibVersion()) // 10000

    def error(self, connection: int) -> str:
        """Return what libpq says of the last thing that failed on a connection."""
        message: bytes = self.functions.PQerrorMessage(connection)
        return message.decode("utf-8", "replace")

    def session(self, connection: int) -> verdicts.Session:
        """Return what libpq itself knows of a connection that stands."""
        known = [self.functions.PQsslAttribute(connection, one) or b"" for one in (b"protocol", b"cipher")]
        return verdicts.Session(bool(self.functions.PQsslInUse(connection)), *(one.decode("ascii") for one in known))

    def group(self, connection: int) -> str:
        """Return the group of the key exchange, '' without TLS or where OpenSSL is older than 3.0."""
        handshake = self.functions.PQsslStruct(connection, b"OpenSSL")
        if not handshake or self.functions.group_name is None:
            return ""
        number = self.functions.SSL_ctrl(handshake, _NEGOTIATED_GROUP, 0, None)
        found: bytes = self.functions.group_name(handshake, number) or b""
        return key_exchange.name(found.decode("ascii", "replace"))

    def leaf(self, connection: int) -> bytes:
        """Return the certificate (DER) that the server has shown on this very connection; empty when there is none."""
        from ctypes import c_void_p, cast, create_string_buffer, pointer  # noqa: PLC0415 (loaded with the library)

        functions = self.functions
        handshake = functions.PQsslStruct(connection, b"OpenSSL")
        shown = functions.peer_certificate(handshake) if handshake else None
        if not shown:
            return b""
        try:
            encoded = create_string_buffer(functions.i2d_X509(shown, None))
            functions.i2d_X509(shown, pointer(cast(encoded, c_void_p)))  # it moves the pointer, not the buffer
            return encoded.raw
        finally:
            functions.X509_free(shown)

    def row(self, result: int) -> list[str] | None:
        """Return the fields of a result that is one row, else None; NULL is an empty text."""
        functions = self.functions
        if functions.PQresultStatus(result) != TUPLES_OK or functions.PQntuples(result) != 1:
            return None
        values: list[bytes] = [functions.PQgetvalue(result, 0, one) for one in range(functions.PQnfields(result))]
        return [value.decode("utf-8", "replace") for value in values]


def load() -> Library:
    """Return the libpq of this host. Raises TlsError when there is none that can be loaded."""
    try:
        from ctypes import CDLL  # noqa: PLC0415 (a host without anything to verify does not pay for it)
    except ImportError as error:  # a Python that was built without libffi
        raise TlsError(
            f"{sys.executable} cannot load libpq, PostgreSQL's client library: {error}. Connections are verified with "
            "it.",
            remedy="Set ansible_python_interpreter to the distribution's own Python.",
            code="libpq_not_loadable",
        ) from error
    faults = []
    for path in (NAME, *_beside_psql()):
        try:
            return Library(_declare(CDLL(path)))
        except (OSError, AttributeError) as error:  # AttributeError: a function that it does not have
            faults.append(str(error))
    raise TlsError(
        f"libpq, PostgreSQL's client library, could not be loaded: {'; '.join(faults)}. Connections are verified with "
        "it.",
        remedy="Install it (Debian: libpq5, RPM family: libpq or postgresql-libs). If it is installed, the Python of "
        "ansible_python_interpreter may be unable to load it: set that to the distribution's own.",
        code="libpq_not_loadable",
    )


def _beside_psql() -> list[str]:
    """Return where libpq is when it belongs to a PostgreSQL that the loader does not know."""
    psql = shutil.which("psql", path=os.environ.get("PATH", "") + ":" + PATH)
    if psql is None:
        return []
    programs = os.path.dirname(os.path.realpath(psql))
    paths = [os.path.normpath(os.path.join(programs, directory, NAME)) for directory in _LIBRARIES]
    return [path for path in paths if os.path.exists(path)]


def _declare(functions: Any) -> Any:
    """Declare the types of arguments and results: undeclared, ctypes would cut a pointer to 32 bits."""
    from ctypes import c_char_p, c_int, c_long, c_void_p  # noqa: PLC0415 (see above)

    for name, result, *arguments in (
        ("PQlibVersion", c_int),
        ("PQconnectStart", c_void_p, c_char_p),
        ("PQsetErrorVerbosity", c_int, c_void_p, c_int),
        ("PQconnectPoll", c_int, c_void_p),
        ("PQstatus", c_int, c_void_p),
        ("PQsocket", c_int, c_void_p),
        ("PQsslInUse", c_int, c_void_p),
        ("PQsslAttribute", c_char_p, c_void_p, c_char_p),
        ("PQsslStruct", c_void_p, c_void_p, c_char_p),
        ("PQconnectionNeedsPassword", c_int, c_void_p),
        ("PQconnectionUsedPassword", c_int, c_void_p),
        ("PQerrorMessage", c_char_p, c_void_p),
        ("PQsendQuery", c_int, c_void_p, c_char_p),
        ("PQconsumeInput", c_int, c_void_p),
        ("PQisBusy", c_int, c_void_p),
        ("PQgetResult", c_void_p, c_void_p),
        ("PQresultStatus", c_int, c_void_p),
        ("PQntuples", c_int, c_void_p),
        ("PQnfields", c_int, c_void_p),
        ("PQgetvalue", c_char_p, c_void_p, c_int, c_int),
        ("PQclear", None, c_void_p),
        ("PQfinish", None, c_void_p),
        # Of the OpenSSL that this libpq uses: a symbol is looked up in what the library itself was linked with, too
        ("i2d_X509", c_int, c_void_p, c_void_p),
        ("X509_free", None, c_void_p),
        ("SSL_ctrl", c_long, c_void_p, c_int, c_long, c_void_p),
        (_peer_certificate(functions), c_void_p, c_void_p),
    ):
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    functions.peer_certificate = getattr(functions, _peer_certificate(functions))
    functions.group_name = getattr(functions, "SSL_group_to_name", None)  # since OpenSSL 3.0
    if functions.group_name is not None:
        functions.group_name.restype, functions.group_name.argtypes = c_char_p, (c_void_p, c_int)
    return functions


def _peer_certificate(functions: Any) -> str:
    """Return what OpenSSL calls the function that gives the other end's certificate: it has been renamed in 3.0."""
    return next((one for one in _PEER_CERTIFICATE if hasattr(functions, one)), _PEER_CERTIFICATE[0])
