# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys and certificate requests, made on the host that uses them by the ``openssl`` command."""

from __future__ import annotations

import base64
import re
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, find, run
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

# Arguments of `openssl genpkey` (OpenSSL 1.1.1 and later); it writes PKCS#8, which every driver reads.
KEY_TYPES = {
    "P-256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA-3072": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"),
    "RSA-4096": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"),
    "Ed25519": ("-algorithm", "ED25519"),
}
# Of a certificate that nobody verifies; `openssl req` wants some subject, and no file of the host is read.
_CONFIGURATION = "[req]\nprompt = no\ndistinguished_name = subject\n[subject]\nCN = pgops.tls request\n"


class Wanted(NamedTuple):
    """What a request asks for: a common name ('': none), alternative names, and one extended key usage (OID).

    The own authority reads only the key of a request. Other ones sign what is in it.
    """

    common_name: str
    names: Sequence[Name]
    usage: str

    def configuration(self) -> str:
        """Return it as a configuration of `openssl req`. A quoted value stands for itself, whatever is in it."""
        kinds = {"dns": "DNS", "ip": "IP"}
        names = [f"{kinds[one.kind]}.{number} = {one.value}" for number, one in enumerate(self.names)]
        quoted = self.common_name.replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            "[req]",
            "prompt = no",
            "utf8 = yes",
            "string_mask = utf8only",
            "distinguished_name = subject",
            "req_extensions = extensions",
            "[extensions]",
            f"extendedKeyUsage = {self.usage}",
            *(["subjectAltName = @names"] if names else []),
            "[names]",
            *names,
            "[subject]",
            *([f'CN = "{quoted}"'] if quoted else []),
        ]
        return "".join(f"{line}\n" for line in lines)


_PKCS8 = re.compile(rb"-----BEGIN PRIVATE KEY-----\s([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----")
_NO_PASSPHRASE = ("-passin", "pass:")  # an encrypted key is refused; without this openssl asks on the terminal


def new_key(key_type: str, user: Account | None = None) -> str:
    """Return a new private key as PKCS#8 PEM; it passes through a pipe, never a file of ours. Raises TlsError."""
    return _openssl(["genpkey", *KEY_TYPES[key_type]], "", f"make a {key_type} key", user)


def new_request(key_path: str, user: Account | None = None, wanted: Wanted | None = None) -> str:
    """Return a certificate request (PEM) signed with the private key at ``key_path``. Raises TlsError.

    ``user`` is who reads the key; None is this process's own user. Without ``wanted`` the request is for the key alone.
    """
    no_subject = ["-subj", "/"] if wanted and not wanted.common_name else []
    return _openssl(
        ["req", "-new", "-batch", "-config", "/dev/stdin", *no_subject, "-key", key_path, *_NO_PASSPHRASE],
        wanted.configuration() if wanted else _CONFIGURATION,
        f"make a certificate request with the key {key_path}",
        user,
    )


def throw_away(key_type: str, user: Account | None = None) -> str:
    """Return a new key and a certificate for it, signed by itself (PEM, one after the other). Raises TlsError.

    They serve a rehearsal in memory and pass through a pipe, never a file.
    """
    _option, algorithm, *parameters = KEY_TYPES[key_type]
    arguments = ["-newkey", algorithm, *parameters, "-nodes", "-keyout", "/dev/stdout"]
    return _openssl(
        ["req", "-x509", "-batch", "-config", "/dev/stdin", "-days", "2", *arguments],
        _CONFIGURATION,
        f"make a {key_type} key for a rehearsal",
        user,
    )


def objections(option: str, value: str, user: Account | None = None) -> str:
    """Return why OpenSSL refuses the value of one of its options for TLS, such as -groups; '' for nothing.

    No connection is made: there is no socket of that name.
    """
    command = find("openssl", "to judge settings of TLS")
    done = run([command, "s_client", "-unix", "/nonexistent/socket", option, value], user=user)
    refused = "SSL_CONF_cmd" in done.errors or "Error with command" in done.errors  # of OpenSSL 3 and 1.1.1
    return " ".join(done.errors.split()) if refused else ""


def handshake(place: str, name: str, timeout: float, *, direct: bool) -> str:
    """Return what ``openssl s_client`` prints of a handshake with a PostgreSQL server at ``place`` (HOST:PORT).

    ``name`` is what it asks for (SNI), '' for the host. ``direct``: TLS at once. Raises TlsError.
    """
    command = find("openssl", "to see the key exchange")
    start = ["-alpn", "postgresql"] if direct else ["-starttls", "postgres"]
    wanted = ["-servername", name] if name else []
    return run([command, "s_client", "-connect", place, *start, *wanted], timeout=timeout).output


def public_key(key_path: str, user: Account | None = None, *, form: str = "PEM") -> bytes:
    """Return the public half (DER, as in certificates) of the private key at ``key_path``. Raises TlsError.

    ``form`` is PEM or DER.
    """
    arguments = ["pkey", "-inform", form, "-in", key_path, *_NO_PASSPHRASE, "-pubout"]
    text = _openssl(arguments, "", f"read the private key {key_path}", user)
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def as_der(key: bytes) -> bytes:
    """Return the DER of a private key in PEM, as ``new_key`` makes it. Raises TlsError for any other form."""
    block = _PKCS8.search(key)
    if block is None:
        raise TlsError(
            "The private key in use is not unencrypted PKCS#8, so other forms cannot be made of it.",
            remedy="Rerun with new_keys.",
            code="key_not_pkcs8",
        )
    return base64.b64decode(b"".join(block.group(1).split()))


def _openssl(arguments: list[str], stdin: str, action: str, user: Account | None) -> str:
    command = find("openssl", "to make private keys and certificate requests")
    done = run([command, *arguments], user=user, stdin=stdin, timeout=120.0)
    if done.status != 0 or not done.output:
        lines = [line for line in done.errors.splitlines() if line.strip()] or ["no message"]
        raise TlsError(f"openssl could not {action}: {lines[-1]}", code="openssl_failed")
    return done.output
