# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates made and signed: authorities and the leaves below them."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence, Union

from ansible_collections.pgops.tls.plugins.module_utils.authority import keys, profiles
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    PublicKey = Union[ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey]
_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Validity(NamedTuple):
    """The first and the last second (Unix time) of a certificate."""

    not_before: int
    not_after: int


class Holder(NamedTuple):
    """Whom a leaf names: a common name (may be empty) and alternative names (may be none)."""

    common_name: str
    names: Sequence[Name]


class Generation(NamedTuple):
    """The certificates in one folder of an authority. ``folder`` is '' for one that is in memory only (dry run).

    ``cross`` is the root as the root before it has signed it: with it in their chains, certificates pass also where
    only that one is trusted. None where there was no root before, or its key was not at hand.
    """

    folder: str
    root: Certificate
    issuing: Certificate
    cross: Certificate | None = None


class Authority(NamedTuple):
    """A generation of the server CA or the client CA with its keys. ``root_key`` is None once it is written."""

    name: str
    root: Certificate
    root_key: keys.AuthorityKey | None
    issuing: Certificate
    issuing_key: keys.AuthorityKey
    cross: Certificate | None = None


class Issuer:
    """A CA that signs: what all its signatures have in common is prepared once."""

    def __init__(self, name: x509.Name, key: keys.AuthorityKey) -> None:
        self._name = name
        self._key = key
        self._hash = keys.hash_for(key)
        self._authority_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())

    @classmethod
    def of(cls, issuing: Certificate, key: keys.AuthorityKey) -> Issuer:
        """Return the issuer that a CA's certificate and its key make."""
        return cls(x509.load_der_x509_certificate(issuing.der).subject, key)

    def sign(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        validity: Validity,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> bytes:
        """Return a signed certificate (DER) with a random serial of 159 bits and both key identifiers."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(validity.not_before))
            .not_valid_after(_moment(validity.not_after))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._authority_key_id, critical=False)
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(self._key, self._hash).public_bytes(Encoding.DER)


def new_authority(name: str, key_type: str, now: int) -> Authority:
    """Return a new root and, below it, a new issuing CA, in memory. ``name`` is ``server`` or ``client``."""
    purpose = profiles.PURPOSES[name]
    root_key, issuing_key = keys.new_key(key_type), keys.new_key(key_type)
    root_name = _authority_name(f"PostgreSQL {name} root CA", root_key)
    root_issuer = Issuer(root_name, root_key)
    start = now - profiles.BACKDATED
    root = root_issuer.sign(
        root_name,
        root_key.public_key(),
        Validity(start, now + profiles.ROOT_LIFE),
        _extensions(profiles.ROOT, purpose, root_key.public_key()),
    )
    issuing = root_issuer.sign(
        _authority_name(f"PostgreSQL {name} issuing CA", issuing_key),
        issuing_key.public_key(),
        Validity(start, now + profiles.ISSUING_LIFE),
        _extensions(profiles.ISSUING, purpose, issuing_key.public_key()),
    )
    made = "a certificate that was just made"
    return Authority(name, certificate.read_der(root, made), root_key, certificate.read_der(issuing, made), issuing_key)


def new_leaf(issuer: Issuer, purpose: str, holder: Holder, public_key: PublicKey, validity: Validity) -> bytes:
    """Return a leaf (DER) for ``purpose``, the OID of an extended key usage."""
    extensions = _extensions(profiles.LEAF, purpose, public_key)
    if holder.names:
        # RFC 5280, 4.2.1.6: critical when there is no subject to name the holder.
        names = x509.SubjectAlternativeName([_general_name(name) for name in holder.names])
        extensions.append((names, not holder.common_name))
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, holder.common_name)] if holder.common_name else []
    return issuer.sign(x509.Name(subject), public_key, validity, extensions)


def is_signed_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether the issuer's key made the child's signature."""
    signed = x509.load_der_x509_certificate(child.der)
    key: Any = x509.load_der_x509_certificate(issuer.der).public_key()
    algorithm: Any = signed.signature_hash_algorithm
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signed.signature, signed.tbs_certificate_bytes, ec.ECDSA(algorithm))
        else:
            key.verify(signed.signature, signed.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
    except (InvalidSignature, TypeError, AttributeError):
        return False
    return True


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _authority_name(text: str, key: keys.AuthorityKey) -> x509.Name:
    """Return a name that no other CA has: two roots with one name are told apart only by software that reads AKIs."""
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{text} {key_id[:8]}")])


def _general_name(name: Name) -> x509.GeneralName:
    if name.kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(name.value))
    return x509.DNSName(name.value)


def _extensions(
    profile: profiles.Profile, purpose: str, public_key: PublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    """Return the extensions of a profile, each with whether it is critical."""
    usages = profile.key_usage_of_rsa if isinstance(public_key, rsa.RSAPublicKey) else profile.key_usage
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=profile.is_ca, path_length=profile.path_length), True),
        (x509.KeyUsage(**{usage: usage in usages for usage in _KEY_USAGES}), True),
    ]
    if profile.is_purpose_named:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), False))
    return found
