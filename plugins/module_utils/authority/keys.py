# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys of authorities: made, written as PKCS#8 and read again."""

from __future__ import annotations

import base64
import contextlib
import os
from typing import TYPE_CHECKING, Union

from ansible_collections.pgops.tls.plugins.module_utils.authority.profiles import AUTHORITY_KEY_TYPES
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, padding, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

if TYPE_CHECKING:
    AuthorityKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

SHORTEST_PASSPHRASE = 8  # characters
# What the library writes by itself is 2,048 rounds. An authority's files may lie in a repository, so guessing has to
# cost more; at 0.1 s for each key that a run opens.
_ROUNDS = 200_000
_PBES2, _PBKDF2 = "06092a864886f70d01050d", "06092a864886f70d01050c"  # RFC 8018
_HMAC_SHA256, _AES_256_CBC = "06082a864886f70d02090500", "060960864801650304012a"


def check_passphrase(passphrase: str | None) -> None:
    """Raise TlsError for a passphrase that must not be used (None, for keys that are not encrypted, is fine)."""
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        found = "an empty one" if not passphrase else "a shorter one"
        raise TlsError(
            f"postgres_ca_passphrase: expected at least {SHORTEST_PASSPHRASE} characters, found {found}. Leave it out "
            "for keys that are not encrypted."
        )


def check_type(key_type: str) -> None:
    """Raise TlsError for a type of key that authorities do not have."""
    if key_type not in AUTHORITY_KEY_TYPES:
        raise TlsError(
            f"key_type: an authority cannot have a key of type {key_type}, expected one of "
            f"{', '.join(AUTHORITY_KEY_TYPES)}. (Under an Ed25519 authority the channel binding of SCRAM fails; "
            "servers and clients may have Ed25519 keys.)"
        )


def new_key(key_type: str) -> AuthorityKey:
    """Return a new private key for an authority. Raises TlsError for a type that authorities do not have."""
    check_type(key_type)
    if key_type == "P-256":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type == "P-384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type.split("-")[1]))


def to_pem(key: AuthorityKey, passphrase: str | None) -> bytes:
    """Return a key as PKCS#8 PEM, encrypted (AES-256, PBKDF2 with SHA-256) when there is a passphrase."""
    encoded = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if passphrase is None:
        return _pem("PRIVATE KEY", encoded)
    return _pem("ENCRYPTED PRIVATE KEY", _encrypted(encoded, passphrase))


def from_pem(text: bytes, passphrase: str | None, path: str) -> AuthorityKey:
    """Return the key of a PEM file.

    Raises TlsError, naming ``path``, when passphrase and file do not fit each other, or for anything but a key that
    an authority can have.
    """
    is_encrypted = b"ENCRYPTED" in text
    if is_encrypted and passphrase is None:
        raise TlsError(f"{path}: the key is encrypted and no passphrase was given. Set postgres_ca_passphrase.")
    if not is_encrypted and passphrase is not None and b"PRIVATE KEY" in text:
        raise TlsError(
            f"{path}: a passphrase was given, but this key is not encrypted. Either leave postgres_ca_passphrase out, "
            "or encrypt all keys of the directory: openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 200000 -in KEY -out NEW."
        )
    try:
        key = serialization.load_pem_private_key(text, _bytes(passphrase) if passphrase is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        # What the library says is left out: it tells more of the key's inside than of the mistake.
        found = "the passphrase is wrong, or the file is damaged" if is_encrypted else "the file is damaged"
        raise TlsError(f"{path}: the private key cannot be read: {found}.") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise TlsError(f"{path}: expected a key of type {', '.join(AUTHORITY_KEY_TYPES)}, found another type.")
    return key


def public_der(key: AuthorityKey) -> bytes:
    """Return the public half of a key in the form that certificates hold it in."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def hash_for(key: AuthorityKey) -> hashes.SHA256 | hashes.SHA384:
    """Return the hash that signatures of this key are made with: as strong as the key."""
    return hashes.SHA384() if key.key_size == 384 else hashes.SHA256()


def _bytes(passphrase: str) -> bytes:
    """Return what openssl would read for a passphrase, also for bytes of the environment that are not UTF-8."""
    return passphrase.encode("utf-8", "surrogateescape")


def _pem(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode("ascii")
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode("ascii")


def _encrypted(encoded: bytes, passphrase: str) -> bytes:
    """Return an EncryptedPrivateKeyInfo of RFC 5958: PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC."""
    salt, start = os.urandom(16), os.urandom(16)
    derived = PBKDF2HMAC(hashes.SHA256(), length=32, salt=salt, iterations=_ROUNDS).derive(_bytes(passphrase))
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(start)).encryptor()
    hidden = encryptor.update(padder.update(encoded) + padder.finalize()) + encryptor.finalize()
    rounds = _der(0x02, _ROUNDS.to_bytes(_ROUNDS.bit_length() // 8 + 1, "big"))
    derivation = _der(0x30, _der(0x04, salt), rounds, _der(0x30, bytes.fromhex(_HMAC_SHA256)))
    schemes = (
        _der(0x30, bytes.fromhex(_PBKDF2), derivation),
        _der(0x30, bytes.fromhex(_AES_256_CBC), _der(0x04, start)),
    )
    return _der(0x30, _der(0x30, bytes.fromhex(_PBES2), _der(0x30, *schemes)), _der(0x04, hidden))


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    length = len(body)
    if length < 0x80:
        return bytes([tag, length]) + body
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body
