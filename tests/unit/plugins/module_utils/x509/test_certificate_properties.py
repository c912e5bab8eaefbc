# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of certificates with any bytes, and with real certificates that were damaged."""

from __future__ import annotations

import time

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.tests.properties import attempt
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, sign
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def request_pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("request") / "key"
    path.write_text(openssl.new_key("P-256"))
    return openssl.new_request(str(path))


@pytest.fixture(scope="module")
def ders(request_pem: str) -> list[bytes]:
    names = ["db1.example.com", "192.0.2.1", "2001:db8::1"]
    leaf = certificate.read_pem(sign(request_pem, names), "leaf")[0]
    return [leaf.der, AUTHORITIES["server"].root.der, AUTHORITIES["client"].issuing.der]


def use(found: certificate.Certificate) -> None:
    """Do with a certificate what the product does."""
    assert certificate.read_der(found.der, "again") == found
    assert certificate.read_pem(found.pem, "again") == [found]
    assert isinstance(found.issuer_common_name, str)
    assert found.is_self_issued == (found.issuer == found.subject)
    assert len(found.sha256) == 64


@given(st.binary(max_size=400))
@example(b"\x30\x80")
@example(b"\x30\x84\xff\xff\xff\xff")
def test_any_bytes_are_refused_or_read(der: bytes) -> None:
    found, message = attempt(certificate.read_der, der, "here")
    assert message.startswith("here: ") if message else found.der == der


@given(st.data())
def test_a_damaged_certificate_is_refused_or_can_be_used(ders: list[bytes], data: st.DataObject) -> None:
    der = bytearray(data.draw(st.sampled_from(ders)))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(der) - 1), st.integers(0, 255)), max_size=4)):
        der[at] = byte
    found, message = attempt(certificate.read_der, bytes(der), "here")
    assert message or use(found) is None


def test_a_certificate_with_any_one_byte_changed_is_refused_or_can_be_used(ders: list[bytes]) -> None:
    for der in ders[:1]:
        for at in range(len(der)):
            for byte in (0, 0x30, 0x7F, 0x84, 0xFF, der[at] ^ 1):
                found, message = attempt(certificate.read_der, der[:at] + bytes([byte]) + der[at + 1 :], "here")
                assert message or use(found) is None


@given(st.data())
def test_a_part_of_a_certificate_is_refused(ders: list[bytes], data: st.DataObject) -> None:
    der = data.draw(st.sampled_from(ders))
    end = data.draw(st.integers(0, len(der) - 1))
    assert "damaged" in attempt(certificate.read_der, der[:end], "here")[1]
    assert "damaged" in attempt(certificate.read_der, der + der[: end + 1], "here")[1]


@given(st.text() | st.text(st.sampled_from("-BEGINCRTFAD \n+/=\u212a")), st.text(max_size=20))
def test_any_text_is_refused_as_pem_and_not_shown(text: str, more: str) -> None:
    for pem in (text, f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----{more}"):
        found, message = attempt(certificate.read_pem, pem, "roots")
        assert found is None
        assert message.startswith("roots: ")
        assert len(message) < 300
        assert attempt(certificate.requested_key, pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"))[1]


@given(st.data())
def test_a_damaged_request_is_refused_or_has_a_type_of_key(request_pem: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(request_pem) - 1))
    text = request_pem[:at] + data.draw(st.text(max_size=3)) + request_pem[at + data.draw(st.integers(0, 3)) :]
    found, message = attempt(certificate.requested_key, text)
    assert message or isinstance(found.key_type, str)


@pytest.mark.parametrize("filling", [" ", "A", "\n", "A\n", "-", "-----BEGIN CERTIFICATE-----", " A"])
def test_ten_megabytes_are_refused_in_a_moment(filling: str) -> None:
    started = time.process_time()
    assert attempt(
        certificate.read_pem, "-----BEGIN CERTIFICATE-----\n" + filling * (10_000_000 // len(filling)), "roots"
    )[1]
    assert time.process_time() - started < 3
