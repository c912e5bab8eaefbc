# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate requests as the inventory completes them: checked before anything is signed.

Of the CSR only the public key is used, after its self-signature has shown that the requester has the private key. Names
and role are the inventory's, so a host cannot ask for more than it was meant to have.
"""

from __future__ import annotations

import contextlib
import unicodedata
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Holder
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import refuse_private_key

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import PublicKey

LONGEST_ROLE = 63  # bytes; PostgreSQL cuts longer names (NAMEDATALEN); always fits into a common name


class Request(NamedTuple):
    """One certificate to issue, by ``authority``. ``public_key`` is None as long as there is no CSR (check mode).

    ``replaces`` is the serial number (hexadecimal) of the certificate in use, '' for none or if nobody said.
    """

    authority: str
    id: str
    holder: Holder
    reasons: tuple[str, ...]
    public_key: PublicKey | None
    csr: str = ""
    replaces: str = ""

    def in_words(self) -> str:
        """Return one line for people."""
        who = ", ".join(name.value for name in self.holder.names) or f"role {self.holder.common_name}"
        return f"{self.id}: {who}" + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def parse_all(
    authority: str, items: Sequence[Mapping[str, Any]], *, is_dry: bool
) -> tuple[list[Request], dict[str, str]]:
    """Return the requests that are right, in their order, and what is wrong with the others, by their ids.

    ``authority`` signs those that name no other. A dry run needs no CSR. Raises TlsError for ids by which certificates
    could not be returned.
    """
    found: dict[str, Request] = {}
    refused: dict[str, str] = {}
    for item in items:
        identity = _identity(item)
        if identity in found or identity in refused:
            raise TlsError(
                f"requests: the id {identity!r} appears twice, expected each id once. "
                "The certificates are returned by their ids.",
                code="request_id_duplicate",
            )
        try:
            request = parse(str(item.get("authority") or authority), item)
            if request.public_key is None and not is_dry:
                raise TlsError(
                    f"requests[{identity}].csr: expected a certificate request in PEM, found nothing.",
                    code="request_missing",
                )
        except TlsError as error:
            refused[identity] = error.message
        else:
            found[identity] = request
    return list(found.values()), refused


def parse(authority: str, item: Mapping[str, Any]) -> Request:
    """Return one request. Raises TlsError for whatever is wrong with it."""
    identity = _identity(item)
    option = f"requests[{identity}]"
    profiles.check_authority(authority, f"{option}.authority")
    holder = _server(item, option) if authority == profiles.SERVER else _client(item, option)
    csr = str(item.get("csr") or "")
    key = leaf_key(csr, f"{option}.csr") if csr else None
    replaces = str(item.get("replaces") or "").lower().lstrip("0")
    return Request(authority, identity, holder, tuple(item.get("reasons") or ()), key, csr, replaces)


def _identity(item: Mapping[str, Any]) -> str:
    identity = str(item.get("id") or "")
    if not identity or _control_character(identity):
        raise TlsError(f"requests: found the id {identity!r}, expected printable text.", code="request_id_invalid")
    return identity


def _server(item: Mapping[str, Any], option: str) -> Holder:
    if item.get("role"):
        raise TlsError(
            f"{option}.role: a server's certificate has names and no role. Was authority: client meant?",
            code="request_authority_mismatch",
        )
    found = names.parse_all(item.get("names"), f"{option}.names")
    return Holder(names.common_name(found), found)


def _client(item: Mapping[str, Any], option: str) -> Holder:
    if item.get("names"):
        raise TlsError(
            f"{option}.names: a client's certificate has a role and no names. Was authority: server meant?",
            code="request_authority_mismatch",
        )
    role = str(item.get("role") or "")
    size = len(role.encode("utf-8", "surrogatepass"))
    if not role or size > LONGEST_ROLE:
        raise TlsError(
            f"{option}.role: found a role name of {size} bytes, expected 1 to {LONGEST_ROLE}. Neither "
            "PostgreSQL nor a certificate's common name can hold a longer one.",
            code="role_name_invalid",
        )
    if _control_character(role):
        raise TlsError(
            f"{option}.role: {role!r} holds a control character, expected printable text.", code="role_name_invalid"
        )
    return Holder(role, ())


def _control_character(text: str) -> bool:
    """Return whether a text holds NUL, a line break or anything else that would deceive a reader or a log."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def leaf_key(csr: str, option: str) -> PublicKey:
    """Return the public key of a certificate request (PEM) whose requester has the private key to it.

    Raises TlsError, naming ``option``, for a damaged request, a wrong self-signature or a key that leaves may not have.
    """
    refuse_private_key(csr, option)
    try:
        request = x509.load_pem_x509_csr(csr.encode("ascii"))
        is_proven = request.is_signature_valid
        key: Any = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion):
        raise TlsError(
            f"{option}: expected a certificate request in PEM, found none that can be read.", code="request_unreadable"
        ) from None
    if not is_proven:
        raise TlsError(
            f"{option}: the signature of the request is wrong. Its sender may not have the key.",
            code="request_signature_wrong",
        )
    _refuse_weak_key(key, option)
    return key  # type: ignore[no-any-return]  # _refuse_weak_key lets only these types through


def _refuse_weak_key(key: Any, option: str) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in profiles.LEAF_CURVES:
            return
        found = f"the curve {key.curve.name}"
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= profiles.SMALLEST_LEAF_RSA:
            return
        found = f"RSA with {key.key_size} bits"
    else:
        found = "another kind of key"
    raise TlsError(
        f"{option}: found {found}, expected a key on the curve {' or '.join(profiles.LEAF_CURVES.values())}, Ed25519, "
        f"or RSA with at least {profiles.SMALLEST_LEAF_RSA} bits.",
        code="request_key_unsupported",
    )
