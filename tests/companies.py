# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company's CA as its security team runs it: a root, CAs below it, and certificates in its own style."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.shared import FIVE_YEARS, NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

BOTH = (certificate.SERVER_AUTH, certificate.CLIENT_AUTH)


class Authority(NamedTuple):
    """A CA with its key. With a key of somebody else it is a forger: only its signatures give it away."""

    certificate: x509.Certificate
    key: Any

    @property
    def read(self) -> Certificate:
        """Return its certificate as the collection reads it."""
        return as_read(self.certificate)

    @property
    def pem(self) -> str:
        """Return its certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()


def as_read(found: x509.Certificate) -> Certificate:
    """Return a certificate as the collection reads it."""
    return certificate.read_der(found.public_bytes(Encoding.DER), "test")


def authority(
    name: str,
    above: Authority | None = None,
    *,
    start: int = NOW,
    days: int = 3650,
    key: Any = None,
    path_length: int | None = None,
) -> Authority:
    """Return a new CA below another one, or a root; with a ``key`` one that is certified again."""
    if key is None:
        key = rsa.generate_private_key(65537, 2048) if above is None else ec.generate_private_key(ec.SECP256R1())
    extensions = [(x509.BasicConstraints(True, path_length), True)]
    return Authority(_sign(name, key.public_key(), above or Authority(None, key), extensions, (start, days)), key)  # type: ignore[arg-type]


def leaf(
    issuer: Authority,
    public_key: Any,
    common_name: str,
    names: Iterable[str] = (),
    *,
    usages: Sequence[str] = BOTH,
    start: int = NOW,
    days: float = 365,
    organization: str = "",
    is_ca: bool = False,
) -> x509.Certificate:
    """Return a certificate for a key, with what is said here, whatever was asked for."""
    alternatives = [_name(name) for name in names]
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(is_ca, None), True)]
    if alternatives:
        extensions.append((x509.SubjectAlternativeName(alternatives), False))
    if usages:
        extensions.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(one) for one in usages]), False))
    return _sign(common_name, public_key, issuer, extensions, (start, days), organization=organization)


def intermediate(
    issuer: Authority,
    request: x509.CertificateSigningRequest,
    *,
    start: int = NOW,
    days: float = 1825,
    leave: Sequence[type] = (),
    instead: Sequence[Any] = (),
    key_id: x509.SubjectKeyIdentifier | None = None,
) -> x509.Certificate:
    """Return the certificate of a CA as it was requested, without the kinds of extensions to ``leave`` out."""
    extensions = [(one.value, one.critical) for one in request.extensions if not isinstance(one.value, tuple(leave))]
    names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return _sign(
        str(names[0].value),
        request.public_key(),
        issuer,
        [*extensions, *((one, True) for one in instead)],
        (start, days),
        key_id=key_id,
    )


def revocation_list(issuer: Authority, *serials: int, start: int = NOW, days: float = 30) -> bytes:
    """Return a list of revoked certificates (DER)."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(_moment(start)).next_update(_moment(start + int(days * 86400)))
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(start))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def as_pem(revoked: bytes) -> str:
    """Return a list of revoked certificates in PEM."""
    return f"-----BEGIN X509 CRL-----\n{base64.encodebytes(revoked).decode()}-----END X509 CRL-----\n"


def unreadable(path: Path) -> None:
    """Make a file that cannot be read, not even by root: nothing is at the beginning of a process's memory."""
    if os.geteuid():
        path.touch(0o000)
    else:
        path.symlink_to("/proc/self/mem")


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _sign(
    name: str,
    public_key: Any,
    issuer: Authority,
    extensions: Iterable[tuple[Any, bool]],
    life: tuple[int, float],
    *,
    organization: str = "",
    key_id: x509.SubjectKeyIdentifier | None = None,
) -> x509.Certificate:
    parts = [(x509.NameOID.ORGANIZATION_NAME, organization), (x509.NameOID.COMMON_NAME, name)]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
    starts = _moment(life[0])
    above = issuer.certificate.extensions if issuer.certificate else ()
    known = [one.value for one in above if isinstance(one.value, x509.SubjectKeyIdentifier)]
    by_name = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier
    named = by_name(known[0]) if known else x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer.certificate else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + datetime.timedelta(days=life[1]))
        .add_extension(key_id or x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        .add_extension(named, False)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(issuer.key, hashes.SHA256())


class Company(NamedTuple):
    """A root, a policy CA below it, and two CAs that take turns in issuing."""

    root: Authority
    policy: Authority
    issuing: tuple[Authority, Authority]

    def chain(self, found: x509.Certificate, turn: int = 0) -> list[Certificate]:
        """Return a leaf of one of the issuing CAs with the CAs above it, without the root."""
        return [as_read(found), self.issuing[turn].read, self.policy.read]


def company(name: str = "Example", *, start: int = NOW - FIVE_YEARS // 2) -> Company:
    """Return a new company's CAs."""
    root = authority(f"{name} Root", start=start)
    policy = authority(f"{name} Policy", root, start=start)
    first, second = (authority(f"{name} Issuing {number}", policy, start=start) for number in (1, 2))
    return Company(root, policy, (first, second))
