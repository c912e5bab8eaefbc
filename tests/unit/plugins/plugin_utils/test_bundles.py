# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles as providers publish them, made into clean roots; and files that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import library
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.plugin_utils import bundles
from ansible_collections.pgops.tls.tests import providers
from ansible_collections.pgops.tls.tests.anchors import KEYS, body
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

ROOTS = [providers.root(f"Region {number} Root") for number in range(147)]
ENDED = [providers.root(f"Ended {number}", start=NOW - 400 * DAY, days=365) for number in range(3)]
GENERATION = providers.Generation.made(1)
LEAF = providers.pem(GENERATION.leaf()[0])
OPTION = "postgres_client_trust"


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Files of one test have the names of those of another."""
    yield
    bundles.read.cache_clear()
    bundles._in_file.cache_clear()


def read(*paths: Path, now: int = NOW) -> bundles.Roots:
    return bundles.read(tuple(map(str, paths)), OPTION, now)


def refusal(path: Path) -> str:
    with pytest.raises(TlsError) as caught:
        read(path)
    return caught.value.message


def test_150_roots_in_all_forms_become_one_clean_text_whatever_their_order(tmp_path: Path) -> None:
    found = [read(*providers.bundles([*ROOTS, *ENDED], tmp_path / str(order), order)) for order in range(3)]
    assert len({one.pem for one in found}) == 1
    roots = certificate.read_pem(found[0].pem, "test")
    assert {one.der for one in roots} == {one.read.der for one in ROOTS}
    assert len(roots) == 147
    assert found[0].pem == "".join(one.pem for one in roots), "nothing else is in it"
    named = [
        warning for warning in found[0].warnings if "3 certificates have expired and are left out: CN=En" in warning
    ]
    assert len(named) == 1
    assert named[0].startswith(f"{OPTION}: {tmp_path}/0/all.pem: ")


def test_a_root_ends_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "two.pem"
    path.write_bytes(providers.pem(ROOTS[0].certificate) + providers.pem(ENDED[0].certificate))
    assert len(certificate.read_pem(read(path, now=NOW - 36 * DAY).pem, "test")) == 2
    assert len(certificate.read_pem(read(path, now=NOW - 35 * DAY).pem, "test")) == 1


def test_an_issuing_ca_is_left_out_with_a_warning_but_not_a_root_that_another_one_has_signed(tmp_path: Path) -> None:
    crossed = providers.companies.authority("Region 0 Root", ROOTS[1], key=ROOTS[0].key)
    path = tmp_path / "mixed.pem"
    parts = [ROOTS[0], crossed, GENERATION.issuing, GENERATION.root]
    path.write_bytes(b"".join(providers.pem(one.certificate) for one in parts))
    found = read(path)
    assert [one.common_name for one in certificate.read_pem(found.pem, "test")] == ["Provider Root G1", "Region 0 Root"]
    assert found.warnings == (
        f"{OPTION}: {path}: 1 certificates are issuing CAs and no roots and are left out: CN=Provider Issuing G1.",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LEAF, "expected certificates of CAs, found CN=orders, which is no CA. Remove it from the file."),
        (b"", "there is no certificate in it that can be read"),
        (b"hello", "there is no certificate in it that can be read"),
        (LEAF[:-40], "there is no certificate in it that can be read"),
        (LEAF.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "a certificate in it has trust settings of OpenSSL."),
        (providers.pem(ENDED[0].certificate), "expected at least one root that is valid now, found none in "),
        (providers.pem(GENERATION.issuing.certificate), "expected at least one root that is valid now, found none in "),
        (b"-" * (1 << 20) + b"-", "it is larger than 1048576 bytes"),
    ],
)
def test_what_is_refused_is_named_with_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "provider.pem"
    path.write_bytes(content)
    said = refusal(path)
    assert said.startswith(f"{OPTION}: ")
    assert str(path) in said
    assert message in said


@pytest.mark.parametrize("form", KEYS)
def test_a_private_key_is_refused_and_never_shown(tmp_path: Path, form: str) -> None:
    path = tmp_path / "provider.pem"
    path.write_bytes(providers.pem(ROOTS[0].certificate) + KEYS[form].encode())
    said = refusal(path)
    assert f"{path}: it holds a private key" in said
    assert not any(line in said for line in body(KEYS[form]))


def test_a_file_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    assert f"{OPTION}: {tmp_path}/none.pem: No such file or directory." in refusal(tmp_path / "none.pem")
    assert f"{OPTION}: {tmp_path}: expected a regular file, found" in refusal(tmp_path)


def test_without_the_library_pem_and_der_can_be_read_and_pkcs7_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {path.suffix: path for path in providers.bundles(ROOTS[:6], tmp_path)}
    monkeypatch.setattr(library, "is_usable", lambda: False)
    assert read(paths[".pem"], paths[".der"]).pem.count("BEGIN") == 6
    said = refusal(paths[".p7b"])
    assert "PKCS#7 can be read with cryptography >= 38 alone." in said
    assert "openssl pkcs7 -print_certs" in said
