# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private key of a kit, which is made here: the request for it, and the encrypted forms of it.

The plain key is in memory and in pipes to openssl, and in no file.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import keys
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.kit.contents import KEY, KEYSTORE, PK8
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, pkcs12

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import pkcs12 as keystores
    from cryptography.x509.oid import NameOID


def new_key(key_type: str) -> bytes:
    """Return a new private key (PKCS#8 PEM). Raises TlsError."""
    return openssl.new_key(key_type).encode("ascii")


def request(key: bytes, role: str) -> str:
    """Return a request (PEM) for a key. Own authorities take the key from it alone, other ones the name, too."""
    loaded: Any = serialization.load_pem_private_key(key, None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)])
    digest = None if isinstance(loaded, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(loaded, digest)
    return made.public_bytes(serialization.Encoding.PEM).decode("ascii")


def encrypted(key: bytes, chain: str, password: str) -> dict[str, bytes]:
    """Return the files that hold a key, each encrypted with the password. Raises TlsError."""
    pem = keys.encrypted(key, password)
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    store = pkcs12.keystore(key, chain.encode("ascii"), password, rounds=keys.ROUNDS)
    return {KEY: pem, PK8: der, KEYSTORE: store}


def opens(files: Mapping[str, bytes], password: str, public_key: bytes) -> bool:
    """Return whether a key among the files opens with the password, and is that of a public key (DER).

    The others were made with it: one of them is enough for a look.
    """
    return _public(_of_der(files.get(PK8, b""), password)) == public_key


def refuse_other(files: Mapping[str, bytes], password: str, public_key: bytes, path: str) -> None:
    """Raise TlsError if one of the files does not hold the key for a public key (DER) behind the password."""
    found = [_of_der(files[PK8], password), _of_pem(files[KEY], password), _of_store(files[KEYSTORE], password)]
    if any(_public(one) != public_key for one in found):
        raise TlsError(
            f"{path}: the key that was made for it does not open again. Nothing was written.",
            remedy="Rerun.",
            code="kit_differs",
        )


def _of_der(content: bytes, password: str) -> Any:
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        return serialization.load_der_private_key(content, password.encode("ascii"))
    return None


def _of_pem(content: bytes, password: str) -> Any:
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        return serialization.load_pem_private_key(content, password.encode("ascii"))
    return None


def _of_store(content: bytes, password: str) -> Any:
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        return keystores.load_key_and_certificates(content, password.encode("ascii"))[0]
    return None


def _public(key: Any) -> bytes:
    if key is None:
        return b""
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_key().public_bytes(*form)
    return found
