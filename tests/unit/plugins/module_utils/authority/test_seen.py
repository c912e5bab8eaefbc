# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts show and the ledger has lost, as after a restore from an older backup, goes back into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier, keeping, ledger, signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import DAY


class Directory:
    """Authorities, and what they have issued to app1 by now."""

    def __init__(self, path: Path, now: int, csr: str) -> None:
        self.path, self.now, self.csr = path, now, csr
        self.keep()
        self.issue()

    def keep(self, *certificates: str, is_dry: bool = False) -> keeping.KeepingResult:
        shown = {"client": [{"id": "app1/shop/app", "certificate": one} for one in certificates]}
        return keeping.keep(
            keeping.Wish(str(self.path), "P-256", None, "90d", unrecorded=shown), self.now, is_dry=is_dry
        )

    def issue(self) -> str:
        requests = [{"id": "app1/shop/app", "csr": self.csr, "role": "app"}]
        order = signing.Order(str(self.path), None, "client", requests, "90d")
        return signing.sign(order, self.now, is_dry=False).certificates["app1/shop/app"]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / ledger.FILE).read_text().splitlines()]


@pytest.fixture
def directory(tmp_path: Path, now: int, csr: str) -> Directory:
    return Directory(tmp_path / "ca", now, csr)


def lost(directory: Directory) -> str:
    """Issue a certificate that the ledger forgets."""
    backup = (directory.path / ledger.FILE).read_bytes()
    directory.now += DAY
    chain = directory.issue()
    (directory.path / ledger.FILE).write_bytes(backup)
    return chain


def test_what_is_in_use_goes_back_into_the_ledger_with_who_showed_it(directory: Directory) -> None:
    chain = lost(directory)
    before = directory.lines()
    dry = directory.keep(chain, is_dry=True)
    assert directory.lines() == before
    done = directory.keep(chain)
    assert (done.changes, done.warnings) == (dry.changes, dry.warnings)
    assert done.changes[0].startswith("put back into the ledger: app1/shop/app (client certificate ")
    assert "Was the directory of the authorities restored from an older backup?" in done.warnings[0]
    kept, line = directory.lines()
    assert [kept] == before
    assert (line["id"], line["subject"], line["issuer"]) == ("app1/shop/app", "app", kept["issuer"])
    assert line["reasons"][0].startswith("not_in_ledger: shown by app1 at 20")
    assert done.issued["client"] == [kept["serial"], line["serial"]]
    assert (directory.keep(chain).changes, directory.keep(chain).warnings) == ([], []), "once"
    assert len(directory.lines()) == 2


def test_a_barrier_counts_it_by_its_date_and_not_by_its_place(directory: Directory) -> None:
    chain = lost(directory)
    directory.now += DAY
    directory.issue()
    newest = directory.lines()[-1]["serial"]
    directory.keep(chain)
    assert directory.lines()[-1]["serial"] != newest
    (held,) = list(barrier.newest(str(directory.path)).values())
    assert held["serial"] == newest


def test_what_no_trusted_authority_has_signed_is_left_out(directory: Directory, tmp_path: Path, csr: str) -> None:
    foreign = Directory(tmp_path / "other", directory.now, csr).issue()
    for shown in (foreign, "no certificate", directory.keep().lineages["client"].current.issuing.pem):
        assert directory.keep(shown).changes == []


def test_a_certificate_with_our_issuers_name_and_another_signature_is_left_out(directory: Directory) -> None:
    pem = lost(directory).split("-----END")[0]
    forged = pem[:-12] + ("AAAA" if pem[-12:-8] != "AAAA" else "BBBB") + pem[-8:] + "-----END CERTIFICATE-----\n"
    assert directory.keep(forged).changes == []


def test_what_has_ended_is_left_out(directory: Directory) -> None:
    chain = lost(directory)
    directory.now += 91 * DAY
    assert directory.keep(chain).changes == []


def test_a_ledger_that_cannot_be_written_to_is_named_first(directory: Directory, tmp_path: Path) -> None:
    chain = lost(directory)
    path = directory.path / ledger.FILE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TlsError, match=r"ledger\.jsonl: expected a place that user id"):
        directory.keep(chain)


def test_what_has_not_ended_is_told_by_serial_and_a_damaged_line_counts_as_none(directory: Directory) -> None:
    serial = directory.lines()[0]["serial"]
    with (directory.path / ledger.FILE).open("a") as stream:
        stream.write('{"serial": "1a"}\n\0\n')
    assert ledger.unexpired(str(directory.path), directory.now) == {"client": [serial]}
    assert ledger.unexpired(str(directory.path), directory.now + 90 * DAY) == {}
    assert directory.keep().issued == {"client": [serial]}
