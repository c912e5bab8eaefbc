# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read X.509 certificates with the standard library alone, for hosts that have nothing else.

A reader of the DER of RFC 5280, only of the fields that decisions are made on. It verifies no signature.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, holds_private_key
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der, names

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_SUBJECT_KEY_ID, _SUBJECT_ALT_NAME, _BASIC_CONSTRAINTS = "2.5.29.14", "2.5.29.17", "2.5.29.19"
_EXTENDED_KEY_USAGE = "2.5.29.37"
_CURVES = {"1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521"}
# What may be between the two lines holds no hyphen: however long it is, it is read once
_PEM = re.compile(r"-----BEGIN (?:X509 )?CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END (?:X509 )?CERTIFICATE-----")
_BEGIN = re.compile("-----BEGIN (?:X509 )?CERTIFICATE-----")
_REQUEST = re.compile(r"-----BEGIN CERTIFICATE REQUEST-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----")


class Certificate(NamedTuple):
    """What a certificate says; a common name that it lacks is ''.

    Times are Unix seconds, key identifiers and the fingerprint lower-case hexadecimal.
    """

    der: bytes
    serial: int
    subject: bytes
    issuer: bytes
    common_name: str
    issuer_common_name: str
    not_before: int
    not_after: int
    names: tuple[names.Name, ...]
    key_type: str
    public_key: bytes
    is_ca: bool
    extended_key_usage: tuple[str, ...]
    subject_key_id: str
    authority_key_id: str

    @property
    def sha256(self) -> str:
        """Return the fingerprint, the way ``openssl x509 -fingerprint -sha256`` counts it."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def key_sha256(self) -> str:
        """Return the fingerprint of the public key alone, which certificates for one key have in common."""
        return hashlib.sha256(self.public_key).hexdigest()

    @property
    def pem(self) -> str:
        """Return the certificate as one PEM block."""
        text = base64.b64encode(self.der).decode("ascii")
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"

    @property
    def is_self_issued(self) -> bool:
        """Return whether issuer and subject are the same name, as in a root."""
        return self.issuer == self.subject

    @property
    def is_self_signed(self) -> bool:
        """Return whether OpenSSL takes it for signed by its own key: a name of its own, and no other key named."""
        return self.is_self_issued and self.authority_key_id in ("", self.subject_key_id)


def read_pem(text: str, source: str) -> list[Certificate]:
    """Return the certificates of a PEM text in its order. ``source`` (a path or option) names it in errors.

    As OpenSSL does, it skips whatever is before, between and behind them. Raises TlsError when it holds none or one
    that cannot be read.
    """
    blocks = _PEM.findall(text or "")
    if not blocks or len(blocks) != len(_BEGIN.findall(text)):
        raise TlsError(
            f"{source}: expected PEM certificates, found {_glimpse(text)}.",
            remedy="Give each whole, from its BEGIN to its END line, and no key.",
            code="certificate_not_pem",
        )
    return [read_der(_decoded(block, source), source) for block in blocks]


def read_chain(content: bytes | None, source: str) -> list[Certificate]:
    """Return a chain on disk, leaf first; an empty one when there is none (None) or it is damaged."""
    try:
        return read_pem(content.decode("ascii", "replace"), source) if content else []
    except TlsError:
        return []


def read_option(text: str, option: str) -> list[Certificate]:
    """Return the certificates of an option, which travels to hosts and into outputs. Raises TlsError, also for a key.

    Files on a host may hold a key beside certificates; ``read_pem`` is for those.
    """
    refuse_private_key(text, option)
    if "BEGIN TRUSTED CERTIFICATE" in (text or ""):  # read_pem would skip it, and OpenSSL does not
        raise TlsError(
            f"{option}: expected plain PEM certificates, found one with trust settings of OpenSSL (BEGIN TRUSTED "
            "CERTIFICATE).",
            remedy="Convert it: openssl x509 -in FILE prints it without them.",
            code="certificate_with_trust_settings",
        )
    return read_pem(text, option)


def refuse_private_key(text: str, option: str) -> None:
    """Raise TlsError when an option for what is public holds a private key, of whatever form."""
    if holds_private_key(text or ""):
        raise TlsError(
            f"{option}: expected only what is public, found a private key. Nothing was changed.",
            remedy="Remove the key from it. Anyone who can read this option has the key, so replace that key, too.",
            code="private_key_in_option",
        )


def read_der(encoded: bytes, source: str) -> Certificate:
    """Return the certificate that DER bytes encode. Raises TlsError, naming ``source``."""
    try:
        return _certificate(encoded)
    except (IndexError, ValueError, StopIteration, KeyError, UnicodeDecodeError) as error:
        raise TlsError(
            f"{source}: the certificate in it is damaged or of an unknown form ({error}).",
            remedy="Copy it again.",
            code="certificate_damaged",
        ) from error


class RequestedKey(NamedTuple):
    """The key that a request asks a certificate for: the DER of its public half, as in certificates, and its type."""

    public_key: bytes
    key_type: str


def requested_key(pem: str) -> RequestedKey:
    """Return the key that a PEM certificate request asks a certificate for. Raises TlsError."""
    block = _REQUEST.search(pem)
    try:
        request = der.read(base64.b64decode(block.group(1) if block else ""))[0]
        fields = list(der.read_all(next(der.read_all(request.body)).body))
        return RequestedKey(fields[2].whole, _key_type(fields[2].whole))
    except (IndexError, ValueError, StopIteration) as error:
        raise TlsError(f"The certificate request is damaged ({error}).", code="request_damaged") from error


def _glimpse(text: str) -> str:
    """Say what a text is without printing it: it might hold a key."""
    if not (text or "").strip():
        return "nothing"
    if "PRIVATE KEY" in text:
        return "a private key"
    if "-----BEGIN CERTIFICATE REQUEST" in text:
        return "a certificate request"
    return f"{len(text)} characters that are no whole PEM certificate"


def _decoded(block: str, source: str) -> bytes:
    try:
        return base64.b64decode("".join(block.split()), validate=True)
    except ValueError:
        raise TlsError(
            f"{source}: the base64 text of a PEM certificate in it is damaged.",
            remedy="Copy it again.",
            code="certificate_damaged",
        ) from None


def _key_type(public_key: bytes) -> str:
    algorithm, bits = der.read_all(der.read(public_key)[0].body)
    parts = list(der.read_all(algorithm.body))
    oid = der.oid(parts[0].body)
    if oid == "1.2.840.10045.2.1":
        return _CURVES.get(der.oid(parts[1].body), "EC-other")
    if oid == "1.2.840.113549.1.1.1":
        modulus = next(der.read_all(der.read(bits.body[1:])[0].body))
        return f"RSA-{int.from_bytes(modulus.body, 'big').bit_length()}"
    return {"1.3.101.112": "Ed25519", "1.3.101.113": "Ed448"}.get(oid, oid)


def _alternative_names(extension: bytes | None) -> tuple[names.Name, ...]:
    found = []
    for value in der.read_all(der.read(extension)[0].body) if extension else ():
        if value.tag == 0x82:
            found.append(names.Name("dns", value.body.decode("ascii").lower()))
        elif value.tag == 0x87 and len(value.body) in (4, 16):
            found.append(names.Name("ip", names.unpacked_address(value.body)))
    return tuple(found)


def _is_ca(extension: bytes | None) -> bool:
    parts = list(der.read_all(der.read(extension)[0].body)) if extension else []
    return bool(parts) and parts[0].tag == 0x01 and parts[0].body != b"\0"


def _certificate(encoded: bytes) -> Certificate:
    outer, end = der.read(encoded)
    if outer.tag != 0x30 or end != len(encoded):
        raise ValueError("not one DER sequence")
    fields = list(der.read_all(next(der.read_all(outer.body)).body))
    if fields[0].tag == 0xA0:
        fields = fields[1:]  # the version
    serial, _signature, issuer, validity, subject, public_key = fields[:6]
    not_before, not_after = (der.moment(value) for value in der.read_all(validity.body))
    extensions = der.extensions(fields[6:], 0xA3)
    usages = extensions.get(_EXTENDED_KEY_USAGE)
    key_id = extensions.get(_SUBJECT_KEY_ID)
    return Certificate(
        der=encoded,
        serial=int.from_bytes(serial.body, "big", signed=True),
        subject=subject.whole,
        issuer=issuer.whole,
        common_name=der.common_name(subject.whole),
        issuer_common_name=der.common_name(issuer.whole),
        not_before=not_before,
        not_after=not_after,
        names=_alternative_names(extensions.get(_SUBJECT_ALT_NAME)),
        key_type=_key_type(public_key.whole),
        public_key=public_key.whole,
        is_ca=_is_ca(extensions.get(_BASIC_CONSTRAINTS)),
        extended_key_usage=tuple(der.oid(value.body) for value in der.read_all(der.read(usages)[0].body))
        if usages
        else (),
        subject_key_id=der.read(key_id)[0].body.hex() if key_id else "",
        authority_key_id=der.authority_key_id(extensions.get(der.AUTHORITY_KEY_ID)),
    )
