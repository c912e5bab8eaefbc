# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kits are made once, stay until they are due, and leave nothing behind where the input is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keeping, ledger, planning
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.kit import archive, contents, making
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, pkcs12
from ansible_collections.pgops.tls.tests.kits import ENDPOINT, PASSWORD, Place, csr
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give authorities."""
    found = Place(tmp_path)
    found.keep()
    return found


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def why(place: Place, *kits: dict[str, Any], **changes: Any) -> list[list[str]]:
    """Return why each kit would be made anew."""
    return [one["reasons"] for one in place.make(*kits, is_dry=True, **changes).kits]


def test_a_kit_has_all_forms_of_one_key_behind_one_password(place: Place) -> None:
    (kit,) = place.make(place.kit()).kits
    files = place.files()
    assert set(files) == {
        "README.txt", "kit.json", "pg_service.conf", "root.crt", "truststore.p12",
        "postgresql.crt", "postgresql.key", "postgresql.pk8", "postgresql.p12",
    }  # fmt: skip
    leaf, issuing = certificate.read_pem(files["postgresql.crt"].decode(), "chain")
    assert (leaf.common_name, f"{leaf.serial:x}") == ("reporting", kit["serial"])
    assert files["root.crt"].decode() == place.authorities["server"]["roots"]
    assert issuing.pem in place.authorities["client"]["bundle"]
    for name, load in (
        ("postgresql.key", serialization.load_pem_private_key),
        ("postgresql.pk8", serialization.load_der_private_key),
    ):
        found: Any = load(files[name], PASSWORD.encode())
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        assert found.public_key().public_bytes(*form) == leaf.public_key
    store = place.root / "store"
    store.write_bytes(files["postgresql.p12"])
    opened = pkcs12.opened(str(store), PASSWORD)
    assert opened
    assert opened.certificates == {leaf.der, issuing.der}
    assert opened.key
    assert pkcs12.opened(str(store), "another password") is None


def test_each_form_of_the_key_costs_whoever_guesses_as_much(place: Place) -> None:
    place.make(place.kit())
    for name, form in (("postgresql.pk8", "DER"), ("postgresql.p12", "DER"), ("postgresql.key", "PEM")):
        (place.root / name).write_bytes(place.files()[name])
        parsed = subprocess.run(
            ["openssl", "asn1parse", "-inform", form, "-in", place.root / name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if name != "postgresql.p12":
            assert ":030D40" in parsed  # 200,000
    shown = subprocess.run(
        ["openssl", "pkcs12", "-info", "-noout", "-in", place.root / "postgresql.p12", "-passin", f"pass:{PASSWORD}"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    assert "MAC: sha256, Iteration 200000" in shown
    assert shown.count("AES-256-CBC, Iteration 200000, PRF hmacWithSHA256") == 2


def test_no_file_holds_a_plain_key_or_the_password(place: Place) -> None:
    place.make(place.kit())
    for name, content in {**place.everything(), **place.files()}.items():
        assert PASSWORD.encode() not in content, name
        if "/ca/" not in name:
            assert b"BEGIN PRIVATE KEY" not in content, name
    archive_ = place.directory / "anna.zip"
    assert archive_.stat().st_mode & 0o777 == 0o600
    assert place.directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in place.directory.iterdir()] == ["anna.zip"]


def test_unpacked_keys_are_for_their_owner_alone(place: Place) -> None:
    place.make(place.kit())
    with zipfile.ZipFile(place.directory / "anna.zip") as archive:
        modes = {one.filename.split("/")[1]: one.external_attr >> 16 & 0o777 for one in archive.infolist()}
    assert {name for name, mode in modes.items() if mode == 0o600} == set(contents.SECRET)
    assert {mode for name, mode in modes.items() if name not in contents.SECRET} == {0o644}


def test_a_second_run_changes_nothing(place: Place, key: Any) -> None:
    kits = place.kit(), place.kit("ben", csr=csr(key))
    first = place.make(*kits)
    assert [one["is_new"] for one in first.kits] == [True, True]
    before = place.everything()
    place.now += 30 * DAY
    again = place.make(*kits)
    assert again.changes == []
    assert [(one["serial"], one["given"], one["is_new"]) for one in again.kits] == [
        (one["serial"], one["given"], False) for one in first.kits
    ]
    assert place.everything() == before


def test_a_kit_from_a_request_has_no_key(place: Place, key: Any) -> None:
    (kit,) = place.make(place.kit(csr=csr(key))).kits
    files = place.files()
    assert not set(contents.SECRET).intersection(files)
    assert not kit["key_made_here"]
    leaf = certificate.read_pem(files["postgresql.crt"].decode(), "chain")[0]
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert key.public_key().public_bytes(*form) == leaf.public_key
    assert b"sslkey=own.key" in files["pg_service.conf"]
    assert b"no private key in this kit" in files["README.txt"]
    assert b"KIT_PASSWORD" not in files["README.txt"]


def test_the_ledger_has_each_certificate(place: Place) -> None:
    kit = place.kit(csr=csr())
    (kit,) = place.make(kit).kits
    (line,) = place.ledger()
    assert (line["id"], line["subject"], line["authority"]) == ("kit:anna", "reporting", "client")
    assert (line["serial"], line["reasons"], line["issued"]) == (kit["serial"], ["no_kit"], kit["given"])


def test_a_hundred_kits_are_one_batch(place: Place) -> None:
    kits = [place.kit(f"person{number}", csr=csr()) for number in range(100)]
    done = place.make(*kits)
    assert len(done.changes) == len(place.ledger()) == len(list(place.directory.iterdir())) == 100
    assert len({one["serial"] for one in done.kits}) == 100
    assert place.make(*kits).changes == []


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "role": ({"role": "other"}, {}, ["common_name: reporting instead of other"]),
    "type of key": ({}, {"key_type": "P-384"}, ["key_type: P-256 instead of P-384"]),
    "password": ({"password": "another password"}, {}, ["password_changed"]),
    "wish": ({}, {"renew": True}, ["forced"]),
    "early renewal": ({}, {"renew_before": "90d"}, ["expires_in_90d"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_makes_a_kit_anew(place: Place, name: str) -> None:
    place.make(place.kit())
    changes, options, expected = CHANGES[name]
    assert why(place, place.kit(**changes), **options) == [expected]
    if name != "early renewal":
        before = place.files()
        (kit,) = place.make(place.kit(**changes), **options).kits
        assert kit["is_new"]
        assert place.files()["postgresql.pk8"] != before["postgresql.pk8"], "it has a new key, too"
        assert why(place, place.kit(**changes), **{**options, "renew": False}) == [[]]


def test_a_kit_is_made_anew_before_it_ends(place: Place) -> None:
    kit = place.kit(csr=csr())
    (first,) = place.make(kit).kits
    place.now += 61 * DAY
    assert why(place, kit) == [["expires_in_29d"]]
    (second,) = place.make(kit).kits
    assert second["serial"] != first["serial"]
    assert second["given"] > first["given"]


def test_another_request_or_a_password_instead_makes_it_anew(place: Place, key: Any) -> None:
    place.make(place.kit(csr=csr(key)))
    assert why(place, place.kit(csr=csr(key))) == [[]], "another request for the same key"
    assert why(place, place.kit(csr=csr())) == [["key_changed"]]
    assert why(place, place.kit()) == [["key_changed"]]
    place.make(place.kit())
    assert why(place, place.kit(csr=csr(key))) == [["key_changed"]]


def test_a_revoked_kit_is_made_anew_with_another_key(place: Place) -> None:
    (first,) = place.make(place.kit()).kits
    place.keep(revoked=[{"serial": first["serial"], "reason": "keyCompromise"}])
    assert why(place, place.kit()) == [["revoked"]]
    place.make(place.kit())
    assert why(place, place.kit()) == [[]]
    assert "root.crl" in place.files()
    assert b"sslcrl" not in place.files()["pg_service.conf"], "it would end before the certificate"


def test_kits_are_revoked_by_role_and_by_their_id(place: Place) -> None:
    first, second = place.make(place.kit(), place.kit("ben", role="other")).kits
    done = place.keep(revoked=[{"role": "reporting"}, {"host": "kit:ben"}])
    assert set(done.revoked["client"]) == {first["serial"], second["serial"]}


def test_new_roots_make_a_kit_anew(place: Place) -> None:
    kit = place.kit(csr=csr())
    place.make(kit)
    place.authorities["server"]["roots"] += place.authorities["client"]["roots"]
    assert why(place, kit) == [["trust_changed"]]


def test_a_kit_that_is_not_the_newest_is_made_anew(place: Place) -> None:
    kit = place.kit(csr=csr())
    place.make(kit)
    old = (place.directory / "anna.zip").read_bytes()
    place.now += DAY
    place.make(kit, renew=True)
    (place.directory / "anna.zip").write_bytes(old)
    assert why(place, kit) == [["not_newest_in_ledger"]]


def test_other_services_leave_certificate_and_key(place: Place) -> None:
    (first,) = place.make(place.kit()).kits
    before = place.files()
    place.now += DAY
    changed = place.kit(endpoints=[{**ENDPOINT, "port": 6432}], databases=["shop", "stock"])
    assert place.make(changed, is_dry=True).changes == [
        f"write the services and the README of kit anna again: {place.directory}/anna.zip"
    ]
    (second,) = place.make(changed).kits
    after = place.files()
    assert {name for name in before if before[name] != after[name]} == {"pg_service.conf", "README.txt"}
    assert (second["serial"], second["given"]) == (first["serial"], first["given"])
    assert place.make(changed).changes == []
    assert len(place.ledger()) == 1


def test_new_lists_alone_change_nothing(place: Place) -> None:
    kit = place.kit(csr=csr())
    place.make(kit)
    place.authorities["server"]["crls"] = "LISTS"
    assert place.make(kit).changes == []


def test_check_mode_says_all_and_writes_nothing(place: Place) -> None:
    before = place.everything()
    done = place.make(place.kit(), place.kit("ben", csr=csr()), is_dry=True)
    path = place.directory
    assert done.changes == [
        f"make kit anna for role reporting (key made here): {path}/anna.zip (no_kit)",
        f"make kit ben for role reporting (from its request): {path}/ben.zip (no_kit)",
    ]
    assert place.everything() == before
    assert not place.directory.exists()


def small_key() -> str:
    return csr(rsa.generate_private_key(65537, 1024))  # noqa: S505 (that is the point)


def with_wrong_signature() -> str:
    lines = csr().splitlines()
    lines[-2] = "A" * (len(lines[-2]) - 2) + "=="
    return "\n".join(lines)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no password": ({"password": ""}, "kit_password_missing", r"kits\[anna\].password: expected a password.* vault"),
    "short": ({"password": "secret"}, "kit_password_invalid", r"found 6 characters, expected a password of 12 to 128"),
    "line break": ({"password": "secret secret\n"}, "kit_password_invalid", "14 characters"),
    "both": ({"csr": "x", "password": PASSWORD}, "kit_password_without_key", "Remove one of them"),
    "garbage": ({"csr": "x"}, "request_unreadable", r"kits\[anna\].csr: expected a certificate request in PEM"),
    "weak": ({"csr": small_key}, "request_key_unsupported", r"kits\[anna\].csr: found RSA with 1024 bits"),
    "unproven": ({"csr": with_wrong_signature}, "request_(signature_wrong|unreadable)", r"kits\[anna\].csr"),
    "name": ({"name": "../anna"}, "kit_name_invalid", r"kits\[1\].name: found '../anna'"),
    "no name": ({"name": ""}, "kit_name_invalid", r"kits\[1\].name: found ''"),
    "role": ({"role": "a\nb"}, "control_characters_in_value", r"kits\[anna\].role"),
    "long role": ({"role": "r" * 64}, "name_too_long", "has 64 bytes"),
    "relative": ({"directory": "kits"}, "kit_directory_invalid", "expected the absolute path"),
    "authority": ({"authority": "billing"}, "authority_unknown", "'billing' of kit anna, found server, client"),
    "no server": ({"endpoints": []}, "kit_without_server", r"kits\[anna\].endpoints: expected the servers"),
    "port": ({"endpoints": [{**ENDPOINT, "port": 70000}]}, "port_out_of_range", r"endpoints\[0\].port"),
    "twice": ({"name": "good"}, "kit_twice", r"kits\[1\].name: good"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kit_stops_all_before_anything_is_signed(place: Place, name: str) -> None:
    changes, code, message = WRONG[name]
    given = {key: value() if callable(value) else value for key, value in changes.items()}
    before = place.everything()
    with pytest.raises(TlsError, match=message) as error:
        place.make(place.kit("good"), place.kit(**given))
    assert re.fullmatch(code, error.value.code)
    assert place.everything() == before
    assert not place.directory.exists()


def test_a_file_that_is_no_kit_stays(place: Place) -> None:
    place.directory.mkdir()
    place.make(place.kit("ben"), place.kit("linked"))
    (place.directory / "linked.zip").rename(place.root / "linked.zip")
    (place.directory / "linked.zip").symlink_to(place.root / "linked.zip")
    (place.directory / "anna.zip").write_text("mine")
    (place.directory / "copy.zip").write_bytes((place.directory / "ben.zip").read_bytes())
    (place.directory / "folder.zip").mkdir()
    whole = (place.directory / "ben.zip").read_bytes()
    (place.directory / "half.zip").write_bytes(whole[: len(whole) // 2])
    before = place.everything()
    for name in ("anna", "copy", "folder", "half", "linked"):
        with pytest.raises(TlsError, match=f"{name}.zip: expected the archive of kit {name}, or nothing") as error:
            place.make(place.kit("good"), place.kit(name))
        assert error.value.code == "kit_path_taken"
        assert place.everything() == before


def test_a_directory_of_the_authorities_or_a_file_is_refused(place: Place) -> None:
    (place.root / "file").write_text("mine")
    (place.root / "link").symlink_to(place.ca)
    for path, message in (
        (place.ca, "is in the directory of the authorities"),
        (place.ca / "kits", "is in the directory of the authorities"),
        (place.root / "link" / "kits", "is in the directory of the authorities"),
        (place.root / "file", "is a file, expected a directory"),
    ):
        with pytest.raises(TlsError, match=message) as error:
            place.make(place.kit(directory=str(path)))
        assert error.value.code == "kit_directory_invalid"
    assert place.ledger() == []


def test_the_key_of_somebody_else_is_refused(place: Place, key: Any) -> None:
    place.make(place.kit(csr=csr(key)))
    before = place.everything()
    done = place.make(place.kit("ben", csr=csr(key)))
    assert list(done.refused) == ["ben"]
    assert done.refused["ben"].startswith("kits[ben].csr: the key in this request is that of kit:anna (client ")
    assert done.refused["ben"].endswith("Ask for a request with a new key, or remove the kit.")
    assert (done.changes, done.kits[0]["serial"]) == ([], None)
    one = csr()
    with pytest.raises(TlsError, match=r"kits\[two\].csr: kit one has a request for the same key") as error:
        place.make(place.kit("one", csr=one), place.kit("two", csr=one + "\n"))
    assert error.value.code == "kit_request_shared"
    assert place.everything() == before


def test_two_requests_for_one_key_are_refused_before_either_is_signed(place: Place, key: Any) -> None:
    with pytest.raises(TlsError, match=r"kits\[two\].csr: kit one has a request for the same key") as error:
        place.make(place.kit("one", csr=csr(key)), place.kit("two", csr=csr(key)))
    assert error.value.code == "kit_request_shared"
    assert place.ledger() == []


def test_the_key_of_a_revoked_certificate_is_refused(place: Place, key: Any) -> None:
    (kit,) = place.make(place.kit(csr=csr(key))).kits
    place.keep(revoked=[{"serial": kit["serial"]}])
    before = place.everything()
    done = place.make(place.kit(csr=csr(key)))
    assert done.refused["anna"].endswith(
        f"certificate {kit['serial']} for the key in this request is revoked, so the kit was not made. Ask for a "
        "request with a new key, or remove the kit."
    )
    assert (done.changes, place.everything()) == ([], before)
    place.make(place.kit(csr=csr()))
    assert why(place, place.kit()) == [["key_changed"]]


def test_of_a_revoked_key_the_certificate_that_its_holder_has_is_named(place: Place, key: Any) -> None:
    kit = place.kit(csr=csr(key))
    (first,) = place.make(kit).kits
    place.now += 65 * DAY
    (second,) = place.make(kit).kits
    assert second["serial"] != first["serial"]
    done = place.keep(revoked=[{"serial": second["serial"], "reason": "keyCompromise"}])
    assert set(done.revoked["client"]) == {first["serial"], second["serial"]}
    assert f"certificate {second['serial']} for the key" in place.make(kit).refused["anna"]


def test_a_revoked_key_in_one_request_keeps_no_other_kit_from_being_made(place: Place) -> None:
    partner = place.kit("partner", csr=csr())
    first, _ben = place.make(partner, place.kit("ben")).kits
    revoked = [{"serial": first["serial"], "reason": "keyCompromise"}]
    place.now += 65 * DAY
    place.keep(revoked=revoked)
    theirs = (place.directory / "partner.zip").read_bytes()
    kits = (partner, place.kit("ben", databases=["other"]), place.kit("new"))
    for is_dry in (True, False):
        done = place.make(*kits, is_dry=is_dry)
        assert list(done.refused) == ["partner"]
        of_partner, of_ben, of_new = done.kits
        assert (of_partner["serial"], "revoked" in of_partner["reasons"]) == (first["serial"], True)
        assert [one["is_new"] for one in (of_partner, of_ben, of_new)] == [False, not is_dry, not is_dry]
        assert [change.split()[2] for change in done.changes] == ["ben", "new"]
    assert (place.directory / "partner.zip").read_bytes() == theirs
    done = place.make(*kits)
    assert (done.changes, list(done.refused)) == ([], ["partner"])
    assert place.make(*kits[1:]).refused == {}


def test_a_kit_with_a_key_that_somebody_else_has_by_now_is_not_written_again(place: Place, key: Any) -> None:
    place.make(place.kit(csr=csr(key)))
    line = {**place.ledger()[0], "id": "kit:ben", "serial": "4711"}
    with (place.ca / ledger.FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")
    before = place.everything()
    done = place.make(place.kit(csr=csr(key), databases=["other"]))
    assert "the key in this request is that of kit:ben" in done.refused["anna"]
    assert (done.changes, done.kits[0]["is_rewritten"], place.everything()) == ([], False, before)


def test_what_was_made_for_a_call_that_fails_goes_again(place: Place) -> None:
    with pytest.raises(TlsError) as error:
        place.make(place.kit(), lifetime="20y")
    assert error.value.code
    assert not place.directory.exists()
    assert place.ledger() == []


def test_a_disk_that_is_full_leaves_the_kit_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = place.kit(csr=csr())
    place.make(kit)
    before = place.files()

    def full(_kit: Any, _archive: bytes) -> None:
        raise OSError(28, "No space left on device", "anna.zip")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write", full)
        with pytest.raises(TlsError, match=r"anna\.zip: No space left on device") as error:
            place.make(kit, place.kit("ben"), renew=True)
    assert error.value.code == "kit_not_written"
    assert place.files() == before
    assert why(place, kit) == [["not_newest_in_ledger"]], "what nobody got is made again"
    place.make(kit, place.kit("ben"))
    assert why(place, kit, place.kit("ben")) == [[], []]


def test_a_damaged_certificate_or_key_makes_a_kit_anew(place: Place) -> None:
    for name, reason in (("postgresql.crt", "kit_damaged"), ("postgresql.pk8", "password_changed")):
        place.make(place.kit())
        (one,) = making.declared.parse_all([place.kit()])
        archive.write(one, archive.packed(one, {**place.files(), name: b"x"}, place.now))
        assert why(place, place.kit()) == [[reason]]


def phase(place: Place, name: str, *confirmed: dict[str, Any], of: str = "client") -> keeping.KeepingResult:
    """Go through a phase of the replacement of a root, with the kits whose holders have confirmed them."""
    seen = [{"authority": "client", "id": one["id"], "serial": one["serial"]} for one in confirmed]
    change = planning.Change(name, [of], {"client": seen}, trust=["none"])
    done: keeping.KeepingResult = place.keep(change=change)
    return done


def test_a_replacement_of_a_root_waits_for_the_holder_of_a_kit(place: Place) -> None:
    kit = place.kit(csr=csr())
    (first,) = place.make(kit).kits
    place.now += DAY
    (one,) = phase(place, "stage").awaited
    assert (one.id, one.serial) == ("kit:anna", first["serial"])
    with pytest.raises(TlsError) as error:
        phase(place, "switch")
    given = f"kit:anna (client certificate {first['serial']} given to its holder at {first['given']}"
    assert given in error.value.message
    assert "A kit is seen once kits of module client_kit has, in fetched, the serial number" in error.value.message
    assert "Seen with another certificate" not in error.value.message
    phase(place, "switch", first)
    (second,) = place.make(kit).kits
    assert (second["is_new"], place.ledger()[-1]["reasons"]) == (True, ["issuer_changed"])
    with pytest.raises(TlsError) as error:
        phase(place, "retire", first)
    assert f"{second['serial']} given to its holder at {second['given']}" in error.value.message
    assert "Renew there" not in error.value.message, "no option of a host makes another kit"
    phase(place, "retire", second)
    phase(place, "retire", second)
    phase(place, "finish", second)
    assert why(place, kit) == [[]]


def test_no_old_kit_is_left_below_a_root_that_retires(place: Place) -> None:
    kit = place.kit(csr=csr())
    (first,) = place.make(kit).kits
    phase(place, "stage")
    phase(place, "switch", first)
    with pytest.raises(TlsError, match=r"below the root to retire.* playbook client_kit, which replaces kits"):
        phase(place, "retire", first)


def test_the_root_of_the_servers_retires_when_the_holder_of_a_kit_has_the_new_one(place: Place) -> None:
    kit = place.kit(csr=csr())
    (first,) = place.make(kit).kits
    place.now += DAY
    phase(place, "stage", first, of="server")
    phase(place, "switch", first, of="server")
    with pytest.raises(TlsError, match=r"none is wrong.* Known to be outside, by their certificates: kit:anna "):
        phase(place, "retire", first, of="server")
    place.now += DAY
    (second,) = place.make(kit).kits
    assert place.ledger()[-1]["reasons"] == ["trust_changed"]
    with pytest.raises(TlsError, match=f"kit:anna .client certificate {second['serial']} given to its holder at"):
        phase(place, "retire", first, of="server")
    phase(place, "retire", second, of="server")


def test_a_source_that_signs_later_needs_a_request(place: Place, key: Any) -> None:
    company = issuing.new_authority("client", "P-256", place.now)
    (place.root / "roots.pem").write_text(company.root.pem)
    files = {"type": "files", "directory": str(place.root / "requests"), "roots": str(place.root / "roots.pem")}
    sources = {"client": {**files, "dedicated": True}}
    place.authorities["client"]["issuing"] = company.issuing.pem
    with pytest.raises(TlsError, match=r"kits\[anna\]: The certificates of authority client are signed later") as error:
        place.make(place.kit(), sources=sources)
    assert error.value.code == "kit_needs_request"
    assert not (place.root / "requests").exists()
    done = place.make(place.kit(csr=csr(key, "reporting")), sources=sources)
    assert list(done.waiting) == ["anna"], done.refused
    assert (done.changes, done.refused, place.ledger()) == ([], {}, [])
    assert making.summary(done)[0].startswith("anna: ")
    assert not (place.directory / "anna.zip").exists()
