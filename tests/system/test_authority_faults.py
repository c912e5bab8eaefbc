# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the authorities with every fault at every operation on files, while it is made and while it issues.

Wherever a run is killed or fails: each authority is there whole or not at all, one that was there before is the same,
every certificate that was ever handed out is in the ledger, keys are their owner's alone, the next run works, and
nothing is left over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    keeping,
    ledger,
    lineage,
    location,
    signing,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import AUTHORITY_NAMES


class Stage:
    """A directory of authorities before a change, which it can be put back to, and the call that makes the change."""

    def __init__(self, place: Path, csr: str, scenario: str) -> None:
        self.directory = place / "postgres-ca"
        self.csr = csr
        self.is_loose = False
        self.handed_out: list[str] = []  # what callers have been given since the directory was put back
        self.change = SCENARIOS[scenario](self)
        self.before = self.roots()
        self.handed_out_before = list(self.handed_out)
        self.saved = faults.everything(place)

    def make(self) -> None:
        """Do what module certificate_authority does."""
        keeping.keep(keeping.Wish(str(self.directory), "P-256", None), TODAY, is_dry=False)

    def sign(self) -> None:
        """Do what module certificate does for two servers."""
        requests = [{"id": name, "csr": self.csr, "names": [name]} for name in ("db1.example", "db2.example")]
        order = signing.Order(str(self.directory), None, "server", requests, "90d")
        chains = signing.sign(order, TODAY, is_dry=False).certificates.values()
        assert len(chains) == len(requests)
        self.handed_out += [read_pem(chain, "chain")[0].sha256 for chain in chains]

    def roots(self) -> dict[str, str]:
        """Return the roots of the authorities that are there; raise TlsError for one that is not whole."""
        found = {name: lineage.read(str(self.directory), name, None) for name in AUTHORITY_NAMES}
        return {name: lineage.pem(one.roots) for name, one in found.items() if one}

    def check(self, _fault: faults.Fault, _tried: int) -> None:
        """Check what a fault has left, then let the next run make what is missing and issue."""
        found = self.roots()
        assert {name: found.get(name) for name in self.before} == self.before, "an authority was lost or replaced"
        self.check_modes(are_keys_loose=self.is_loose)
        self.check_ledger(is_mended=False)
        if self.directory.exists():
            with files.locked(str(self.directory), patience=0.0):
                pass  # nobody holds the lock any more
        self.make()
        self.sign()
        assert {**self.roots(), **found} == self.roots(), "the next run has replaced an authority"
        assert set(self.roots()) == set(AUTHORITY_NAMES)
        self.check_modes()
        self.check_ledger(is_mended=True)
        expected = {ledger.FILE, *AUTHORITY_NAMES, *(f"{name}/0001" for name in AUTHORITY_NAMES)}
        expected |= {
            f"{name}/0001/{file}.{kind}"
            for name in AUTHORITY_NAMES
            for file in ("root", "issuing")
            for kind in FILE_ENDINGS
        }
        assert set(faults.everything(self.directory)) == expected, "something is left over or missing"

    def check_modes(self, *, are_keys_loose: bool = False) -> None:
        for path, (mode, *_rest) in faults.everything(self.directory).items():
            if path.endswith(".key") and not are_keys_loose:
                assert int(mode, 8) & 0o7777 == 0o600, f"{path} has mode {mode}"
            if (self.directory / path).is_dir():
                assert int(mode, 8) & 0o077 == 0, f"{path} has mode {mode}"

    def check_ledger(self, *, is_mended: bool) -> None:
        """Check that the ledger has a whole line for each certificate that was handed out."""
        path = self.directory / ledger.FILE
        *lines, end = path.read_text(encoding="ascii").split("\n") if path.exists() else [""]
        assert not (is_mended and end), "half a line is left"
        missing = set(self.handed_out) - {json.loads(line)["sha256"] for line in lines}
        assert not missing, "a certificate was handed out that is not in the ledger"

    def reset(self) -> None:
        faults.put_back(self.directory.parent, self.saved)
        self.handed_out = list(self.handed_out_before)


FILE_ENDINGS = ("crt", "key", "crl")


def first_making(stage: Stage) -> Callable[[], object]:
    return stage.make


def making_of_the_second(stage: Stage) -> Callable[[], object]:
    """One of the two is there: a run had died between them."""
    location.make(str(stage.directory))
    store.create(str(stage.directory), AUTHORITIES["server"], None)
    return stage.make


def loose_keys(stage: Stage) -> Callable[[], object]:
    """Take the rights from keys that everybody may read, as after a git clone."""
    stage.make()
    for key in stage.directory.rglob("*.key"):
        key.chmod(0o644)
    stage.is_loose = True
    return stage.make


def first_issue(stage: Stage) -> Callable[[], object]:
    stage.make()
    return stage.sign


def later_issue(stage: Stage) -> Callable[[], object]:
    stage.make()
    stage.sign()
    return stage.sign


def issue_after_a_death(stage: Stage) -> Callable[[], object]:
    """Half a line is at the end of the ledger."""
    stage.make()
    stage.sign()
    with (stage.directory / ledger.FILE).open("a", encoding="ascii") as stream:
        stream.write('{"serial": "12ab')
    return stage.sign


SCENARIOS = {
    "first making": first_making,
    "making of the second": making_of_the_second,
    "loose keys": loose_keys,
    "first issue": first_issue,
    "later issue": later_issue,
    "issue after a death": issue_after_a_death,
}


@pytest.fixture
def csr(tmp_path: Path) -> str:
    """Return a request that servers could have sent."""
    key = tmp_path / "server.key"
    key.write_text(openssl.new_key("P-256"), encoding="ascii")
    return openssl.new_request(str(key))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_point_keeps_authorities_and_ledger_whole(tmp_path: Path, csr: str, scenario: str) -> None:
    place = tmp_path / "inventory"
    place.mkdir()
    fault_matrix.try_all(Stage(place, csr, scenario), "authorities", scenario, sample=17)
