# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TLS handshake in memory, with the files of a generation that nothing uses yet.

Whatever OpenSSL would refuse about key, certificate, chain, names, dates or purpose is found here, before a server or
a client depends on it.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem


class Pair(NamedTuple):
    """Paths of a certificate chain and of its private key (PEM), and the passphrase of that key, '' for none."""

    certificate: str
    key: str
    passphrase: str = ""


HAS_MEMORY_FILES = hasattr(os, "memfd_create")  # a Python made for old C libraries has none


class ClientFiles(NamedTuple):
    """Paths of what a client shows, and of the roots by which it verifies servers; '' for none."""

    certificate: str
    key: str
    roots: str


@contextlib.contextmanager
def memory_file(content: bytes) -> Iterator[str]:
    """Give the path of a file that is in memory alone, for this process. Raises OSError."""
    descriptor = os.memfd_create("pgops.tls")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    try:
        context.load_cert_chain(pair.certificate, pair.key, password=pair.passphrase or _refuse_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        other = " has another passphrase than ssl_passphrase_command says," if pair.passphrase else ""
        raise TlsError(
            f"{pair.key}{other} does not belong to {pair.certificate}, or one of them is damaged: {reason(error)}.",
            remedy="Run with renew for a new pair.",
            code="key_mismatch",
        ) from error


def _refuse_passphrase() -> bytes:
    """Stop OpenSSL from asking for a passphrase on a terminal."""
    raise ValueError("the key is encrypted, expected a key without passphrase")


def reason(error: Exception) -> str:
    """Return what OpenSSL found, without the file and line of its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    short = getattr(error, "reason", None)  # an SSLError that Python's own code raises has none
    return str(short).lower().replace("_", " ") if short else " ".join(map(str, error.args)).rstrip(".")


def _trust(context: ssl.SSLContext, pem: str, source: str) -> None:
    try:
        # Python takes ASCII alone, and OpenSSL skips what follows a mark of the byte order
        context.load_verify_locations(cadata="".join(one.pem for one in read_pem(pem, source)))
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(
            f"{source}: expected PEM certificates of authorities, found: {reason(error)}.",
            remedy="Correct it.",
            code="authorities_unreadable",
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED


def check_revocations(context: ssl.SSLContext, lists: str, source: str) -> None:
    """Have a context check every certificate of a chain with lists of revoked ones (PEM), as PostgreSQL and libpq do.

    Raises TlsError when OpenSSL cannot read them.
    """
    if not HAS_MEMORY_FILES:
        return
    try:
        with memory_file(lists.encode("ascii", "replace")) as path:  # Python reads lists from files only
            context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(
            f"{source}: expected lists of revoked certificates (CRLs) in PEM, found: {reason(error)}.",
            remedy="Correct it.",
            code="crl_unreadable",
        ) from error
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def server_context(pair: Pair, trusted_clients: str = "", ciphers: str = "") -> ssl.SSLContext:
    """Return the server side as PostgreSQL sets it up. Raises TlsError when OpenSSL refuses a part of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, pair)
    if trusted_clients:
        _trust(context, trusted_clients, "trusted_clients")
        context.verify_mode = ssl.CERT_OPTIONAL  # PostgreSQL asks each client for a certificate; pg_hba requires it
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as error:
            raise TlsError(
                f"ssl_ciphers: {ciphers!r} is no cipher list that OpenSSL accepts: {reason(error)}.",
                remedy="Correct it (openssl ciphers -v lists what it knows).",
                code="ssl_ciphers_invalid",
            ) from error
    return context


def client_context(roots: str, pair: Pair | None = None, *, check_name: bool = True) -> ssl.SSLContext:
    """Return a client that trusts ``roots`` (PEM) and shows ``pair``, if given. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_name
    _trust(context, roots, "roots")
    if pair:
        _load(context, pair)
    return context


def log_in(pair: Pair, trusted_clients: str, client: ssl.SSLContext) -> None:
    """Have ``client``, which shows a client's pair, log in at a server in memory that trusts these authorities (PEM).

    OpenSSL's server side checks chain, dates, purpose (clientAuth) and key. The server shows the same pair, because the
    client does not verify it here: this tests the client's certificate. Raises TlsError.
    """
    server = server_context(pair, trusted_clients)
    server.verify_mode = ssl.CERT_REQUIRED
    client.verify_mode = ssl.CERT_NONE
    handshake(server, client, None)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> None:
    """Make a whole handshake between two contexts in memory, the client verifying ``name`` (a DNS name or address).

    Raises TlsError with OpenSSL's reason when one side refuses the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_side=False, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(sides)
    for _round in range(10):  # TLS 1.2 needs four turns
        waiting = [side for side in waiting if not _advanced(side, name)]
        if not waiting:
            break
    else:
        raise TlsError(f"The rehearsal of the handshake{_for(name)} did not finish.", code="handshake_unfinished")
    _read_refusal(sides[0])


def _advanced(side: ssl.SSLObject, name: str | None) -> bool:
    """Do what one side can do with the bytes it has; return whether its handshake is done."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except (ssl.SSLError, ValueError) as error:
        who = "server" if side.server_side else "client"
        raise TlsError(
            f"The rehearsed {who} refuses the handshake{_for(name)}: {reason(error)}.",
            remedy="Nothing live was touched. Settings, certificate, names and trusted authorities must fit together.",
            code="handshake_failed",
        ) from error
    return True


def _for(name: str | None) -> str:
    return f" for {name}" if name else ""


def _read_refusal(client: ssl.SSLObject) -> None:
    """With TLS 1.3 the server's refusal of the client's certificate comes after the client's handshake."""
    try:
        client.read(1)
    except ssl.SSLWantReadError:
        return
    except ssl.SSLError as error:
        raise TlsError(
            f"The rehearsed server refuses the client's certificate: {reason(error)}.",
            remedy="Nothing live was touched. The authorities that servers trust for clients must include the one "
            "that issued it.",
            code="client_certificate_refused",
        ) from error
