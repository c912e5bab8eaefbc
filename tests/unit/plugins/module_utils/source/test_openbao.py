# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a mount of OpenBao: which of them it gets to see. What a real one does with them: tests/system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import bao_api
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

COMPANY = companies.company()


class Mount:
    """A mount with the company's root that signs whatever it is asked for, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[TlsError] = []

    def read(self, path: str, _key: str, _kind: type = str) -> Mapping[str, Any]:
        return {"keys": []} if path.endswith("list=true") else {"certificate": COMPANY.root.pem}

    def write(self, _path: str, body: Mapping[str, Any], _key: str) -> Mapping[str, Any]:
        self.asked.append(body["common_name"])
        for error in self.errors:
            raise error
        key = x509.load_pem_x509_csr(body["csr"].encode()).public_key()
        leaf = companies.leaf(COMPANY.root, key, body["common_name"], [body["alt_names"]])
        return {"certificate": leaf.public_bytes(Encoding.PEM).decode()}

    def close(self) -> None:
        """Say nothing."""


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Mount:
    found = Mount()
    monkeypatch.setattr(bao_api, "Api", lambda _place, _options: found)
    return found


def request(place: Path, id_: str, usage: str = certificate.SERVER_AUTH) -> dict[str, Any]:
    (place / f"{id_}.key").write_text(openssl.new_key("P-256"))
    name = f"{id_}.example"
    csr = openssl.new_request(str(place / f"{id_}.key"), None, openssl.Wanted(name, parse_all([name], "names"), usage))
    return {"id": id_, "csr": csr, "reasons": ["due"], "names": [name]}


def garbled(place: Path, id_: str) -> dict[str, Any]:
    """Return a request whose names cannot be read, with a valid signature."""
    wanted = request(place, id_)
    key: Any = load_pem_private_key((place / f"{id_}.key").read_bytes(), None)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{id_}.example")])
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"no DER")
    builder = x509.CertificateSigningRequestBuilder(subject).add_extension(names, False)
    return {**wanted, "csr": builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()}


def sign(place: Path, *requests: dict[str, Any]) -> signing.SigningResult:
    (place / "ca").mkdir(exist_ok=True)
    source = {"type": "openbao", "url": "https://bao.example:8200", "role": "server", "token": "hvs.x"}
    order = signing.Order(str(place / "ca"), None, "server", requests, "90d", {"server": source})
    return signing.sign(order, NOW + DAY, is_dry=False)


def test_a_request_that_may_not_be_signed_stops_nobody_behind_it(mount: Mount, tmp_path: Path) -> None:
    more, nonsense = request(tmp_path, "db1", certificate.CLIENT_AUTH), garbled(tmp_path, "db2")
    other = {**request(tmp_path, "db3"), "names": ["db9.example"]}
    done = sign(tmp_path, more, nonsense, other, request(tmp_path, "db4"), request(tmp_path, "db5"))
    assert list(done.certificates) == ["db4", "db5"]
    assert "it asks for ExtendedKeyUsage" in done.refused["db1"]
    assert "its subject or its extensions cannot be read" in done.refused["db2"]
    assert "it asks for db3.example" in done.refused["db3"]
    assert mount.asked == ["db4.example", "db5.example"]


def test_what_concerns_all_requests_refuses_those_behind_it_unasked(mount: Mount, tmp_path: Path) -> None:
    mount.errors = [TlsError("The token has expired.", code="source_token_refused")]
    done = sign(tmp_path, request(tmp_path, "db1"), request(tmp_path, "db2"))
    assert done.refused == dict.fromkeys(("db1", "db2"), "The token has expired.")
    assert mount.asked == ["db1.example"]
