# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PKCS#12 files: the truststore as it is written, both kinds as openssl reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der, openssl, pkcs12
from cryptography.hazmat.primitives.serialization import load_pem_private_key

NOW = 1_790_000_000
FIRST, SECOND = (issuing.new_authority("server", "P-256", NOW).root for _number in range(2))


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_what_is_written_can_be_read(size: int) -> None:
    written = der.value(0x04, b"a" * size)
    read, end = der.read(written)
    assert (read.tag, read.body, end) == (0x04, b"a" * size, len(written))


@pytest.mark.parametrize(
    ("dotted", "encoded"),
    [
        ("2.5.29.37.0", "0604551d2500"),
        ("1.2.840.113549.1.7.1", "06092a864886f70d010701"),
        ("2.16.840.1.113894.746875.1.1", "060c6086480186f966adca7b0101"),
    ],
)
def test_object_identifiers(dotted: str, encoded: str) -> None:
    written = der.object_identifier(dotted)
    assert written.hex() == encoded
    assert der.oid(der.read(written)[0].body) == dotted


def test_the_same_roots_make_the_same_truststore() -> None:
    assert pkcs12.truststore([FIRST, SECOND]) == pkcs12.truststore([FIRST, SECOND])
    assert pkcs12.truststore([FIRST]) != pkcs12.truststore([SECOND])


def test_entries_of_a_truststore_have_names_of_their_own() -> None:
    twins = [one._replace(common_name="One name \N{SNOWMAN} \N{GRINNING FACE}") for one in (FIRST, SECOND)]
    made = pkcs12.truststore(twins)
    for one in twins:
        name = f"One name \N{SNOWMAN} \N{REPLACEMENT CHARACTER} {one.sha256[:8]}"
        assert name.encode("utf-16-be") in made


def test_a_truststore_opens_and_has_all_roots(tmp_path: Path) -> None:
    path = tmp_path / "truststore.p12"
    path.write_bytes(pkcs12.truststore([FIRST, SECOND]))
    assert pkcs12.opened(str(path), "") == pkcs12.Opened(b"", frozenset({FIRST.der, SECOND.der}))


def test_a_keystore_opens_with_its_password_alone_and_is_salted(tmp_path: Path) -> None:
    chain = openssl.throw_away("P-256")
    key = chain[: chain.index("-----BEGIN CERTIFICATE")].encode()
    path = tmp_path / "keystore.p12"
    made = [pkcs12.keystore(key, chain[len(key) :].encode(), "pass word", None) for _number in range(2)]
    assert made[0] != made[1]
    path.write_bytes(made[0])
    found = pkcs12.opened(str(path), "pass word")
    assert found is not None
    assert found.key == openssl.as_der(key)
    assert len(found.certificates) == 1
    assert pkcs12.opened(str(path), "pass") is None
    path.write_bytes(made[0][:-40])
    assert pkcs12.opened(str(path), "pass word") is None


def test_a_key_that_does_not_fit_makes_no_keystore() -> None:
    key, other = openssl.new_key("P-256"), openssl.throw_away("P-256")
    chain = other[other.index("-----BEGIN CERTIFICATE") :]
    with pytest.raises(TlsError, match=r"openssl could not make a PKCS#12 file: "):
        pkcs12.keystore(key.encode(), chain.encode(), "password")


@pytest.mark.parametrize("key_type", list(openssl.KEY_TYPES))
def test_a_key_in_der_is_the_same_key(key_type: str) -> None:
    pem = openssl.new_key(key_type).encode()
    assert load_pem_private_key(pem, None)
    assert der.read(openssl.as_der(pem))[0].whole == openssl.as_der(pem)


@pytest.mark.parametrize("pem", [b"", b"none", b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"])
def test_another_form_of_key_is_refused(pem: bytes) -> None:
    with pytest.raises(TlsError, match=r"not unencrypted PKCS#8.* Rerun with new_keys"):
        openssl.as_der(pem)
