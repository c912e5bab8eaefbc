from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, keys
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import declared
from ansible_collections.pgops.tls.tests import companies, guides
from ansible_collections.pgops.tls.tests.shared import NOW
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

Run = Callable[..., Any]
LONG_PASSPHRASE = "Correct horse, batterie ö"


@pytest.fixture(scope="module")
def key() -> keys.AuthorityKey:
    return keys.new_key("P-256")


@pytest.mark.parametrize("key_type", ["P-256", "P-384", "RSA-3072"])
@pytest.mark.parametrize("passphrase", [None, LONG_PASSPHRASE])
def test_a_key_is_read_as_it_was_written(key_type: str, passphrase: str | None) -> None:
    made = keys.new_key(key_type)
    read = keys.from_pem(keys.to_pem(made, passphrase), passphrase, "x.key")
    assert keys.public_der(read) == keys.public_der(made)


def test_openssl_opens_an_encrypted_key_with_the_passphrase(key: keys.AuthorityKey, run: Run, tmp_path: Path) -> None:
    path, secret = tmp_path / "ca.key", tmp_path / "secret"
    path.write_bytes(keys.to_pem(key, LONG_PASSPHRASE))
    secret.write_text(LONG_PASSPHRASE, encoding="utf-8")
    done = run("openssl", "pkey", "-in", path, "-passin", f"file:{secret}", "-pubout")
    expected = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert done.stdout == expected.decode("ascii")


@pytest.mark.skipif(shutil.which("certtool") is None, reason="GnuTLS's certtool is not installed")
def test_gnutls_opens_an_encrypted_key_too(key: keys.AuthorityKey, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    path.write_bytes(keys.to_pem(key, "only-ascii-here"))
    done = run("certtool", "--key-info", "--pkcs8", "--password=only-ascii-here", f"--infile={path}")
    assert done.returncode == 0, done.stderr
    assert "EC/ECDSA" in done.stdout


def test_guessing_a_passphrase_takes_200000_rounds(key: keys.AuthorityKey, run: Run) -> None:
    shown = run("openssl", "asn1parse", stdin=keys.to_pem(key, LONG_PASSPHRASE).decode("ascii")).stdout
    assert f":{200_000:06X}" in shown
    assert ":hmacWithSHA256" in shown
    assert ":aes-256-cbc" in shown


def test_the_same_key_never_looks_the_same_encrypted(key: keys.AuthorityKey) -> None:
    assert keys.to_pem(key, LONG_PASSPHRASE) != keys.to_pem(key, LONG_PASSPHRASE)


def test_a_wrong_passphrase_is_an_error_that_shows_neither(key: keys.AuthorityKey) -> None:
    with pytest.raises(TlsError, match=r"/ca/x\.key: .*passphrase is wrong") as caught:
        keys.from_pem(keys.to_pem(key, LONG_PASSPHRASE), "another-secret", "/ca/x.key")
    assert "another-secret" not in str(caught.value.as_result())
    assert LONG_PASSPHRASE not in str(caught.value.as_result())


def test_a_missing_passphrase_is_named(key: keys.AuthorityKey) -> None:
    with pytest.raises(TlsError, match=r"/ca/x\.key: the key is encrypted and no passphrase was given"):
        keys.from_pem(keys.to_pem(key, LONG_PASSPHRASE), None, "/ca/x.key")


def test_a_needless_passphrase_is_named(key: keys.AuthorityKey) -> None:
    with pytest.raises(TlsError, match="passphrase was given, but this key is not encrypted"):
        keys.from_pem(keys.to_pem(key, None), LONG_PASSPHRASE, "/ca/x.key")


@pytest.mark.parametrize("passphrase", [None, LONG_PASSPHRASE])
@pytest.mark.parametrize("text", [b"", b"\xff\x00", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_an_error_that_names_its_file(text: bytes, passphrase: str | None) -> None:
    with pytest.raises(TlsError, match=r"^/ca/x\.key: "):
        keys.from_pem(text, passphrase, "/ca/x.key")


def test_an_encrypted_key_that_was_cut_off_is_an_error(key: keys.AuthorityKey) -> None:
    text = keys.to_pem(key, LONG_PASSPHRASE)
    for size in range(0, len(text) - 2, 7):
        with pytest.raises(TlsError, match=r"^/ca/x\.key: "):
            keys.from_pem(text[:size], LONG_PASSPHRASE, "/ca/x.key")


def test_an_ed25519_key_is_no_authoritys_key() -> None:
    text = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(TlsError, match="found another type"):
        keys.from_pem(text, None, "/ca/x.key")


@pytest.mark.parametrize("key_type", ["Ed25519", "RSA-2048", "P-521", ""])
def test_other_types_of_authorities_keys_are_refused_with_the_reason(key_type: str) -> None:
    with pytest.raises(TlsError, match="channel binding"):
        keys.new_key(key_type)


@pytest.mark.parametrize("passphrase", ["two lines\nof it", "with a \0 in it", "ö" * 501])
def test_a_passphrase_that_openssl_would_cut_is_refused_without_showing_it(passphrase: str) -> None:
    with pytest.raises(TlsError, match=r"^passphrase: expected one line of at most 1000 bytes") as caught:
        keys.check_encryption(passphrase)
    assert passphrase[:8] not in caught.value.message
    keys.check_passphrase(passphrase)  # keys that exist may have it
    keys.check_encryption("ö" * 500)


@pytest.mark.parametrize("passphrase", ["ö" * 500, "12345678", " blanks at both ends ", "'\"$(id)`\\"])
def test_any_other_passphrase_opens_what_it_closed(key: keys.AuthorityKey, passphrase: str) -> None:
    keys.check_encryption(passphrase)
    read = keys.from_pem(keys.to_pem(key, passphrase), passphrase, "x.key")
    assert keys.public_der(read) == keys.public_der(key)


@pytest.mark.parametrize(("passphrase", "found"), [("", "an empty one"), ("1234567", "a shorter one")])
def test_a_short_passphrase_is_refused_without_showing_it(passphrase: str, found: str) -> None:
    with pytest.raises(TlsError, match=found) as caught:
        keys.check_passphrase(passphrase)
    assert "1234567" not in str(caught.value)


def test_eight_characters_or_none_are_accepted() -> None:
    keys.check_passphrase("12345678")
    keys.check_passphrase(None)


@pytest.mark.parametrize(("key_type", "name"), [("P-256", "sha256"), ("P-384", "sha384"), ("RSA-3072", "sha256")])
def test_the_hash_is_as_strong_as_the_key(key_type: str, name: str) -> None:
    assert keys.hash_for(keys.new_key(key_type)).name == name


def test_keys_on_curves_have_that_curve() -> None:
    made = keys.new_key("P-384")
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    assert made.curve.name == "secp384r1"


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Any]:
    """Return sources of which one is a company: the key of that issuing CA waits."""
    roots = tmp_path / "roots.pem"
    roots.write_text(companies.company().root.pem)
    return {"server": {"type": "own", "directory": str(tmp_path / "requests"), "roots": str(roots)}}


def test_the_passphrase_of_all_keys_is_changed_as_the_page_says(tmp_path: Path, sources: dict[str, Any]) -> None:
    place = tmp_path / "postgres-ca"
    wish = keeping.Wish(str(place), "P-256", None, "90d", sources=declared.parse(sources, "sources"))
    wish = wish._replace(companies=declared.below_company(sources, "sources"))
    keeping.keep(wish, NOW, is_dry=False)
    before = {path: keys.public_der(keys.from_pem(path.read_bytes(), None, "x")) for path in place.rglob("*.key")}
    assert len(before) == 3, "two of the own authority, and one that waits for the company"
    script = "\n".join(command for command, _shown in guides.commands_of("guide_failure", "test_keys").commands())
    for old, new in (("", LONG_PASSPHRASE), (LONG_PASSPHRASE, "another one")):
        asked = f"{old}\n{new}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, input=asked, text=True, capture_output=True, check=True
        )
        assert "not changed" not in done.stdout
        shutil.rmtree(tmp_path / "postgres-ca.before")
        assert {path: keys.public_der(keys.from_pem(path.read_bytes(), new, "x")) for path in before} == before
        assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    assert sorted(place.rglob("*.key*")) == sorted(before)
    wrong = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, input="wrong one\nnew one\n", text=True, capture_output=True, check=True
    )
    assert wrong.stdout.count("not changed: postgres-ca/") == len(before)
    assert {path: keys.public_der(keys.from_pem(path.read_bytes(), "another one", "x")) for path in before} == before
