# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and roots in the forms that Java reads, opened by openssl; see test_java.py for a JVM."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import removal
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, pkcs12
from ansible_collections.pgops.tls.tests import bad_variables
from ansible_collections.pgops.tls.tests.clients import OTHER, Clients, User, identity, new_key, new_rsa_key, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization import pkcs12 as other_reader

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
ALL = ["pem", "pk8", "pkcs12", "truststore", "bundle"]
OURS = "Word of the inventory 7"


@pytest.fixture
def own(clients: Clients, alice: User) -> dict[str, Any]:
    """Return the only identity of a host, which has all formats."""
    declared = {**identity(alice, "app", "shop"), "formats": ALL}
    clients.options["identities"] = [declared]
    return declared


def current(user: User, path: str) -> Path:
    return user.store / "current" / path


def in_der(user: User) -> bytes:
    """Return the key in use, as somebody else writes it in DER."""
    key = load_pem_private_key(current(user, "app/postgresql.key").read_bytes(), None)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def certificates(path: Path) -> list[bytes]:
    return in_text(path.read_bytes())


def in_text(pem: bytes) -> list[bytes]:
    """Return the certificates (DER) in a text; old versions of cryptography read one at a time."""
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    return [x509.load_pem_x509_certificate(one).public_bytes(Encoding.DER) for one in blocks]


def assert_fits(user: User, password: str = "") -> None:
    """Compare the files in use by a reader that has nothing to do with what wrote them."""
    assert current(user, "app/postgresql.pk8").read_bytes() == in_der(user)
    assert load_der_private_key(current(user, "app/postgresql.pk8").read_bytes(), None)
    secret = password or current(user, "app/postgresql.p12.password").read_text()
    held = other_reader.load_pkcs12(current(user, "app/postgresql.p12").read_bytes(), secret.encode())
    chain = [one.certificate.public_bytes(Encoding.DER) for one in (held.cert, *held.additional_certs) if one]
    assert chain == certificates(current(user, "app/postgresql.crt"))
    assert held.cert is not None
    assert held.cert.friendly_name == b"user"
    assert held.key is not None
    assert held.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == in_der(user)
    assert_trusts(user)


def assert_trusts(user: User) -> None:
    argv = ["openssl", "pkcs12", "-in", str(current(user, "truststore.p12")), "-nokeys", "-nomacver"]
    argv += ["-passin", "pass:"]
    text = subprocess.run(argv, capture_output=True, check=True).stdout
    found = in_text(text)
    assert sorted(found) == sorted(certificates(current(user, "root.crt")))
    marks = re.findall(
        rb"2\.16\.840\.1\.113894\.746875\.1\.1|Trusted key usage \(Oracle\)", text
    )  # new OpenSSL knows it
    assert len(marks) == len(found), "marked as trusted, or Java does not"


def modes(user: User) -> dict[str, str]:
    paths = ("app/postgresql.pk8", "app/postgresql.p12", "app/postgresql.p12.password", "truststore.p12")
    return {path: f"{stat.S_IMODE(current(user, path).stat().st_mode):o}" for path in paths}


@pytest.mark.usefixtures("own")
def test_java_finds_key_chain_and_roots(clients: Clients, alice: User) -> None:
    clients.converge()
    assert_fits(alice)
    assert modes(alice) == {
        "app/postgresql.pk8": "600", "app/postgresql.p12": "600", "app/postgresql.p12.password": "600",
        "truststore.p12": "644",
    }  # fmt: skip
    assert {path.stat().st_uid for path in current(alice, "app").iterdir()} == {alice.uid}
    assert os.readlink(alice.default / "postgresql.pk8") == "pgops/current/app/postgresql.pk8"


@pytest.mark.parametrize("key_type", ["P-384", "RSA-3072", "Ed25519"])
@pytest.mark.usefixtures("own")
def test_every_type_of_key_has_every_form(clients: Clients, alice: User, key_type: str) -> None:
    clients.converge(key_type=key_type)
    assert_fits(alice)
    assert clients.call(key_type=key_type)["changed"] is False


@pytest.mark.usefixtures("own")
def test_nothing_is_written_again_when_nothing_changed(clients: Clients, alice: User) -> None:
    clients.converge()
    before = used(alice)
    assert clients.call()["changed"] is False
    assert clients.call(check_mode=True)["changes"] == []
    assert used(alice) == before
    assert os.listdir(alice.store / "generations") == ["0001"]


def test_they_change_with_the_certificate_and_the_password_stays(
    clients: Clients, own: dict[str, Any], alice: User
) -> None:
    clients.converge()
    password, store = (current(alice, f"app/postgresql.p12{end}").read_bytes() for end in (".password", ""))
    for options in ({"renew": True}, {"new_keys": True}):
        done = clients.converge(**options)
        assert [one for one in done["changes"] if ".p12" in one or ".pk8" in one] == [], "a new certificate says it"
        assert current(alice, "app/postgresql.p12").read_bytes() != store
        assert_fits(alice)
    assert current(alice, "app/postgresql.p12.password").read_bytes() == password
    store = current(alice, "app/postgresql.p12").read_bytes()
    clients.call(roots=AUTHORITIES["server"].root.pem + OTHER.root.pem)
    assert current(alice, "app/postgresql.p12").read_bytes() == store, "its own contents are as before"
    assert_fits(alice)
    done = clients.call(identities=[{**own, "formats": ["pem"]}])
    kept = {"app/postgresql.crt", "app/postgresql.key", "root.crt"}
    assert {str(path.relative_to(current(alice, ""))) for path in current(alice, "").glob("**/*.*")} - kept == {
        "manifest.json"
    }
    assert not os.path.lexists(alice.default / "postgresql.pk8")
    name = alice.name
    for change in ("app: bundle.pem", "app: postgresql.pk8", "app: postgresql.p12", "app: postgresql.p12.password"):
        assert f"{name}/{change}: removed" in done["changes"]
    assert f"{alice.default}/postgresql.pk8: the link is removed" in done["changes"]


def test_they_come_for_an_identity_that_has_its_certificate(clients: Clients, own: dict[str, Any], alice: User) -> None:
    clients.converge(identities=[{**own, "formats": ["pem"]}])
    foreseen = clients.call(check_mode=True)["changes"]
    done = clients.call()
    assert done["requests"] == []
    assert done["changes"] == foreseen
    assert f"{alice.name}/app: postgresql.p12: new" in done["changes"]
    assert f"{alice.name}: truststore.p12: new" in done["changes"]
    assert_fits(alice)


# The password of the keystore


@pytest.mark.usefixtures("own")
def test_a_password_from_a_variable_is_nowhere_on_the_host(clients: Clients, alice: User) -> None:
    clients.options["pkcs12_passwords"] = {f"{alice.name}/app": OURS}
    results = [clients.converge(), clients.call(), clients.call(check_mode=True, renew=True)]
    assert_fits(alice, OURS)
    assert not current(alice, "app/postgresql.p12.password").exists()
    assert not any(OURS.encode() in path.read_bytes() for path in alice.home.rglob("*") if path.is_file())
    assert OURS not in str(results)


@pytest.mark.usefixtures("own")
def test_another_password_is_a_change(clients: Clients, alice: User) -> None:
    clients.converge()
    made = current(alice, "app/postgresql.p12.password").read_text()
    ours, other = ({f"{alice.name}/app": word} for word in (OURS, OURS + "8"))
    done = clients.call(pkcs12_passwords=ours)
    assert done["changes"] == [
        f"{alice.name}/app: postgresql.p12: changed", f"{alice.name}/app: postgresql.p12.password: removed"
    ]  # fmt: skip
    assert_fits(alice, OURS)
    assert clients.call(pkcs12_passwords=other)["changes"] == [f"{alice.name}/app: postgresql.p12: changed"]
    assert_fits(alice, OURS + "8")
    assert pkcs12.opened(str(current(alice, "app/postgresql.p12")), OURS) is None
    assert clients.call(pkcs12_passwords=other)["changed"] is False
    clients.call()
    assert_fits(alice)
    assert current(alice, "app/postgresql.p12.password").read_text() not in (made, OURS)


def test_no_key_and_no_password_is_in_any_result(clients: Clients, own: dict[str, Any], alice: User) -> None:
    results = [
        clients.call(check_mode=True),
        clients.converge(),
        clients.converge(renew=True),
        clients.call(renew=True, check_mode=True),
        clients.call(identities=[{**own, "formats": ["pk8"]}], check_mode=True),
    ]
    password = current(alice, "app/postgresql.p12.password").read_text()
    key = base64.b64encode(in_der(alice)).decode()[:40]
    assert all(one not in str(results) for one in (password, key, "PRIVATE"))


# Damage


def _of_another_key(path: Path) -> None:
    path.write_bytes(load_pem_private_key(new_rsa_key(), None).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("app/postgresql.pk8", _of_another_key),
        ("app/postgresql.pk8", lambda path: path.chmod(0o644)),
        ("app/postgresql.p12", lambda path: path.write_bytes(b"none")),
        ("app/postgresql.p12", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")),
        ("app/postgresql.p12", lambda path: path.chmod(0o640)),
        ("app/postgresql.p12", lambda path: path.unlink()),
        ("app/postgresql.p12.password", lambda path: path.write_bytes(b"")),
        ("app/postgresql.p12.password", lambda path: path.write_bytes(b"\xff\n" * 9)),
        ("app/postgresql.p12.password", lambda path: path.unlink()),
        ("truststore.p12", lambda path: path.write_bytes(pkcs12.truststore([OTHER.root]))),
        ("truststore.p12", lambda path: path.unlink()),
    ],
)
@pytest.mark.usefixtures("own")
def test_what_is_damaged_is_written_again(
    clients: Clients, alice: User, file: str, damage: Callable[[Path], object]
) -> None:
    clients.converge()
    right = modes(alice)
    damage(current(alice, file).resolve())
    assert clients.call(check_mode=True)["changed"]
    assert clients.call()["changed"]
    assert_fits(alice)
    assert modes(alice) == right
    assert clients.call()["changed"] is False


def test_a_keystore_with_the_key_of_somebody_else_is_replaced(
    clients: Clients, own: dict[str, Any], alice: User
) -> None:
    other = {**own, "role": "report"}
    clients.options["identities"] = [own, other]
    clients.converge()
    for end in ("", ".password"):
        source, target = (current(alice, f"{name}/postgresql.p12{end}") for name in ("report", "app"))
        target.write_bytes(source.read_bytes())
    assert clients.call()["changes"] == [f"{alice.name}/app: postgresql.p12: changed"]
    assert_fits(alice)


def test_a_key_that_others_could_read_in_any_form_is_replaced_with_the_next_certificate(
    clients: Clients, alice: User
) -> None:
    clients.options["identities"] = [{**identity(alice, "app"), "formats": ["pk8"]}]
    clients.converge()
    before = in_der(alice)
    current(alice, "app/postgresql.pk8").chmod(0o644)
    clients.converge(renew=True)
    assert in_der(alice) != before


OF_ANOTHER = load_pem_private_key(new_key(), None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
TRUST_OF_ANOTHER = pkcs12.truststore([OTHER.root])


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ((openssl, "as_der", lambda _key: OF_ANOTHER), r"postgresql\.pk8: expected the key of postgresql\.crt"),
        ((pkcs12, "truststore", lambda _roots: TRUST_OF_ANOTHER), r"truststore\.p12: expected the roots, found"),
        ((pkcs12, "keystore", lambda *_all: b"none"), r"postgresql\.p12: expected the key in postgresql\.key"),
    ],
)
def test_a_wrong_file_fails_the_rehearsal_and_nothing_changes(
    clients: Clients, alice: User, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, str, Any], told: str
) -> None:
    clients.converge()
    before = used(alice)
    monkeypatch.setattr(*broken)
    with pytest.raises(TlsError, match=told):
        clients.converge(new_keys=True)
    assert used(alice) == before
    assert os.listdir(alice.store / "generations") == ["0001"]


# Who has what


def test_an_identity_with_a_password_trusts_servers_from_java_too(clients: Clients, alice: User) -> None:
    own = {"role": "clerk", "os_user": alice.name, "login": "password", "formats": ["truststore"]}
    clients.call(identities=[own])
    assert_trusts(alice)
    assert [path.name for path in current(alice, "").iterdir() if path.is_dir()] == []
    assert clients.call(identities=[own])["changed"] is False


def test_only_the_default_identity_has_the_name_that_pgjdbc_reads(clients: Clients, alice: User) -> None:
    first, second = identity(alice, "app"), {**identity(alice, "report"), "formats": ["pk8"]}
    clients.converge(identities=[first, second])
    assert not os.path.lexists(alice.default / "postgresql.pk8")
    clients.call(identities=[first, {**second, "default_files": True}])
    assert os.readlink(alice.default / "postgresql.pk8") == "pgops/current/report/postgresql.pk8"
    clients.call(identities=[first, second])
    assert not os.path.lexists(alice.default / "postgresql.pk8")


def test_a_key_that_was_at_that_name_is_kept_and_comes_back(clients: Clients, own: dict[str, Any], alice: User) -> None:
    before = alice.write(".postgresql/postgresql.pk8", "of somebody", 0o600)
    alice.default.chmod(0o700)
    clients.converge(identities=[{**own, "formats": ["pem"]}])
    assert before.read_text() == "of somebody", "not ours while no identity has the format"
    clients.call()
    assert before.read_bytes() == in_der(alice)
    clients.call(kind=removal.Removal)
    assert before.read_text() == "of somebody"
    assert [path.name for path in alice.default.iterdir()] == ["postgresql.pk8"]


def test_what_is_no_file_at_that_name_counts_only_where_it_is_needed(
    clients: Clients, own: dict[str, Any], alice: User
) -> None:
    alice.default.mkdir()
    (alice.default / "postgresql.pk8").mkdir()
    os.chown(alice.default, alice.uid, -1)
    with pytest.raises(TlsError, match=r"postgresql\.pk8: expected a file or nothing, found a directory"):
        clients.call()
    assert clients.converge(identities=[{**own, "formats": ["pkcs12"]}])["changed"]


# Ways back


def test_a_roll_back_brings_back_every_form(clients: Clients, own: dict[str, Any], alice: User) -> None:
    clients.converge()
    password, key = current(alice, "app/postgresql.p12.password").read_text(), in_der(alice)
    store = current(alice, "app/postgresql.p12").read_bytes()
    clients.converge(new_keys=True)
    clients.roll_back()
    assert in_der(alice) == key
    assert_fits(alice)
    assert current(alice, "app/postgresql.p12").read_bytes() == store
    assert current(alice, "app/postgresql.p12.password").read_text() == password
    assert clients.call()["changed"] is False
    clients.call(identities=[{**own, "formats": ["pem"]}])


def test_a_roll_back_to_before_the_keystore_keeps_its_password(
    clients: Clients, own: dict[str, Any], alice: User
) -> None:
    clients.converge(identities=[{**own, "formats": ["pem"]}])
    clients.converge(new_keys=True)
    password = current(alice, "app/postgresql.p12.password").read_text()
    clients.roll_back()
    assert_fits(alice)
    assert current(alice, "app/postgresql.p12.password").read_text() == password


@pytest.mark.usefixtures("own")
def test_a_roll_back_has_the_password_that_is_declared(clients: Clients, alice: User) -> None:
    clients.converge(pkcs12_passwords={f"{alice.name}/app": OURS})
    declared = {f"{alice.name}/app": OURS + "8"}
    clients.converge(new_keys=True, pkcs12_passwords=declared)
    clients.roll_back(pkcs12_passwords={**declared, "bob/app": OURS}, state="previous")
    assert_fits(alice, OURS + "8")


# Input


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"formats": ["jks"]}, r"formats: found 'jks', expected some of pem, bundle, pk8, pkcs12, truststore"),
        ({"formats": ["pk8"], "login": "password"}, r"formats: found pk8 for an identity with a password"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(
    clients: Clients, own: dict[str, Any], alice: User, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(TlsError, match=told):
        clients.call(identities=[{**own, **change}])
    assert list(alice.home.iterdir()) == []


@pytest.mark.parametrize(("passwords", "told"), [one for one in bad_variables.SECRETS if isinstance(one[0], dict)])
@pytest.mark.usefixtures("own")
def test_a_bad_password_is_refused_before_anything_changes_and_is_not_shown(
    clients: Clients, alice: User, passwords: dict[str, Any], told: str
) -> None:
    named = {name.replace("shop/", f"{alice.name}/"): word for name, word in passwords.items()}
    with pytest.raises(TlsError, match="pkcs12_passwords: .*" + told.replace("shop/", f"{alice.name}/")) as caught:
        clients.call(pkcs12_passwords=named)
    assert not any(str(word) in caught.value.message for word in passwords.values())
    assert list(alice.home.iterdir()) == []
