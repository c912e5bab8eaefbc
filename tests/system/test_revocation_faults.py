# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authorities with every fault at every operation on files, while they revoke and make lists anew.

Wherever a run is killed or fails: record and lists are each there as they were or as they are to be, no list revokes
what is not recorded, the next run ends with everything revoked that was to be, and nothing is left over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, ledger, profiles, revocation, signing
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.servers import TODAY

ENTRIES = [{"role": "app"}, {"host": "db1"}]


class Stage:
    """Authorities that have issued, before a change, and the call that makes the change."""

    def __init__(self, place: Path, csr: str, scenario: str) -> None:
        self.directory = place / "postgres-ca"
        self.now = TODAY
        self.keep()
        self.serials = {
            self.sign(csr, "client", {"id": "app1/shop/app", "role": "app"}),
            self.sign(csr, "server", {"id": "db1", "names": ["db1.example"]}),
        }
        self.expected = set(faults.everything(self.directory)) | {ledger.REVOKED}
        self.change = SCENARIOS[scenario](self)
        self.recorded = self.in_record()
        self.saved = faults.everything(place)

    def sign(self, csr: str, authority: str, request: dict[str, object]) -> int:
        order = signing.Order(str(self.directory), None, authority, [{**request, "csr": csr}], "90d")
        (chain,) = signing.sign(order, TODAY, is_dry=False).certificates.values()
        return read_pem(chain, "chain")[0].serial

    def keep(self, *entries: dict[str, str]) -> keeping.KeepingResult:
        return keeping.keep(keeping.Wish(str(self.directory), "P-256", None, revoked=entries), self.now, is_dry=False)

    def revoke(self) -> keeping.KeepingResult:
        return self.keep(*ENTRIES)

    def in_record(self) -> set[int]:
        return {int(line["serial"], 16) for line in revocation.read(str(self.directory)) or ()}

    def in_lists(self) -> set[int]:
        """Return whom the lists revoke; raise TlsError for one that is not whole."""
        found = [
            one for path in self.directory.rglob("*.crl") for one in revocations.read_pem(path.read_text(), "list")
        ]
        assert len(found) == 4, "a list was lost"
        return {serial for one in found for serial in one.serials()}

    def check(self, _fault: faults.Fault, _tried: int) -> None:
        """Check what a fault has left, then let the next run end in the new state."""
        assert self.in_record() in (self.recorded, self.serials), "not the whole old or new record"
        assert self.in_lists() <= self.in_record(), "a list revokes what the next run would forget"
        with files.locked(str(self.directory), patience=0.0):
            pass  # nobody holds the lock any more
        done = self.revoke()
        assert self.in_record() == self.in_lists() == self.serials
        for name, found in done.lineages.items():
            revocations.refuse_gaps(done.crls[name], found.bundle, "crls", self.now + profiles.ISSUING_LIST_LIFE // 3)
        again = self.revoke()
        assert (again.changes, again.crls) == ([], done.crls)
        assert set(faults.everything(self.directory)) == self.expected, "something is left over or missing"

    def reset(self) -> None:
        faults.put_back(self.directory.parent, self.saved)


def first_revocation(stage: Stage) -> Callable[[], object]:
    return stage.revoke


def later_revocation(stage: Stage) -> Callable[[], object]:
    stage.keep(ENTRIES[1])
    return stage.revoke


def lists_made_anew(stage: Stage) -> Callable[[], object]:
    """Let half of the lists' life pass."""
    stage.revoke()
    stage.now += profiles.ISSUING_LIST_LIFE // 2
    return stage.revoke


SCENARIOS = {
    "first revocation": first_revocation,
    "later revocation": later_revocation,
    "lists made anew": lists_made_anew,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_point_keeps_record_and_lists_whole(tmp_path: Path, scenario: str) -> None:
    place = tmp_path / "inventory"
    place.mkdir()
    key = tmp_path / "key"
    key.write_text(openssl.new_key("P-256"), encoding="ascii")
    stage = Stage(place, openssl.new_request(str(key)), scenario)
    fault_matrix.try_all(stage, "authorities", scenario, sample=5)
