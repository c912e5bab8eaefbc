# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate that came from elsewhere is what was asked for, and its chain up to a trusted root."""

from __future__ import annotations

import contextlib
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.chain import is_issued_by
from ansible_collections.pgops.tls.plugins.module_utils.x509.openssl import Wanted

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import NameOID

_EXTENSION_LISTS = ("1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14")  # in a CSR: of PKCS#9, and of Microsoft
_RERUN = "Run the whole playbook again. If it stays so, see what runs on that host."


def wanted(request: Request) -> Wanted:
    """Return what the inventory wants a certificate to say."""
    return Wanted(request.holder.common_name, request.holder.names, profiles.purpose(request.authority))


def public_key(request: Request) -> bytes:
    """Return the public key of a request that has a CSR (DER, as in certificates)."""
    if request.public_key is None:
        return b""
    return request.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def refuse_other_names(request: Request) -> None:
    """Raise TlsError for a CSR that asks for other names than the inventory gives to its host, or for more than names.

    CAs of others may sign whatever a CSR asks for, and a host that was taken over may ask for the certificate of a CA.
    """
    csr = x509.load_pem_x509_csr(request.csr.encode("ascii"))
    try:
        _refuse_names(request, csr.subject, sorted(_alternative_names(csr.extensions)))
        more = _more(csr, wanted(request).usage)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        # A signature over nonsense is valid, too, and whoever sent it must not stop the requests of others
        raise TlsError(
            f"requests[{request.id}].csr: its subject or its extensions cannot be read.",
            remedy=_RERUN,
            code="request_unreadable",
        ) from error
    if more:
        raise TlsError(
            f"requests[{request.id}].csr: it asks for {', '.join(more)}, expected names and one usage alone.",
            remedy=_RERUN,
            code="request_asks_for_more",
        )


def _refuse_names(request: Request, subject: x509.Name, named: Sequence[str]) -> None:
    said = [str(one.value) for one in subject]
    expected = [request.holder.common_name] if request.holder.common_name else []
    is_common_name = all(one.oid == NameOID.COMMON_NAME for one in subject)
    if said != expected or not is_common_name or named != sorted(name.value for name in request.holder.names):
        raise TlsError(
            f"requests[{request.id}].csr: it asks for {', '.join([*said, *named]) or 'no name'}, and the inventory "
            f"gives this host {', '.join([*expected, *(name.value for name in request.holder.names)])}.",
            remedy=_RERUN,
            code="request_names_differ",
        )


def _more(csr: x509.CertificateSigningRequest, usage: str) -> list[str]:
    """Return what a CSR asks for beyond names and a usage (OID). Raises ValueError if that cannot be read."""
    # With two lists of extensions in it, another program may read the one that was not looked at here
    lists = [one for one in csr.attributes if one.oid.dotted_string in _EXTENSION_LISTS]
    return [
        *(["several lists of extensions"] if len(lists) > 1 else []),
        *(
            f"{type(one.value).__name__} ({one.oid.dotted_string})"
            for one in csr.extensions
            if not _is_of_leaf(one.value, usage)
        ),
    ]


def _is_of_leaf(extension: x509.ExtensionType, usage: str) -> bool:
    """Return whether every leaf may have an extension. Programs of others than openssl ask for more of them."""
    if isinstance(extension, x509.BasicConstraints):
        return not extension.ca
    if isinstance(extension, x509.KeyUsage):
        return not extension.key_cert_sign and not extension.crl_sign
    if isinstance(extension, x509.ExtendedKeyUsage):
        return [one.dotted_string for one in extension] == [usage]
    return isinstance(extension, (x509.SubjectAlternativeName, x509.SubjectKeyIdentifier))


def _alternative_names(extensions: x509.Extensions) -> list[str]:
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in found]


def chain(
    request: Request, leaf: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate], now: int
) -> list[Certificate]:
    """Return a leaf with the CAs between it and a root, in their order. ``others`` may be any certificates.

    ``now`` is in Unix seconds. Raises TlsError with the differences for a leaf that is not what was asked for, or that
    no root vouches for.
    """
    above = way_up(leaf, usable(others, now), roots)
    differences = ["key: of another request"] if leaf.public_key != public_key(request) else []
    differences += ["profile: that of a CA"] if leaf.is_ca else []
    differences += due.reasons(leaf, _spec(request, leaf, roots), now)
    if above is None:
        differences.append(no_way(leaf, roots))
    if differences or above is None:
        raise not_as_requested(differences)
    return [leaf, *above]


def usable(others: Sequence[Certificate], now: int) -> list[Certificate]:
    """Return which of some certificates may stand between a leaf and a root. ``now`` is in Unix seconds."""
    return [one for one in others if one.is_ca and not one.is_self_signed and one.not_before <= now < one.not_after]


def no_way(one: Certificate, roots: Sequence[Certificate]) -> str:
    """Return that no chain leads from a certificate to a root, in words."""
    known = ", ".join(repr(root.common_name) for root in roots)
    return f"chain: none leads from issuer {one.issuer_common_name!r} to {known}"


def not_as_requested(differences: Sequence[str]) -> TlsError:
    """Return the error for a certificate that came, and differs from what was asked for."""
    return TlsError(f"not as requested: {'; '.join(differences)}.", code="certificate_not_as_requested")


def _spec(request: Request, leaf: Certificate, roots: Sequence[Certificate]) -> Spec:
    asked = wanted(request)
    is_server = request.authority == profiles.SERVER
    return Spec(None if is_server else asked.common_name, asked.names, leaf.key_type, asked.usage, roots)


def way_up(one: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate]) -> list[Certificate] | None:
    """Return the CAs from a certificate up to a root, without it; None when no way leads there. Signatures count."""
    if root_of(one, roots):
        return []
    for issuer in others:
        if _is_from(one, issuer):
            further = way_up(issuer, [other for other in others if other is not issuer], roots)
            if further is not None:
                return [issuer, *further]
    return None


def below(roots: Sequence[Certificate], others: Sequence[Certificate], now: int) -> list[Certificate]:
    """Return which of some certificates are those of CAs that a root vouches for. ``now`` is in Unix seconds."""
    found = {one.der: one for one in usable(others, now)}
    return [one for one in found.values() if way_up(one, list(found.values()), roots) is not None]


def root_of(one: Certificate, roots: Sequence[Certificate]) -> Certificate | None:
    """Return the root that has signed a certificate, None if none has."""
    return next((root for root in roots if _is_from(one, root)), None)


def _is_from(one: Certificate, issuer: Certificate) -> bool:
    return is_issued_by(one, issuer) and issuing.is_signed_by(one, issuer)
