# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates: there from the first revocation on, whole, and made anew in time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import crl, keeping, ledger, profiles, signing
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.shared import DAY

HALF = profiles.ISSUING_LIST_LIFE // 2


class Directory:
    """Authorities that have issued a certificate of role app and one of server db1."""

    def __init__(self, path: Path, csr: str, now: int) -> None:
        self.path = path
        self.now = now
        self.keep([])
        client = {"id": "app1/shop/app", "role": "app", "csr": csr}
        server = {"id": "db1", "names": ["db1.example"], "csr": csr}
        self.chains = {
            name: next(iter(self.sign(name, request).values()))
            for name, request in (("client", client), ("server", server))
        }
        self.serial = f"{read_pem(self.chains['client'], 'chain')[0].serial:x}"

    def sign(self, authority: str, request: dict[str, Any]) -> dict[str, str]:
        order = signing.Order(str(self.path), None, authority, [request], "90d")
        return signing.sign(order, self.now, is_dry=False).certificates

    def keep(self, revoked: list[dict[str, str]], now: int | None = None, **wish: Any) -> keeping.KeepingResult:
        is_dry = wish.pop("is_dry", False)
        wanted = keeping.Wish(str(self.path), "P-256", None, revoked=revoked, **wish)
        return keeping.keep(wanted, self.now if now is None else now, is_dry=is_dry)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.path.rglob("*")) if path.is_file()}


@pytest.fixture
def directory(tmp_path: Path, csr: str, now: int) -> Directory:
    return Directory(tmp_path / "ca", csr, now)


def lists(text: str) -> dict[str, revocations.RevocationList]:
    """Return lists by the common names of their issuers."""
    return {one.issuer_common_name: one for one in revocations.read_pem(text, "crls")}


def openssl(directory: Directory, done: keeping.KeepingResult, name: str, at: int, tmp_path: Path) -> str:
    """Return what openssl says of the whole chain of an authority's certificate with its lists."""
    (tmp_path / "leaf").write_text(directory.chains[name])
    (tmp_path / "roots").write_text("".join(one.pem for one in done.lineages[name].roots) + done.crls[name])
    command = ["openssl", "verify", "-attime", str(at), "-crl_check_all", "-CAfile", tmp_path / "roots"]
    command += ["-untrusted", tmp_path / "leaf", tmp_path / "leaf"]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return found.stdout + found.stderr


def test_as_long_as_nothing_is_revoked_there_are_no_lists(directory: Directory) -> None:
    done = directory.keep([])
    assert done.crls == {}
    assert done.revoked == {}
    assert not (directory.path / ledger.REVOKED).exists()


def test_the_first_revocation_brings_lists_of_every_authority_into_use(directory: Directory, tmp_path: Path) -> None:
    done = directory.keep([{"role": "app", "reason": "keyCompromise"}])
    assert done.revoked == {"server": [], "client": [directory.serial]}
    for name, found in done.lineages.items():
        made = lists(done.crls[name])
        assert set(made) == {one.common_name for one in found.bundle}
        assert all(one.this_update == directory.now - profiles.BACKDATED for one in made.values())
        revocations.refuse_gaps(done.crls[name], found.bundle, "crls", directory.now)
    assert "certificate revoked" in openssl(directory, done, "client", directory.now, tmp_path)
    assert openssl(directory, done, "server", directory.now, tmp_path).endswith("leaf: OK\n")
    shown = subprocess.run(
        ["openssl", "crl", "-text"], input=done.crls["client"], capture_output=True, text=True, check=True
    )
    assert "Key Compromise" in shown.stdout


def test_the_record_is_there_before_any_list(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_lists: crl.Lists) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(crl, "write", dies)
    with pytest.raises(TlsError, match="No space left"):
        directory.keep([{"role": "app"}])
    monkeypatch.undo()
    done = directory.keep([])
    assert done.revoked["client"] == [directory.serial]
    assert any("1 in it" in change for change in done.changes), "the list that lacks a certificate is made anew"


def test_the_second_run_and_the_run_without_the_entry_change_nothing(directory: Directory) -> None:
    first = directory.keep([{"role": "app"}])
    before = directory.files()
    for entries in ([{"role": "app"}], []):
        again = directory.keep(entries, directory.now + HALF - profiles.BACKDATED - DAY)
        assert (again.changes, again.warnings) == ([], [])
        assert (again.crls, again.revoked) == (first.crls, first.revoked)
        assert directory.files() == before


@pytest.mark.parametrize("is_dry", [True, False])
def test_without_the_record_nobody_who_is_on_a_list_gets_in_again(directory: Directory, *, is_dry: bool) -> None:
    directory.keep([{"role": "app"}, {"host": "db1"}])
    record = directory.path / ledger.REVOKED
    content = record.read_bytes()
    record.unlink()
    before = directory.files()
    with pytest.raises(
        TlsError, match=rf"revoked\.jsonl is missing, although \S+issuing\.crl revokes {directory.serial}, so "
    ):
        directory.keep([{"host": "db1"}], is_dry=is_dry)
    assert directory.files() == before
    directory.keep([{"serial": directory.serial}, {"host": "db1"}], is_dry=is_dry)
    record.unlink(missing_ok=True)
    with pytest.raises(TlsError, match=rf'once more: .*serial: "{directory.serial}", authority: client'):
        directory.keep([], directory.now + 91 * DAY, is_dry=is_dry)  # it has ended, and hosts would stop for it
    recorded = [json.loads(line) for line in content.splitlines()]
    again = [{"serial": line["serial"], "authority": line["authority"]} for line in recorded]
    assert directory.keep(again, directory.now + 91 * DAY, is_dry=is_dry).crls != {}
    record.write_bytes(content)
    assert directory.keep([], is_dry=is_dry).revoked["client"] == [directory.serial]


def test_a_damaged_list_that_nobody_uses_is_of_no_interest(directory: Directory) -> None:
    for path in directory.path.rglob("*.crl"):
        path.write_text(path.read_text().replace("M", "N"))
    assert directory.keep([]).changes == []


def test_check_mode_tells_it_all_and_writes_nothing(directory: Directory) -> None:
    before = directory.files()
    done = directory.keep([{"role": "app"}], is_dry=True)
    assert directory.files() == before
    assert done.revoked["client"] == [directory.serial]
    assert [change.split(" ")[0] for change in done.changes] == ["revoke", "make"]
    assert set(lists(done.crls["client"])) == {one.common_name for one in done.lineages["client"].bundle}


def test_a_list_is_made_anew_at_half_of_its_life_and_its_number_rises(directory: Directory) -> None:
    first = lists(directory.keep([{"role": "app"}]).crls["client"])
    done = directory.keep([], directory.now + HALF)
    assert len(done.changes) == 2, "of both issuing CAs; roots live longer"
    second = lists(done.crls["client"])
    issuing = done.lineages["client"].current.issuing.common_name
    assert second[issuing].number > first[issuing].number
    assert second[issuing].serials() == {int(directory.serial, 16)}
    assert second[issuing].next_update == directory.now + HALF + profiles.ISSUING_LIST_LIFE


def test_no_list_revokes_less_than_the_one_before_also_when_certificates_have_ended(directory: Directory) -> None:
    directory.keep([{"role": "app"}])
    done = directory.keep([], directory.now + 91 * DAY)
    assert done.revoked["client"] == []
    assert {int(directory.serial, 16)} in [one.serials() for one in lists(done.crls["client"]).values()]


def test_a_serial_that_the_ledger_lost_is_revoked_by_every_ca_of_its_authority(directory: Directory) -> None:
    with pytest.raises(TlsError, match=r'restored from an older backup.*\{serial: "5ac6f1d9", authority: client\}'):
        directory.keep([{"serial": "5ac6f1d9"}])
    for key in directory.path.rglob("root.key"):
        key.unlink()  # no list of a root has to be made for it
    entry = {"serial": "5ac6f1d9", "authority": "client"}
    done = directory.keep([entry])
    assert [one.serials() for one in lists(done.crls["client"]).values()] == [{0x5AC6F1D9}, set()]
    assert [one.serials() for one in lists(done.crls["server"]).values()] == [set(), set()]
    assert (directory.keep([entry]).changes, directory.keep([]).revoked["client"]) == ([], ["5ac6f1d9"])


def test_lists_live_longer_where_certificates_do(directory: Directory) -> None:
    first = directory.keep([{"role": "app"}], lifetime="1y")
    again = directory.keep([], directory.now + 180 * DAY, lifetime="1y")
    assert again.crls["client"] == first.crls["client"]
    assert directory.keep([], directory.now + 184 * DAY, lifetime="1y").crls["client"] != first.crls["client"]


def test_the_root_list_is_made_with_the_root_so_that_its_key_may_leave(directory: Directory) -> None:
    for key in directory.path.rglob("root.key"):
        key.unlink()
    done = directory.keep([{"role": "app"}])
    assert done.warnings == []
    assert set(lists(done.crls["server"])) == {one.common_name for one in done.lineages["server"].bundle}


def test_a_root_list_that_cannot_be_made_anew_is_warned_of_then_fails_the_run(directory: Directory, now: int) -> None:
    directory.keep([{"role": "app"}])
    moved = {path: path.read_bytes() for path in directory.path.rglob("root.key")}
    for key in moved:
        key.unlink()
    half = now + profiles.ROOT_LIST_LIFE // 2
    told = directory.keep([], half).warnings
    end = clock.instant(now + profiles.ROOT_LIST_LIFE)
    key = directory.path / "client" / "0001" / "root.key"
    assert any(f"ends on {end}" in one and f"Put {key} back" in one for one in told)
    late = now + profiles.ROOT_LIST_LIFE - crl.REFUSED_AT + 1
    with pytest.raises(
        TlsError, match=rf"root\.crl: the list .* ends in 29d, on {end}.*Put .*root\.key back, run site"
    ):
        crl_only(directory, late)
    for key, content in moved.items():
        key.write_bytes(content)
    done = crl_only(directory, late)
    assert any(" root CA " in change for change in done.changes)


def crl_only(directory: Directory, now: int) -> crl.Lists:
    """Return the plan for the lists alone: by then the issuing CAs themselves are at their end."""
    found = directory.keep([], directory.now, is_dry=True)
    revoked = keeping.revocation.look(str(directory.path), [], "revoked", now)
    return crl.plan({name: one.trusted for name, one in found.lineages.items()}, revoked, crl.Making(None, 0), now)


def test_a_missing_root_list_without_its_key_stops_the_run_before_anything_changes(directory: Directory) -> None:
    for path in (*directory.path.rglob("root.key"), *directory.path.rglob("root.crl")):
        path.unlink()
    before = directory.files()
    with pytest.raises(
        TlsError, match=r"0001/root\.crl: there is no usable list of revoked .*Put .*0001/root\.key back"
    ):
        directory.keep([{"role": "app"}])
    assert directory.files() == before


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"])
def test_a_damaged_list_is_made_anew(directory: Directory, damage: bytes) -> None:
    first = lists(directory.keep([{"role": "app"}]).crls["client"])
    path = directory.path / "client" / "0001" / "issuing.crl"
    path.write_bytes(damage)
    done = directory.keep([])
    assert len(done.changes) == 1
    issuing = done.lineages["client"].current.issuing.common_name
    assert lists(done.crls["client"])[issuing].serials() == first[issuing].serials()


def test_a_list_of_another_authority_in_place_of_ours_is_made_anew(directory: Directory) -> None:
    directory.keep([{"role": "app"}])
    other = (directory.path / "server" / "0001" / "issuing.crl").read_bytes()
    (directory.path / "client" / "0001" / "issuing.crl").write_bytes(other)
    assert len(directory.keep([]).changes) == 1


def test_a_list_whose_signature_is_wrong_is_made_anew(directory: Directory) -> None:
    directory.keep([{"role": "app"}])
    path = directory.path / "server" / "0001" / "issuing.crl"
    (found,) = revocations.read_pem(path.read_text(), "list")
    forged = found._replace(encoded=found.encoded[:-1] + bytes([found.encoded[-1] ^ 1]))
    path.write_text(forged.pem)
    assert len(directory.keep([]).changes) == 1


def test_a_list_from_the_future_is_made_anew_and_its_number_rises_all_the_same(directory: Directory, now: int) -> None:
    first = lists(directory.keep([{"role": "app"}], now + DAY).crls["client"])
    second = directory.keep([], now)
    assert len(second.changes) == 1
    issuing = second.lineages["client"].current.issuing.common_name
    assert lists(second.crls["client"])[issuing].number == first[issuing].number + 1


def test_facts_hold_lists_and_serials(directory: Directory) -> None:
    done = directory.keep([{"serial": directory.serial}])
    facts = keeping.lineage.facts(done.lineages["client"], done.crls["client"], done.revoked["client"])
    assert facts["crls"].count("BEGIN X509 CRL") == 2
    assert facts["revoked"] == [directory.serial]
