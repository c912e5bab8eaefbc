# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS#12, the form of keys and certificates that Java reads: with a key made by ``openssl``, without one made here.

A truststore is made here because ``openssl`` cannot mark a certificate as trusted before its version 3.2, and Java
takes no certificate for trusted that has no such mark.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, find, run
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

ALIAS = "user"  # the only one that pgjdbc looks at
_DATA, _CERTIFICATE_BAG, _X509 = "1.2.840.113549.1.7.1", "1.2.840.113549.1.12.10.1.3", "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_TRUSTED_FOR, _ANY_PURPOSE = "2.16.840.1.113894.746875.1.1", "2.5.29.37.0"  # the mark of Java, and its usual value
_SEQUENCE, _SET, _OCTETS, _INTEGER, _BMP_TEXT, _EXPLICIT = 0x30, 0x31, 0x04, 0x02, 0x1E, 0xA0
# Of the parameters that OpenSSL 3 reads without its legacy provider the ones that also Java 8 reads, and no SHA-1.
# They are the defaults of OpenSSL 3; those of 1.1.1 differ.
_PARAMETERS = ("-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256")
_KEY = re.compile(r"-----BEGIN PRIVATE KEY-----\s([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


class Opened(NamedTuple):
    """What is in a PKCS#12 file, in DER: its private key (b'' for none), and its certificates in any order."""

    key: bytes
    certificates: frozenset[bytes]


def truststore(roots: Sequence[Certificate]) -> bytes:
    """Return certificates as a PKCS#12 file that Java trusts. The same ones make the same bytes.

    It has no password: what is public needs none, and one that is known to everybody protects nothing. Java opens it
    with any password, and without one.
    """
    bags = der.value(_SEQUENCE, *(_trusted(root) for root in roots))
    safes = der.value(_SEQUENCE, _data(bags))
    return der.value(_SEQUENCE, der.value(_INTEGER, b"\x03"), _data(safes))


def _data(content: bytes) -> bytes:
    octets = der.value(_EXPLICIT, der.value(_OCTETS, content))
    return der.value(_SEQUENCE, der.object_identifier(_DATA), octets)


def _trusted(root: Certificate) -> bytes:
    encoded = der.value(_EXPLICIT, der.value(_OCTETS, root.der))
    bag = der.value(_SEQUENCE, der.object_identifier(_X509), encoded)
    # Java tells entries apart by this name alone, so that two roots of one name need two
    name = f"{root.common_name or 'root'} {root.sha256[:8]}"
    attributes = (
        _attribute(_FRIENDLY_NAME, der.value(_BMP_TEXT, *map(_two_bytes, name))),
        _attribute(_TRUSTED_FOR, der.object_identifier(_ANY_PURPOSE)),
    )
    parts = der.object_identifier(_CERTIFICATE_BAG), der.value(_EXPLICIT, bag)
    return der.value(_SEQUENCE, *parts, der.value(_SET, *sorted(attributes)))


def _two_bytes(character: str) -> bytes:
    # Not by a codec: who the process acts as may not be able to read it, and this form has no more than two bytes
    return min(ord(character), 0xFFFD).to_bytes(2, "big")


def _attribute(kind: str, content: bytes) -> bytes:
    return der.value(_SEQUENCE, der.object_identifier(kind), der.value(_SET, content))


def keystore(
    key: bytes, chain: bytes, password: str, user: Account | None = None, *, rounds: int | None = None
) -> bytes:
    """Return a key and its chain (both PEM) as a PKCS#12 file. It is salted: each time it has other bytes.

    ``rounds`` make guesses of the password slower; None is the default of openssl, which is for random passwords. Key
    and password pass through pipes. Only the encrypted result is in a file, which has no name. Raises TlsError.
    """
    command = find("openssl", "to make PKCS#12 files")
    secret, certificates = _pipe_with(password.encode("ascii") + b"\n"), _pipe_with(chain)
    try:
        with tempfile.TemporaryFile() as result:
            into = result.fileno()
            slower = ["-iter", str(rounds)] if rounds else []
            given = ["-inkey", "/dev/stdin", "-in", f"/dev/fd/{certificates}", "-name", ALIAS, *_PARAMETERS, *slower]
            argv = [command, "pkcs12", "-export", *given, "-passout", f"fd:{secret}", "-out", f"/dev/fd/{into}"]
            descriptors = [secret, certificates, into]
            done = run(argv, user, key.decode("ascii", "replace"), timeout=120.0, descriptors=descriptors)
            made = result.read()
    finally:
        os.close(secret)
        os.close(certificates)
    if done.status != 0 or not made:
        lines = [line for line in done.errors.splitlines() if line.strip()] or ["no message"]
        raise TlsError(f"openssl could not make a PKCS#12 file: {lines[-1]}", code="openssl_failed")
    return made


def _pipe_with(content: bytes) -> int:
    """Return the end to read from. A chain or a password is less than what a pipe holds before anybody reads."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(content)
    return reader


def opened(path: str, password: str, user: Account | None = None) -> Opened | None:
    """Return what the PKCS#12 file at ``path`` holds; None if its password is another one, or it is damaged.

    Without a ``password``, it needs no checksum either. A key under another name than that which Java programs look for
    does not count.
    """
    command, unchecked = find("openssl", "to read PKCS#12 files"), [] if password else ["-nomacver"]
    done = run([command, "pkcs12", "-in", path, "-passin", "stdin", "-nodes", *unchecked], user, f"{password}\n")
    key, certificates = _KEY.search(done.output), _CERTIFICATE.findall(done.output)
    if done.status != 0 or not certificates:
        return None
    is_found = key is not None and f"friendlyName: {ALIAS}\n" in done.output
    return Opened(_decoded(key.group(1)) if key and is_found else b"", frozenset(map(_decoded, certificates)))


def _decoded(block: str) -> bytes:
    return base64.b64decode("".join(block.split()))
