# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with certificates as people hand them on: PEM, DER, PKCS#7; one or many, in any order."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import library
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, holds_private_key
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_der, read_pem

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

ENDINGS = (".pem", ".crt", ".cer", ".der", ".p7b", ".p7c")
_LARGEST = 1 << 20  # bytes
_UNREADABLE = "there is no certificate in it that can be read (PEM, DER or PKCS#7)"
_PKCS7 = b"-----BEGIN PKCS7-----"


class Answer(NamedTuple):
    """The certificates in one file. ``problem`` says why there are none, '' if there are."""

    name: str
    certificates: Sequence[Certificate]
    problem: str = ""

    def leaves(self, key: bytes) -> list[Certificate]:
        """Return those that are no CA's, and those for a leaf's public ``key`` (DER), which should be none."""
        return [one for one in self.certificates if not one.is_ca or one.public_key == key]


def read_all(directory: str) -> list[Answer]:
    """Return what is in the files of a directory whose endings are those of certificates. Raises OSError.

    One that cannot be read does not keep anybody from the others.
    """
    names = sorted(name for name in os.listdir(directory) if name.lower().endswith(ENDINGS))
    return [_tried(directory, name) for name in names if os.path.isfile(os.path.join(directory, name))]


def _tried(directory: str, name: str) -> Answer:
    try:
        return read(directory, name)
    except OSError as error:
        return Answer(name, (), f"it cannot be read ({error.strerror or error})")


def left_out(directory: str, answers: Sequence[Answer]) -> list[str]:
    """Return which files of a directory nobody looks at, and why, in words."""
    return [f"{os.path.join(directory, one.name)} is left out: {one.problem}." for one in answers if one.problem]


def read(directory: str, name: str) -> Answer:
    """Return what is in one file. Raises OSError."""
    path = os.path.join(directory, name)
    if os.stat(path).st_size > _LARGEST:
        return Answer(name, (), f"it is larger than {_LARGEST} bytes")
    content = files.read(path) or b""
    if holds_private_key(content.decode("latin-1")):
        return Answer(
            name, (), "it holds a private key, which has to stay on its host. Remove it, and replace that key"
        )
    if b"BEGIN TRUSTED CERTIFICATE" in content:  # read_pem would skip it, and OpenSSL does not
        return Answer(name, (), "a certificate in it has trust settings of OpenSSL. Print it without: openssl x509 -in")
    try:
        return Answer(name, _certificates(content, name))
    except TlsError as error:
        return Answer(name, (), error.fault if error.code == "library_missing" else _UNREADABLE)


def _certificates(content: bytes, name: str) -> list[Certificate]:
    if _PKCS7 in content:
        return _of_pkcs7("pem", content, name)
    if b"-----BEGIN" in content:
        return read_pem(content.decode("utf-8", "replace"), name)
    try:
        return [read_der(content, name)]
    except TlsError:
        return _of_pkcs7("der", content, name)


def _of_pkcs7(form: str, content: bytes, name: str) -> list[Certificate]:
    if not library.is_usable():
        raise TlsError(
            f"it is no PEM and no DER, and PKCS#7 can be read with {library.REQUIREMENT} alone. "
            f"{library.shortcoming()} openssl pkcs7 -print_certs makes PEM of it",
            code="library_missing",
        )
    try:
        found = getattr(pkcs7, f"load_{form}_pkcs7_certificates")(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{name}: this PKCS#7 cannot be read ({error}).", code="certificate_damaged") from error
    return [read_der(one.public_bytes(Encoding.DER), name) for one in found]
