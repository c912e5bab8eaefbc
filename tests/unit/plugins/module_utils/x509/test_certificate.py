from __future__ import annotations

import datetime
import hashlib
import ipaddress
import subprocess
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DER = serialization.Encoding.DER
UTC = datetime.timezone.utc
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())


def make(
    *,
    key: Any = P256,
    subject: list[x509.NameAttribute] | None = None,
    serial: int = 1,
    starts: datetime.datetime = datetime.datetime(2026, 1, 1),
    ends: datetime.datetime = datetime.datetime(2026, 12, 31, 23, 59, 59),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    """Return a certificate signed with P-256. Dates are in UTC."""
    wanted = [x509.NameAttribute(NameOID.COMMON_NAME, "db1.example")] if subject is None else subject
    builder = x509.CertificateBuilder().subject_name(x509.Name(wanted)).public_key(key.public_key())
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "some CA")]))
    builder = builder.serial_number(serial).not_valid_before(starts).not_valid_after(ends)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(P256, hashes.SHA256())


def san(*wanted: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(wanted))


def attribute(oid: x509.ObjectIdentifier, text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.NameAttribute:
    return x509.NameAttribute(oid, text, kind)


CERTIFICATE_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "P-384": {"key": ec.generate_private_key(ec.SECP384R1())},
    "P-521": {"key": ec.generate_private_key(ec.SECP521R1())},
    "secp256k1": {"key": ec.generate_private_key(ec.SECP256K1())},
    "RSA": {"key": RSA},
    "RSA-3072": {"key": rsa.generate_private_key(65537, 3072)},
    "Ed25519": {"key": ed25519.Ed25519PrivateKey.generate()},
    "Ed448": {"key": ed448.Ed448PrivateKey.generate()},
    "longest serial": {"serial": (1 << 159) - 1},
    "serial with its highest bit set": {"serial": 0x80},
    "before 1970": {"starts": datetime.datetime(1950, 1, 1)},
    "in 2049": {"ends": datetime.datetime(2049, 12, 31, 23, 59, 59)},
    "in 2050": {"ends": datetime.datetime(2050, 1, 1)},
    "for ever": {"ends": datetime.datetime(9999, 12, 31, 23, 59, 59)},
    "leap day": {"ends": datetime.datetime(2028, 2, 29, 12, 0, 1)},
    "without subject": {"subject": []},
    "without common name": {"subject": [attribute(NameOID.ORGANIZATION_NAME, "Some Ltd")]},
    "longer subject": {
        "subject": [
            attribute(NameOID.COUNTRY_NAME, "DE", _ASN1Type.PrintableString),
            attribute(NameOID.ORGANIZATION_NAME, "Bücher 日本"),
            attribute(NameOID.COMMON_NAME, "röle"),
        ]
    },
    "printable common name": {"subject": [attribute(NameOID.COMMON_NAME, "orders", _ASN1Type.PrintableString)]},
    "UTF-16 common name": {"subject": [attribute(NameOID.COMMON_NAME, "röle", _ASN1Type.BMPString)]},
    "names": {
        "extensions": (
            san(
                x509.DNSName("db1.example"),
                x509.DNSName("*.DB.example"),
                x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                x509.RFC822Name("a@b.example"),
                x509.UniformResourceIdentifier("https://a.example"),
            ),
        )
    },
    "many names": {"extensions": (san(*(x509.DNSName(f"db{number}.example") for number in range(500))),)},
    "authority": {
        "extensions": (
            x509.BasicConstraints(ca=True, path_length=0),
            x509.SubjectKeyIdentifier.from_public_key(P256.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(RSA.public_key()),
        )
    },
    "authority without path length": {"extensions": (x509.BasicConstraints(ca=True, path_length=None),)},
    "no authority": {"extensions": (x509.BasicConstraints(ca=False, path_length=None),)},
    "issuer by name too": {
        "extensions": (
            x509.AuthorityKeyIdentifier(
                b"\x01\x02", [x509.DirectoryName(x509.Name([]))], authority_cert_serial_number=5
            ),
        )
    },
    "issuer by name alone": {
        "extensions": (
            x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(x509.Name([]))], authority_cert_serial_number=5),
        )
    },
    "one purpose": {"extensions": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),)},
    "two purposes": {
        "extensions": (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("2.999.16384.1")]),
        )
    },
}


@pytest.fixture(params=CERTIFICATE_KINDS, ids=lambda kind: kind.replace(" ", "_"))
def kind(request: pytest.FixtureRequest) -> x509.Certificate:
    return make(**CERTIFICATE_KINDS[request.param])


def extension(found: x509.Certificate, wanted: Any) -> Any:
    try:
        return found.extensions.get_extension_for_class(wanted).value
    except x509.ExtensionNotFound:
        return None


def seconds(moment: datetime.datetime) -> int:
    return int((moment.replace(tzinfo=UTC) - datetime.datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def moment(found: x509.Certificate, name: str) -> int:
    """Return a date of a certificate, by the name that this version of the library has for it."""
    return seconds(getattr(found, f"{name}_utc") if hasattr(found, f"{name}_utc") else getattr(found, name))


def test_simple_fields_agree_with_cryptography(kind: x509.Certificate) -> None:
    read = certificate.read_der(kind.public_bytes(DER), "x")
    assert read.serial == kind.serial_number
    assert read.subject == kind.subject.public_bytes()
    assert read.issuer == kind.issuer.public_bytes()
    assert read.not_before == moment(kind, "not_valid_before")
    assert read.not_after == moment(kind, "not_valid_after")
    assert read.sha256 == kind.fingerprint(hashes.SHA256()).hex()
    common_names = kind.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert read.common_name == (common_names[0].value if common_names else "")
    assert read.public_key == kind.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_extensions_agree_with_cryptography(kind: x509.Certificate) -> None:
    read = certificate.read_der(kind.public_bytes(DER), "x")
    basic, usage = extension(kind, x509.BasicConstraints), extension(kind, x509.ExtendedKeyUsage)
    own, issuers = extension(kind, x509.SubjectKeyIdentifier), extension(kind, x509.AuthorityKeyIdentifier)
    alternative = extension(kind, x509.SubjectAlternativeName) or ()
    assert read.is_ca is bool(basic and basic.ca)
    assert read.extended_key_usage == tuple(oid.dotted_string for oid in usage or ())
    assert read.subject_key_id == (own.digest.hex() if own else "")
    assert read.authority_key_id == (issuers.key_identifier.hex() if issuers and issuers.key_identifier else "")
    expected = [Name("dns", name.value.lower()) for name in alternative if isinstance(name, x509.DNSName)]
    expected += [Name("ip", str(name.value)) for name in alternative if isinstance(name, x509.IPAddress)]
    assert list(read.names) == expected


@pytest.mark.parametrize(
    ("kind_of_key", "expected"),
    [
        ("plain", "P-256"), ("P-384", "P-384"), ("P-521", "P-521"), ("secp256k1", "EC-other"), ("RSA", "RSA-2048"),
        ("RSA-3072", "RSA-3072"), ("Ed25519", "Ed25519"), ("Ed448", "Ed448"),
    ],
)  # fmt: skip
def test_the_type_of_the_key_is_named(kind_of_key: str, expected: str) -> None:
    found = make(**CERTIFICATE_KINDS[kind_of_key])
    assert certificate.read_der(found.public_bytes(DER), "x").key_type == expected


def test_a_pem_text_is_read_in_its_order_and_written_as_it_was() -> None:
    pems = [make(serial=number).public_bytes(serialization.Encoding.PEM).decode("ascii") for number in (7, 8)]
    noise = "subject=CN = some words that openssl writes\n"
    read = certificate.read_pem(noise + pems[0] + "\r\n" + noise + pems[1].replace("\n", "\r\n"), "chain")
    assert [found.serial for found in read] == [7, 8]
    assert [found.pem for found in read] == pems


def test_openssls_own_certificates_are_read() -> None:
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-days", "12000",
         "-subj", "/O=x/CN=snake oil", "-addext", "subjectAltName=DNS:a.example,IP:::1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    read = certificate.read_pem(done.stdout, "x")[0]
    assert (read.common_name, read.key_type, read.is_ca) == ("snake oil", "RSA-2048", True)
    assert read.names == (Name("dns", "a.example"), Name("ip", "::1"))
    assert read.is_self_issued
    assert read.subject_key_id == read.authority_key_id != ""
    assert read.not_after - read.not_before == 12000 * 86400


def test_a_negative_serial_is_read_as_one() -> None:
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x",
         "-set_serial", "-5"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert certificate.read_pem(done.stdout, "x")[0].serial == -5


def test_a_value_that_is_longer_than_what_holds_it_is_an_error() -> None:
    der = make(extensions=(san(x509.DNSName("db9.example")),)).public_bytes(DER)
    assert certificate.read_der(der, "x").names == (Name("dns", "db9.example"),)
    with pytest.raises(TlsError, match="truncated"):
        certificate.read_der(der.replace(b"\x82\x0bdb9", b"\x82\x0cdb9"), "x")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "nothing"),
        (" \n", "nothing"),
        ("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----", "a private key"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "a certificate request"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "32 characters"),
        ("-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----", "58 characters"),
    ],
)
def test_what_is_no_certificate_is_named_and_not_shown(text: str, found: str) -> None:
    with pytest.raises(TlsError, match=rf"^server\.crt: expected PEM certificates, found {found}") as caught:
        certificate.read_pem(text, "server.crt")
    assert "secret" not in str(caught.value)


def test_a_whole_certificate_before_a_torn_one_is_not_enough() -> None:
    pem = make().public_bytes(serialization.Encoding.PEM).decode("ascii")
    with pytest.raises(TlsError, match="no whole PEM certificate"):
        certificate.read_pem(pem + pem[:100], "chain")


def test_damaged_base64_is_an_error() -> None:
    with pytest.raises(TlsError, match="base64"):
        certificate.read_pem("-----BEGIN CERTIFICATE-----\nAAAAA\n-----END CERTIFICATE-----\n", "chain")


def full() -> bytes:
    """Return a certificate (DER) with all that the reader looks at."""
    return make(
        key=RSA,
        extensions=(
            *CERTIFICATE_KINDS["names"]["extensions"],
            *CERTIFICATE_KINDS["authority"]["extensions"],
            *CERTIFICATE_KINDS["two purposes"]["extensions"],
        ),
    ).public_bytes(DER)


def test_a_certificate_that_was_cut_off_anywhere_is_an_error() -> None:
    der = full()
    for size in range(len(der)):
        with pytest.raises(TlsError, match=r"^x: the certificate in it is damaged"):
            certificate.read_der(der[:size], "x")


def test_bytes_behind_a_certificate_are_an_error() -> None:
    with pytest.raises(TlsError):
        certificate.read_der(full() + b"\0", "x")


def test_changed_bytes_never_end_in_anything_but_our_error() -> None:
    der = full()
    noise = hashlib.shake_256(b"changed").digest(len(der))
    refused = 0
    for position in range(len(der)):
        for byte in (0x00, 0x7F, 0x80, 0x81, 0x84, 0xFF, der[position] ^ 0x01, noise[position]):
            refused += not _is_readable(der[:position] + bytes([byte]) + der[position + 1 :])
    assert refused > len(der)  # the loop does reach the reader


def test_random_bytes_never_end_in_anything_but_our_error() -> None:
    tags = b"\x30\x02\x03\x06\x17\xa0\xa3\x80\x00\x01\xff"
    noise = hashlib.shake_256(b"random").digest(60 * 3000)
    for start in range(0, len(noise), 60):
        size = noise[start] % 60
        body = bytes(tags[byte % len(tags)] for byte in noise[start : start + size])
        assert not _is_readable(body)
        assert not _is_readable(b"\x30" + bytes([len(body)]) + body)


def _is_readable(der: bytes) -> bool:
    try:
        certificate.read_der(der, "x")
    except TlsError:
        return False
    return True
