# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that people trust as they are, the forms in which they are handed on, and keys that come with them."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

MARK = "\ufeff"  # of the byte order, as editors on Windows put it before a text
_PEM = serialization.Encoding.PEM
_PRIVATE = serialization.PrivateFormat


class SelfSigned(NamedTuple):
    """A certificate and its key in PEM."""

    pem: str
    key: str


def self_signed(
    name: str,
    *names: str,
    is_ca: bool | None = False,
    start: int = TODAY - DAY,
    days: int = 90,
    names_key: bool = False,
) -> SelfSigned:
    """Return a certificate signed by its own key; ``is_ca`` None leaves the basic constraints out.

    With ``names_key`` it says which key has signed it, as OpenSSL's own configuration has it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    starts = datetime.datetime.fromtimestamp(start, datetime.timezone.utc)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(starts).not_valid_after(starts + datetime.timedelta(days=days))
    wanted: list[x509.ExtensionType] = []
    if is_ca is not None:
        wanted.append(x509.BasicConstraints(is_ca, None))
    if names:
        wanted.append(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]))
    if names_key:
        wanted.append(x509.SubjectKeyIdentifier.from_public_key(key.public_key()))
        wanted.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()))
    for extension in wanted:
        builder = builder.add_extension(extension, critical=False)
    secret = key.private_bytes(_PEM, _PRIVATE.PKCS8, serialization.NoEncryption())
    return SelfSigned(builder.sign(key, hashes.SHA256()).public_bytes(_PEM).decode(), secret.decode())


def with_text(pem: str) -> str:
    """Return a certificate as ``openssl x509 -text`` prints it."""
    command = ["openssl", "x509", "-text"]
    return subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout


def with_line_ends(pem: str) -> str:
    """Return a text with the line ends of Windows."""
    return pem.replace("\n", "\r\n")


# Forms in which libpq reads certificates from a file, by their names
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda pem: pem,
    "no last line end": str.rstrip,
    "text before": with_text,
    "text all around": lambda pem: f"Stammzertifikat f\u00fcr alles:\n\n{pem}-- \nend of file",
    "line ends of Windows": with_line_ends,
    "a mark before it": lambda pem: MARK + pem,
    "everything of Windows": lambda pem: MARK + with_line_ends(with_text(pem)),
    "the old header": lambda pem: pem.replace(" CERTIFICATE", " X509 CERTIFICATE"),
    "a list behind": lambda pem: pem + "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
}


def _of(key: Any, form: serialization.PrivateFormat, *, is_encrypted: bool = False) -> str:
    how = serialization.BestAvailableEncryption(b"sesame") if is_encrypted else serialization.NoEncryption()
    text: bytes = key.private_bytes(_PEM, form, how)
    return text.decode()


def _keys() -> dict[str, str]:
    one, other = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    plain = {
        "PKCS#1": _of(one, _PRIVATE.TraditionalOpenSSL),
        "PKCS#8": _of(one, _PRIVATE.PKCS8),
        "EC": _of(other, _PRIVATE.TraditionalOpenSSL),
        "encrypted": _of(other, _PRIVATE.PKCS8, is_encrypted=True),
        "encrypted, old": _of(one, _PRIVATE.TraditionalOpenSSL, is_encrypted=True),
        "OpenSSH": _of(other, _PRIVATE.OpenSSH),
    }
    found = {}
    for name, key in plain.items():
        found.update({name: key, f"{name}, Windows": MARK + with_line_ends(key)})
    return found


# Private keys by the names of their forms
KEYS = _keys()


def body(key: str) -> set[str]:
    """Return the lines of a key that nobody may ever see."""
    return {line.strip() for line in key.splitlines() if "-----" not in line and ":" not in line and line.strip()}


# What takes certificates, lists or requests in PEM: options of modules, and variables of roles
OPTIONS = {
    "server": (
        "roots",
        "issuing",
        "trusted_clients",
        "extra_trusted_clients",
        "crls",
        "certificate",
        "existing",
        "patroni_trusted_clients",
        "patroni_issuing",
    ),
    "client": (
        "roots",
        "issuing",
        "trusted_clients",
        "crls",
        "certificates",
        "server_issuing",
        "trusted_clients_crls",
        "trust",
    ),
    "patroni": ("roots", "server_issuing", "trusted_clients", "client_issuing", "certificates"),
    "pgbouncer": ("roots", "server_issuing", "trusted_clients", "client_issuing", "certificates"),
    "endpoint_info": ("roots",),
    "session_info": ("issuing", "client_issuing"),
    "certificate": ("requests",),
    "certificate_authority": ("unrecorded",),
    "client_kit": ("kits",),
}
VARIABLES = {"server": "postgres_server_extra_trusted_clients", "client": "postgres_client_extra_roots"}
PARTS = {"postgres_server_existing": "roots"}  # of variables with more in them
