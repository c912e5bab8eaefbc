# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys of authorities: made, written as PKCS#8 and read again."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Union

from ansible_collections.pgops.tls.plugins.module_utils.authority.profiles import AUTHORITY_KEY_TYPES
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    AuthorityKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

SHORTEST_PASSPHRASE = 8  # characters
_LONGEST = 1000  # bytes; openssl reads a line of 1,023
# The library's default is 2,048 rounds. An authority's files may lie in a repository, and a kit in a mailbox, so
# guessing must cost more, at 0.1 s for each key that a run opens.
ROUNDS = 200_000


def check_passphrase(passphrase: str | None) -> None:
    """Raise TlsError for a passphrase that must not be used (None, for keys that are not encrypted, is fine)."""
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        found = "an empty one" if not passphrase else "a shorter one"
        raise TlsError(
            f"{option('passphrase')}: expected at least {SHORTEST_PASSPHRASE} characters, found {found}.",
            remedy="Leave it out for keys that are not encrypted.",
            code="passphrase_too_short",
        )


def check_encryption(passphrase: str | None) -> None:
    """Raise TlsError if keys cannot be encrypted as wished, before anything is made.

    Keys that exist may have a passphrase that openssl would cut. They still open, and are asked for it only here.
    """
    if passphrase is None:
        return
    _openssl()
    if "\n" in passphrase or "\0" in passphrase or len(_bytes(passphrase)) > _LONGEST:
        raise TlsError(
            f"{option('passphrase')}: expected one line of at most {_LONGEST} bytes without a NUL, found another text. "
            "openssl cannot encrypt keys with it. Nothing was changed.",
            remedy="Choose another passphrase. If keys already have this one, encrypt them with the new one first.",
            code="passphrase_unusable",
        )


def check_type(key_type: str) -> None:
    """Raise TlsError for a type of key that authorities do not have."""
    if key_type not in AUTHORITY_KEY_TYPES:
        raise TlsError(
            f"key_type: an authority cannot have a key of type {key_type}, expected one of "
            f"{', '.join(AUTHORITY_KEY_TYPES)}. (Under an Ed25519 authority the channel binding of SCRAM fails; "
            "servers and clients may have Ed25519 keys.)",
            code="key_type_unsupported",
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
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem if passphrase is None else encrypted(pem, passphrase)


def from_pem(text: bytes, passphrase: str | None, path: str) -> AuthorityKey:
    """Return the key of a PEM file.

    Raises TlsError, naming ``path``, when passphrase and file do not fit each other, or for anything but a key that
    an authority can have.
    """
    is_encrypted = b"ENCRYPTED" in text
    if is_encrypted and passphrase is None:
        raise TlsError(
            f"{path}: the key is encrypted and no passphrase was given.",
            remedy=f"Set {option('passphrase')}.",
            code="passphrase_missing",
        )
    if not is_encrypted and passphrase is not None and b"PRIVATE KEY" in text:
        raise TlsError(
            f"{path}: a passphrase was given, but this key is not encrypted.",
            remedy=(
                f"Either leave {option('passphrase')} out, or encrypt all keys of the directory: "
                "openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 200000 -in KEY -out NEW."
            ),
            code="key_not_encrypted",
        )
    try:
        key = serialization.load_pem_private_key(text, _bytes(passphrase) if passphrase is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        # What the library says is left out: it says more about the content of the key than about the mistake.
        found = "the passphrase is wrong, or the file is damaged" if is_encrypted else "the file is damaged"
        raise TlsError(f"{path}: the private key cannot be read: {found}.", code="key_unreadable") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise TlsError(
            f"{path}: expected a key of type {', '.join(AUTHORITY_KEY_TYPES)}, found another type.",
            code="key_type_unsupported",
        )
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


def _openssl() -> str:
    return processes.find("openssl", "to encrypt private keys")


def encrypted(pem: bytes, passphrase: str) -> bytes:
    """Return a key (PKCS#8 PEM) as openssl encrypts it: the library does not let callers set the number of rounds.

    The passphrase goes through a pipe, so no argument, variable or file has it. Raises TlsError.
    """
    command = _openssl()
    how = ["-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", str(ROUNDS)]
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(_bytes(passphrase) + b"\n")
        given = ["-passout", f"fd:{reader}"]
        done = processes.run([command, "pkcs8", *how, *given], stdin=pem.decode("ascii"), descriptors=[reader])
    finally:
        os.close(reader)
    if done.status != 0:
        raise TlsError(
            f"{command} could not encrypt a private key: {done.errors.strip()}.",
            code="key_encryption_failed",
        )
    return done.output.encode("ascii")
