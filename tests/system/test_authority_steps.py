# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorities with every fault at every operation on files, while they are replaced, renewed and dropped.

Wherever a run is killed or fails: each authority is whole in the phase before or the one after, trusts what belongs to
it, and the same call continues to the end, without a key or half a folder left over.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    keeping,
    ledger,
    lineage,
    planning,
    profiles,
    signing,
)
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import AUTHORITY_NAMES, DAY, STEPS

Change = Callable[[], keeping.KeepingResult]
FIRST_OF_TWO = "retire"  # the scenario whose call takes the next step where its own was taken whole


class Authorities:
    """Authorities that have issued, which can be put back to what was before a step, and the call that takes it."""

    def __init__(self, place: Path, csr: str, scenario: str) -> None:
        self.directory, self.csr, self.now = place / "postgres-ca", csr, TODAY
        self.in_use: list[dict[str, str]] = []
        self.scenario = scenario
        self.keep()
        self.sign()
        self.change = SCENARIOS[scenario](self)
        self.saved, self.saved_in_use = faults.everything(place), self.in_use
        self.before = self.state()
        self.change()
        self.after = {name: phase for name, (phase, _roots) in self.state().items()}
        self.crosses_after = self.crosses()
        self.reset()

    def keep(self, **change: Any) -> keeping.KeepingResult:
        """Do what module certificate_authority does."""
        wish = keeping.Wish(str(self.directory), "P-256", None, "90d", (), planning.Change(**change))
        return keeping.keep(wish, self.now, is_dry=False)

    def phase(self, phase: str) -> keeping.KeepingResult:
        return self.keep(phase=phase, rotate=AUTHORITY_NAMES, in_use={"server": self.in_use}, trust=["none"])

    def sign(self) -> None:
        """Do what module certificate does for a server."""
        request = {"id": "db1", "csr": self.csr, "names": ["db1.example"]}
        signing.sign(signing.Order(str(self.directory), None, "server", [request], "90d"), self.now, is_dry=False)
        line = json.loads((self.directory / ledger.FILE).read_text(encoding="ascii").splitlines()[-1])
        self.in_use = [{"id": line["id"], "serial": line["serial"]}]

    def state(self) -> dict[str, tuple[str, str]]:
        """Return the phase and the trusted roots of each authority; raise TlsError for one that is not whole."""
        found = {name: lineage.read(str(self.directory), name, None) for name in AUTHORITY_NAMES}
        return {name: (one.phase, lineage.pem(one.roots)) for name, one in found.items() if one}

    def crosses(self) -> list[Path]:
        """Return the certificates by which chains lead to an old root: all that the first retirement changes."""
        return sorted(self.directory.glob("*/0*/cross.crt"))

    def check(self, _fault: faults.Fault, _tried: int) -> None:
        """Check what a fault has left, then let the next call take the step."""
        assert set(self.state()) == set(AUTHORITY_NAMES), "an authority was lost"
        for name, (phase, roots) in self.state().items():
            before = self.before[name]
            assert roots == before[1] if phase == before[0] else phase in (self.after[name], "switched")
        self._check_modes()
        with files.locked(str(self.directory), patience=0.0):
            pass  # nobody holds the lock any more
        if self.scenario != FIRST_OF_TWO or self.crosses() != self.crosses_after:
            self.change()
        assert {name: phase for name, (phase, _roots) in self.state().items()} == self.after
        assert self.keep().changes == [], "the step was not taken whole"
        self.sign()
        self._check_modes()
        self._check_what_is_left()

    def _check_modes(self) -> None:
        for path in self.directory.rglob("*"):
            assert path.suffix != ".key" or path.stat().st_mode & 0o7777 == 0o600, f"{path} is not its owner's alone"
            assert not path.is_dir() or path.stat().st_mode & 0o077 == 0, f"{path} is open for others"

    def _check_what_is_left(self) -> None:
        paths = list(self.directory.rglob("*"))
        assert not [path for path in paths if path.name.startswith(".")], "something is left over"
        assert not [path for path in paths if path.suffix == ".key" and "retired" in path.parts], "a key is left over"
        for name in AUTHORITY_NAMES:
            roots = [path for path in (self.directory / name).rglob("root.key") if "retiring" not in path.parts]
            trusted = self.state()[name][1].count("BEGIN CERTIFICATE")
            assert len(roots) == trusted, "the key of a root is lost, or there twice"

    def reset(self) -> None:
        faults.put_back(self.directory.parent, self.saved)
        self.in_use = self.saved_in_use


def before(phase: str, authorities: Authorities) -> Change:
    """Go through the phases before one, as the playbook does it."""
    return before_step(STEPS.index(phase), authorities)


def before_step(number: int, authorities: Authorities) -> Change:
    for earlier in STEPS[:number]:
        authorities.phase(earlier)
        authorities.sign()
    return lambda: authorities.phase(STEPS[number])


def renewal(authorities: Authorities) -> Change:
    """Wait until the issuing CAs are in their last half year."""
    authorities.now += profiles.ISSUING_LIFE - 100 * DAY
    return authorities.keep


def end_of_the_one_before(authorities: Authorities) -> Change:
    """Wait until the issuing CAs have ended that were in use before."""
    renewal(authorities)()
    authorities.now += 100 * DAY
    return authorities.keep


def retirement_of_two(authorities: Authorities) -> Change:
    """Have the issuing CA renewed below the root that is to retire."""
    renewal(authorities)()
    authorities.sign()
    return before_step(3, authorities)


def dropping(authorities: Authorities) -> Change:
    """Have a root that has to go at once, while another one is staged."""
    before("switch", authorities)
    root = authorities.keep().authorities["client"].root.common_name
    return lambda: authorities.keep(drop="client", confirmed=root)


SCENARIOS: dict[str, Callable[[Authorities], Change]] = {
    **{phase: functools.partial(before, phase) for phase in STEPS},
    "retire, out of what is trusted": functools.partial(before_step, 3),
    "retire two generations": retirement_of_two,
    "renewal": renewal,
    "end of the one before": end_of_the_one_before,
    "drop": dropping,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_point_of_a_step_leaves_the_phase_before_or_after_it(tmp_path: Path, scenario: str) -> None:
    key, place = tmp_path / "server.key", tmp_path / "inventory"
    key.write_text(openssl.new_key("P-256"), encoding="ascii")
    place.mkdir()
    subject = Authorities(place, openssl.new_request(str(key)), scenario)
    fault_matrix.try_all(subject, "authorities", scenario, sample=29)
