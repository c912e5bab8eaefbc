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
_MADE = "a certificate that was just made"
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
    ``crls`` are the first lists (PEM) of root and issuing CA of one that was just made; later they are files beside it.
    ``company`` is set where the root is a company's.
    """

    folder: str
    root: Certificate
    issuing: Certificate
    cross: Certificate | None = None
    crls: tuple[str, ...] = ()
    company: CompanyRoot | None = None

    @property
    def above(self) -> tuple[Certificate, ...]:
        """Return the CAs between the issuing CA and the root, of a company."""
        return self.company.above if self.company else ()


class CompanyRoot(NamedTuple):
    """What there is to know of a root that is a company's.

    ``above`` are its CAs between our issuing CA and its root. ``is_shared``: it signs for others, too. ``since`` is
    since when the root is trusted where this issuing CA has taken the place of a staged one, in Unix seconds, else 0.
    """

    above: tuple[Certificate, ...]
    is_shared: bool
    since: int = 0


class Authority(NamedTuple):
    """A generation of an authority with its keys. ``root_key`` is None once it is written."""

    name: str
    root: Certificate
    root_key: keys.AuthorityKey | None
    issuing: Certificate
    issuing_key: keys.AuthorityKey
    cross: Certificate | None = None
    crls: tuple[str, ...] = ()
    company: CompanyRoot | None = None


class Issuer:
    """A CA that signs: what all its signatures have in common is prepared once."""

    def __init__(self, name: x509.Name, key: keys.AuthorityKey, key_id: str = "") -> None:
        self._name = name
        self._key = key
        self._hash = keys.hash_for(key)
        by_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        # A company may name our key in its own way
        self._authority_key_id = x509.AuthorityKeyIdentifier(bytes.fromhex(key_id), None, None) if key_id else by_key

    @classmethod
    def of(cls, issuing: Certificate, key: keys.AuthorityKey) -> Issuer:
        """Return the issuer that a CA's certificate and its key make."""
        return cls(x509.load_der_x509_certificate(issuing.der).subject, key, issuing.subject_key_id)

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

    def sign_list(self, revoked: Sequence[x509.RevokedCertificate], validity: Validity, number: int) -> str:
        """Return a signed list of revoked certificates (PEM)."""
        builder = (
            x509.CertificateRevocationListBuilder(revoked_certificates=list(revoked))
            .issuer_name(self._name)
            .last_update(_moment(validity.not_before))
            .next_update(_moment(validity.not_after))
            .add_extension(self._authority_key_id, critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        return builder.sign(self._key, self._hash).public_bytes(Encoding.PEM).decode("ascii")


def new_authority(name: str, key_type: str, now: int) -> Authority:
    """Return a new root and, below it, a new issuing CA, in memory."""
    key = keys.new_key(key_type)
    root_name = _authority_name(f"PostgreSQL {name} root CA", key)
    validity = Validity(now - profiles.BACKDATED, now + profiles.ROOT_LIFE)
    extensions = _extensions(profiles.ROOT, profiles.purpose(name), key.public_key())
    der = Issuer(root_name, key).sign(root_name, key.public_key(), validity, extensions)
    return below(name, certificate.read_der(der, _MADE), key, now)


def below(name: str, root: Certificate, root_key: keys.AuthorityKey, now: int) -> Authority:
    """Return a new issuing CA below a root, with the root's type of key. It ends with the root at the latest."""
    key = keys.new_key(root.key_type)
    der = Issuer.of(root, root_key).sign(
        _issuing_name(name, key),
        key.public_key(),
        Validity(now - profiles.BACKDATED, min(now + profiles.ISSUING_LIFE, root.not_after)),
        _extensions(profiles.ISSUING, profiles.purpose(name), key.public_key()),
    )
    issuing = certificate.read_der(der, _MADE)
    lists = (
        _first_list(root, root_key, profiles.ROOT_LIST_LIFE, now),
        _first_list(issuing, key, profiles.ISSUING_LIST_LIFE, now),
    )
    return Authority(name, root, root_key, issuing, key, crls=lists)


def request(name: str, key: keys.AuthorityKey) -> str:
    """Return the request (PEM) for an issuing CA that a company is to sign, with all that it should have."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_issuing_name(name, key))
    for extension, is_critical in _extensions(profiles.ISSUING, profiles.purpose(name), key.public_key()):
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(key, keys.hash_for(key)).public_bytes(Encoding.PEM).decode("ascii")


def own_list(issuing: Certificate, key: keys.AuthorityKey, now: int) -> str:
    """Return the first list (PEM) of revoked certificates of an issuing CA, which is empty."""
    return _first_list(issuing, key, profiles.ISSUING_LIST_LIFE, now)


def _issuing_name(name: str, key: keys.AuthorityKey) -> x509.Name:
    return _authority_name(f"PostgreSQL {name} issuing CA", key)


def _first_list(owner: Certificate, key: keys.AuthorityKey, life: int, now: int) -> str:
    """Return a list (PEM) by which a CA revokes nothing. A root's is made while its key is at hand."""
    return Issuer.of(owner, key).sign_list((), Validity(now - profiles.BACKDATED, now + life), now)


def cross_signed(root: Certificate, by: Certificate, key: keys.AuthorityKey, now: int) -> Certificate | None:
    """Return a root's name and key as another root signs them, until the first of both ends.

    None when the other one lets no two CAs stand below it, as roots did that were made before there was a use for it.
    """
    allowed = x509.load_der_x509_certificate(by.der).extensions.get_extension_for_class(x509.BasicConstraints)
    if allowed.value.path_length is not None and allowed.value.path_length <= 1:
        return None
    loaded = x509.load_der_x509_certificate(root.der)
    public_key: Any = loaded.public_key()
    validity = Validity(max(now - profiles.BACKDATED, by.not_before), min(root.not_after, by.not_after))
    extensions = _extensions(profiles.CROSS, "", public_key)
    return certificate.read_der(Issuer.of(by, key).sign(loaded.subject, public_key, validity, extensions), _MADE)


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
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signed.signature, signed.tbs_certificate_bytes)
        else:
            padded = getattr(signed, "signature_algorithm_parameters", padding.PKCS1v15())  # since cryptography 41
            key.verify(signed.signature, signed.tbs_certificate_bytes, padded, algorithm)
    except (InvalidSignature, TypeError, AttributeError):
        return False
    return True


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _authority_name(text: str, key: keys.AuthorityKey) -> x509.Name:
    """Return a name that no other CA has: only software that reads AKIs can distinguish two roots with one name."""
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
