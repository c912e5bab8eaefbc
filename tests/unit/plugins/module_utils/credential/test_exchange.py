# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that came is what was asked for, and for the key that waits."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account
from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, names, openssl
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509

AUTHORITY = issuing.new_authority("client", "P-256", NOW)
SPEC = spec.Spec("app", (), "P-256", certificate.CLIENT_AUTH, [AUTHORITY.issuing])


@pytest.fixture
def keys(tmp_path: Path) -> exchange.Keys:
    user = account(pwd.getpwuid(os.geteuid()).pw_name, "test")
    return exchange.Keys(GenerationStore(str(tmp_path), user.owner), "app", user)


def issued(request: str, role: str = "app", age: int = 0) -> certificate.Certificate:
    leaf = issuing.new_leaf(
        issuing.Issuer.of(AUTHORITY.issuing, AUTHORITY.issuing_key),
        profiles.purpose("client"),
        issuing.Holder(role, ()),
        x509.load_pem_x509_csr(request.encode()).public_key(),
        issuing.Validity(NOW - age, NOW - age + 90 * DAY),
    )
    return certificate.read_der(leaf, "leaf")


def test_a_key_waits_until_its_certificate_came(keys: exchange.Keys) -> None:
    assert exchange.with_waiting_key(keys, SPEC, None) is None
    request = exchange.with_new_key(keys, SPEC)
    again = exchange.with_waiting_key(keys, SPEC, None)
    assert again is not None
    assert certificate.requested_key(again) == certificate.requested_key(request)
    assert exchange.waiting_key(keys, issued(request), "certificate") == Path(keys.path).read_bytes()


def test_a_key_that_is_in_use_or_of_another_type_does_not_wait(keys: exchange.Keys) -> None:
    exchange.with_new_key(keys, SPEC)
    assert exchange.with_waiting_key(keys, SPEC._replace(key_type="P-384"), None) is None
    assert exchange.with_waiting_key(keys, SPEC, Path(keys.path).read_bytes()) is None
    Path(keys.path).write_text("garbage")
    assert exchange.with_waiting_key(keys, SPEC, None) is None


def test_a_key_in_use_asks_only_if_it_is_the_one_of_the_certificate(keys: exchange.Keys, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_text(openssl.new_key("P-256"))
    public = openssl.public_key(str(path))
    request = exchange.with_key_at(str(path), keys.user, SPEC, public)
    assert request is not None
    assert certificate.requested_key(request).public_key == public
    assert exchange.with_key_at(str(path), keys.user, SPEC, public[:-1]) is None
    path.write_text("garbage")
    assert exchange.with_key_at(str(path), keys.user, SPEC, public) is None


def test_a_certificate_for_another_key_is_refused(keys: exchange.Keys) -> None:
    first = issued(exchange.with_new_key(keys, SPEC))
    exchange.with_new_key(keys, SPEC)
    with pytest.raises(TlsError, match=r"^certificate: the certificate was issued for another key than the one"):
        exchange.waiting_key(keys, first, "certificate")
    os.unlink(keys.path)
    with pytest.raises(TlsError, match=r"^certificate: no key waits for this certificate in "):
        exchange.waiting_key(keys, first, "certificate")


def test_a_certificate_that_was_not_asked_for_is_refused(keys: exchange.Keys) -> None:
    request = exchange.with_new_key(keys, SPEC)
    exchange.refuse_another([issued(request)], SPEC._replace(forced=True), "certificate", NOW)
    with pytest.raises(TlsError, match="did not issue what was asked for: common_name: report instead of app"):
        exchange.refuse_another([issued(request, "report")], SPEC, "certificate", NOW, may_be_due=True)


def test_one_that_is_due_soon_is_taken_only_where_it_may_be(keys: exchange.Keys) -> None:
    old = issued(exchange.with_new_key(keys, SPEC), age=80 * DAY)
    exchange.refuse_another([old], SPEC, "certificate", NOW, may_be_due=True)
    with pytest.raises(TlsError, match="did not issue what was asked for: expires_in_10d"):
        exchange.refuse_another([old], SPEC, "certificate", NOW)
    with pytest.raises(TlsError, match="expired_"):
        exchange.refuse_another([old], SPEC, "certificate", NOW + 11 * DAY, may_be_due=True)


AWKWARD = ("app", "älice", 'say "no"', "a\\b", "$HOME#;,+/=", " blank ", "x" * 63)


@pytest.mark.parametrize("role", AWKWARD)
def test_a_request_names_the_role_as_it_is(keys: exchange.Keys, role: str) -> None:
    request = x509.load_pem_x509_csr(exchange.with_new_key(keys, SPEC._replace(common_name=role)).encode())
    assert [one.value for one in request.subject] == [role]
    usages = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usages] == [certificate.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        request.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize(
    ("declared", "common_name"),
    [
        (["db1.example", "*.db.example", "192.0.2.1", "2001:db8::1"], "db1.example"),
        (["a" * 60 + ".example", "db1.example"], "db1.example"),
        (["a" * 60 + ".example"], ""),
    ],
)
def test_a_request_names_the_server_as_its_certificate_will(
    keys: exchange.Keys, declared: list[str], common_name: str
) -> None:
    wanted = names.parse_all(declared, "names")
    spec_ = spec.Spec(None, wanted, "P-256", certificate.SERVER_AUTH, [AUTHORITY.issuing])
    request = x509.load_pem_x509_csr(exchange.with_new_key(keys, spec_).encode())
    assert "".join(str(one.value) for one in request.subject) == common_name
    found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in found] == declared
