# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates while a root is replaced: each chain that convinces somebody does so with them, too."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, planning, signing
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.shared import STEPS

YEAR = 365 * 86400


class Fleet:
    """Authorities with one client, app, and what was last seen of it; role gone is revoked."""

    def __init__(self, directory: Path, csr: str, now: int) -> None:
        self.directory, self.csr, self.now = directory, csr, now
        keeping.keep(self.wish(), now, is_dry=False)
        self.gone = self.issue("gone")
        self.chain = self.issue("app")

    def wish(self, *entries: dict[str, str], phase: str = "") -> keeping.Wish:
        change = (
            planning.Change(phase=phase, rotate=("client",), in_use={"client": self.seen()}, trust=["none"])
            if phase
            else None
        )
        given: dict[str, Any] = {} if change is None else {"change": change}
        return keeping.Wish(str(self.directory), "P-256", None, "90d", entries, **given)

    def seen(self) -> list[dict[str, str]]:
        leaves = {"app": read_pem(self.chain, "chain")[0], "gone": read_pem(self.gone, "chain")[0]}
        return [{"id": f"app1/shop/{role}", "serial": f"{leaf.serial:x}"} for role, leaf in leaves.items()]

    def keep(self, *entries: dict[str, str], phase: str = "", is_dry: bool = False) -> keeping.KeepingResult:
        return keeping.keep(self.wish(*entries, phase=phase), self.now, is_dry=is_dry)

    def issue(self, role: str) -> str:
        request = {"id": f"app1/shop/{role}", "csr": self.csr, "role": role}
        order = signing.Order(str(self.directory), None, "client", [request], "90d")
        (chain,) = signing.sign(order, self.now, is_dry=False).certificates.values()
        return chain

    def verdict(self, chain: str, roots: str, crls: str) -> str:
        """Return what openssl says of a chain to somebody who has these roots and lists."""
        work = self.directory.parent
        (work / "chain").write_text(chain)
        (work / "trusted").write_text(roots + crls)
        command = ["openssl", "verify", "-attime", str(self.now), "-crl_check_all", "-no-CApath", "-no-CAstore"]
        command += ["-CAfile", str(work / "trusted"), "-untrusted", str(work / "chain"), str(work / "chain")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


@pytest.fixture
def fleet(tmp_path: Path, csr: str, now: int) -> Fleet:
    return Fleet(tmp_path / "ca", csr, now)


def check(fleet: Fleet, done: keeping.KeepingResult) -> None:
    """Check that lists are complete, and that with them who is valid passes, and who is revoked does not."""
    lineage, crls = done.lineages["client"], done.crls["client"]
    revocations.refuse_gaps(crls, lineage.bundle, "crls", fleet.now)
    lists = revocations.read_pem(crls, "crls")
    assert len(lists) == len(lineage.bundle), "one of each CA, and of no other"
    roots = "".join(one.pem for one in lineage.roots)
    assert fleet.verdict(fleet.chain, roots, crls).endswith("chain: OK\n")
    gone = fleet.verdict(fleet.gone, roots, crls)
    assert "certificate revoked" in gone or (lineage.phase in {"retiring", "steady"} and "unable to get" in gone), gone


def test_in_each_phase_everybody_passes_who_should(fleet: Fleet) -> None:
    check(fleet, fleet.keep({"role": "gone"}))
    old = fleet.keep().lineages["client"].roots[0]
    for phase in STEPS:
        dry = fleet.keep(phase=phase, is_dry=True)
        assert "client" in dry.crls
        done = fleet.keep(phase=phase)
        revocations.refuse_gaps(dry.crls["client"], dry.lineages["client"].bundle, "crls", fleet.now)
        check(fleet, done)
        fleet.chain = fleet.issue("app")
        check(fleet, done)
        if phase == "switch":
            assert len(read_pem(fleet.chain, "chain")) == 3, "leaf, issuing CA and the cross-signed root"
            said = fleet.verdict(fleet.chain, old.pem, done.crls["client"])
            assert said.endswith("chain: OK\n"), "who trusts the old root alone passes the chain across, too"
        assert fleet.keep().changes == []
        assert fleet.keep().crls == done.crls


def test_the_list_of_a_retired_authority_goes_with_it(fleet: Fleet) -> None:
    fleet.keep({"role": "gone"})
    for phase in STEPS[:4]:
        done = fleet.keep(phase=phase)
        fleet.chain = fleet.issue("app")
    assert len(revocations.read_pem(done.crls["client"], "crls")) == 2
    assert done.revoked["client"], "it is revoked until it ends, whoever issued it"


def test_revoking_in_the_middle_of_a_rollover_reaches_the_list_of_the_authority_that_issued(fleet: Fleet) -> None:
    fleet.keep(phase="stage")
    fleet.chain = fleet.issue("app")
    fleet.keep(phase="switch")
    fleet.chain = fleet.issue("app")
    done = fleet.keep({"role": "gone"})
    check(fleet, done)
    (revoking,) = (one for one in revocations.read_pem(done.crls["client"], "crls") if one.serials())
    assert revoking.is_of(done.lineages["client"].numbered[0].issuing)


def test_an_issuing_authority_that_is_renewed_has_a_list_beside_that_of_the_one_before(fleet: Fleet) -> None:
    fleet.keep({"role": "gone"})
    fleet.now += 5 * YEAR - 120 * 86400
    done = fleet.keep()
    lineage = done.lineages["client"]
    assert len(lineage.issuing) == 2, "the one before is trusted until it ends"
    fleet.chain = fleet.issue("app")
    revocations.refuse_gaps(done.crls["client"], lineage.bundle, "crls", fleet.now)
    roots = "".join(one.pem for one in lineage.roots)
    assert fleet.verdict(fleet.chain, roots, done.crls["client"]).endswith("chain: OK\n")
    again = fleet.keep()
    assert (again.changes, again.crls) == ([], done.crls)
