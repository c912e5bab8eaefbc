# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A year of nights: 50 hosts with a server and two clients each, in the fifth year of their authorities.

In it issuing CAs are renewed and end, certificates are revoked, a host goes, and the roots are replaced. Nothing but
the ledger may grow from night to night, no certificate may end or be cut short, and an idle night stays cheap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    keeping,
    ledger,
    planning,
    profiles,
    signing,
)
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.shared import DAY, STEPS
from cryptography.hazmat.primitives.asymmetric import ec

NIGHTS, HOST_COUNT, ROLES = 365, 50, ("app", "reporting")
BEFORE_THE_END = 300  # days that the issuing CAs have left in the first night
REVOKED_IN, GONE_IN, ROLLOVER_IN = 60, 100, 200  # nights
PLURALS = {"server": "servers", "client": "clients"}


class Night(NamedTuple):
    """What a night did: certificates issued, sizes in bytes, files beside the ledger, CPU seconds of an idle run."""

    number: int
    phase: str
    issued: int
    ledger: int
    others: int
    files: int
    idle: float


@dataclass
class Fleet:
    """The authorities and what hosts have of them: the leaf of each id."""

    directory: Path
    new_csr: Callable[[], str]
    now: int
    leaves: dict[str, dict[str, Certificate]]
    revoked: list[dict[str, str]]
    csrs: dict[str, str] = field(default_factory=dict)  # clients keep their key

    def keep(self, **change: Any) -> keeping.KeepingResult:
        wish = keeping.Wish(str(self.directory), "P-256", None, "90d", self.revoked, planning.Change(**change))
        return keeping.keep(wish, self.now, is_dry=False)

    def night(self, number: int, phase: str = "") -> Night:
        """Take a phase, if it is the night for it, then renew what is due, as site.yml does."""
        done = self.keep()
        assert done.warnings == []
        if phase:
            in_use = {
                name: [{"id": id_, "serial": f"{leaf.serial:x}"} for id_, leaf in leaves.items()]
                for name, leaves in self.leaves.items()
            }
            done = self.keep(phase=phase, rotate=list(PLURALS), in_use=in_use, trust=["none"])
        issued = sum(self._renew(name, done) for name in PLURALS)
        start = time.process_time()
        assert self.keep().changes == []
        idle = time.process_time() - start
        sizes = {path: path.stat().st_size for path in self.directory.rglob("*") if path.is_file()}
        of_ledger = sizes.pop(self.directory / ledger.FILE)
        return Night(number, done.lineages["server"].phase, issued, of_ledger, sum(sizes.values()), len(sizes), idle)

    def _renew(self, name: str, done: keeping.KeepingResult) -> int:
        requests = [self.request(name, id_) for id_ in self.leaves[name] if self._reasons(name, id_, done)]
        order = signing.Order(str(self.directory), None, name, requests, "90d")
        signed = signing.sign(order, self.now, is_dry=False)
        assert signed.warnings == []
        assert signed.refused == {}
        for id_, chain in signed.certificates.items():
            self.leaves[name][id_] = certificate.read_pem(chain, "chain")[0]
        return len(requests)

    def _reasons(self, name: str, id_: str, done: keeping.KeepingResult) -> list[str]:
        leaf = self.leaves[name][id_]
        names, role = (parse_all([id_], "names"), None) if name == "server" else ((), id_.rpartition("/")[2])
        wish = spec.Spec(role, names, "P-256", profiles.purpose(name), done.lineages[name].issuing)
        reasons = due.reasons(leaf, wish, self.now)
        if f"{leaf.serial:x}" in done.revoked.get(name, ()):
            reasons.append("revoked")
        assert not any(reason.startswith("expired") for reason in reasons)
        return reasons

    def request(self, name: str, id_: str) -> dict[str, Any]:
        if id_ not in self.csrs:
            self.csrs[id_] = self.new_csr()
        what: dict[str, Any] = {"names": [id_]} if name == "server" else {"role": id_.rpartition("/")[2]}
        return {"id": id_, "csr": self.csrs[id_], **what}


@pytest.fixture
def fleet(tmp_path: Path, now: int, csr_of: Callable[[Any], str]) -> Fleet:
    """Return a fleet that was set up in one night, when the issuing CAs had 300 days left."""
    made = Fleet(
        directory=tmp_path / "ca",
        new_csr=lambda: csr_of(ec.generate_private_key(ec.SECP256R1())),
        now=now,
        leaves={name: {} for name in PLURALS},
        revoked=[],
    )
    made.keep()
    made.now += profiles.ISSUING_LIFE - BEFORE_THE_END * DAY
    hosts = [f"db{number}.example" for number in range(HOST_COUNT)]
    ids = {"server": hosts, "client": [f"{host}/www/{role}" for host in hosts for role in ROLES]}
    for name, wanted in ids.items():
        requests = [made.request(name, id_) for id_ in wanted]
        order = signing.Order(str(made.directory), None, name, requests, "90d")
        for id_, chain in signing.sign(order, made.now, is_dry=False).certificates.items():
            made.leaves[name][id_] = certificate.read_pem(chain, "chain")[0]
    return made


def test_a_year_of_nights_leaves_nothing_but_a_longer_ledger(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    nights = []
    for number in range(1, NIGHTS + 1):
        fleet.now += DAY
        revoked = list(fleet.leaves["client"].values())[:3] if number == REVOKED_IN else []
        fleet.revoked = [{"serial": f"{leaf.serial:x}"} for leaf in revoked]  # what was in it stays revoked
        if number == GONE_IN:  # its certificates end before the rollover
            for name in PLURALS:
                fleet.leaves[name] = {id_: one for id_, one in fleet.leaves[name].items() if "db7." not in id_}
        phase = dict(enumerate(STEPS, ROLLOVER_IN)).get(number, "")
        nights.append(fleet.night(number, phase))
    with capsys.disabled():
        _print(nights)
    last = nights[-1]
    lines = (fleet.directory / ledger.FILE).read_text(encoding="ascii").count("\n")
    assert lines == sum(night.issued for night in nights) + HOST_COUNT * (1 + len(ROLES))
    assert last.ledger < 600 * lines
    levelled = nights[BEFORE_THE_END + 10 :]
    assert len({night.files for night in levelled}) == 1
    assert max(night.others for night in levelled) - min(night.others for night in levelled) < 1000
    assert last.others < 30_000
    quickest = [min(night.idle for night in part) for part in (nights[REVOKED_IN : REVOKED_IN + 30], nights[-30:])]
    assert quickest[1] < 3 * quickest[0]
    others = [night.issued for night in nights if night.number not in (REVOKED_IN, ROLLOVER_IN + 1)]
    assert max(others) < HOST_COUNT * (1 + len(ROLES)) / 2, "the renewals of a year are not spread"


def _print(nights: list[Night]) -> None:
    form = "{:>5} {:<9} {:>7} {:>10} {:>10} {:>6} {:>8}"
    rows = [("NIGHT", "PHASE", "ISSUED", "LEDGER KB", "OTHERS KB", "FILES", "IDLE MS")]
    issued = 0
    for night in nights:
        issued += night.issued
        if night.number % 30 == 1 or night.number in range(ROLLOVER_IN, ROLLOVER_IN + 4) or night.number == NIGHTS:
            sizes = f"{night.ledger / 1000:.0f}", f"{night.others / 1000:.1f}"
            rows.append(
                (str(night.number), night.phase, str(issued), *sizes, str(night.files), f"{night.idle * 1000:.1f}")
            )
    print("", *(form.format(*row) for row in rows), sep="\n")
