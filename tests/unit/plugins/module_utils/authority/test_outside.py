# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holders and copies of roots outside the inventory: who is named, until when, and what phase retire has to be told."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, outside, planning, signing
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import DAY, PHASES, STEPS

OUTSIDE_POOLER: dict[str, Any] = {
    "authority": "server",
    "id": "pooler1.example",
    "until": "2999-12-31",
    "by": "dba team",
}


class Fleet:
    """Both authorities; the server db1 is in the inventory, the pooler with its two certificates is not."""

    def __init__(self, directory: Path, now: int, csr: str) -> None:
        self.directory, self.now, self.csr = directory, now, csr
        self.serials: dict[tuple[str, str], str] = {}
        self.keep()
        self.issue("server", "db1")

    def keep(self, **change: Any) -> keeping.KeepingResult:
        wish = keeping.Wish(str(self.directory), "P-256", None, "90d", (), planning.Change(**change))
        return keeping.keep(wish, self.now, is_dry=False)

    def issue(self, authority: str, id_: str) -> None:
        what = {"names": [id_]} if authority == "server" else {"role": "app"}
        order = signing.Order(str(self.directory), None, authority, [{"id": id_, "csr": self.csr, **what}], "90d")
        signing.sign(order, self.now, is_dry=False)
        lines = (self.directory / "ledger.jsonl").read_text().splitlines()
        self.serials[authority, id_] = lines[-1].split('"')[3]

    def step(self, phase: str, name: str, *holders: dict[str, Any], trust: str = "") -> keeping.KeepingResult:
        seen = {"server": [{"id": "db1", "serial": self.serials["server", "db1"]}]}
        return self.keep(phase=phase, rotate=(name,), in_use=seen, outside=holders, trust=[trust] if trust else [])

    def until(self, phase: str, name: str, *holders: dict[str, Any]) -> None:
        """Bring an authority to where ``phase`` is next; whoever has a certificate of it gets a new one."""
        for earlier in PHASES[: PHASES.index(phase)]:
            self.step(earlier, name, *holders)
            for key in [one for one in self.serials if one[0] == name]:
                self.issue(*key)


@pytest.fixture
def fleet(tmp_path: Path, now: int, csr: str) -> Fleet:
    return Fleet(tmp_path / "ca", now, csr)


def digits(fleet: Fleet, name: str) -> str:
    return fleet.keep().lineages[name].current.root.common_name.rpartition(" ")[2]


@pytest.mark.parametrize("phase", PHASES[1:])
def test_a_holder_outside_stops_each_phase_that_ends_something_until_it_is_named(fleet: Fleet, phase: str) -> None:
    fleet.issue("server", "pooler1.example")
    for earlier in STEPS[: STEPS.index(phase)]:
        trust = digits(fleet, "server") if earlier == "retire" else ""
        fleet.step(earlier, "server", OUTSIDE_POOLER, trust=trust)
        for id_ in ("db1", "pooler1.example"):
            fleet.issue("server", id_)
    trust = digits(fleet, "server")
    with pytest.raises(TlsError, match=r"not safe yet: pooler1\.example .*name it in outside_holders\."):
        fleet.step(phase, "server", trust=trust)
    assert fleet.step(phase, "server", OUTSIDE_POOLER, trust=trust).changes != []


@pytest.mark.parametrize("phase", ["stage", "switch"])
def test_an_authority_is_held_by_its_own_holders_only(fleet: Fleet, phase: str) -> None:
    fleet.issue("server", "pooler1.example")
    fleet.until(phase, "client")
    done = fleet.step(phase, "client")
    assert done.changes != []
    assert done.warnings == [outside.coming()]


def test_who_holds_a_certificate_of_the_other_authority_is_asked_about_before_trust_ends(fleet: Fleet) -> None:
    fleet.issue("server", "pooler1.example")
    fleet.until("retire", "client")
    for trust in ("", "none"):
        with pytest.raises(TlsError, match=r"Known to be outside, by their certificates: pooler1\.example \(server"):
            fleet.step("retire", "client", trust=trust)
    with pytest.raises(TlsError, match=r"pooler1.*, ask dba team"):
        fleet.step("retire", "client", OUTSIDE_POOLER)
    assert fleet.step("retire", "client", trust=digits(fleet, "client")).changes != []


def test_retire_is_not_gone_through_without_an_answer_and_the_message_says_which(fleet: Fleet) -> None:
    old = fleet.keep().lineages["client"].current.root.common_name
    fleet.until("retire", "client")
    new = digits(fleet, "client")
    with pytest.raises(TlsError) as caught:
        fleet.step("retire", "client")
    message = caught.value.message
    assert message.startswith("phase: retire needs an answer. From then on, whatever trusts 'PostgreSQL client root")
    assert f"{old!r} but not 'PostgreSQL client root CA {new}' ({fleet.directory}/client/0002/root.crt)" in message
    assert "client_tls_ca_file of poolers" in message
    assert f"rerun with outside_trust: {new}. If there is nobody, rerun with outside_trust: none." in message
    assert message.endswith("none. Nothing was changed.")
    for wrong in (old, "yes"):
        with pytest.raises(TlsError, match=f"outside_trust: '{wrong}' names no new root"):
            fleet.step("retire", "client", trust=wrong)
    assert fleet.step("retire", "client", trust="none").changes != []


def test_an_answer_is_for_each_authority_by_the_name_of_its_root(fleet: Fleet) -> None:
    for phase in ("stage", "switch"):
        for name in ("server", "client"):
            fleet.step(phase, name)
            fleet.issue("server", "db1")
    both = {name: digits(fleet, name) for name in ("server", "client")}
    seen = {"server": [{"id": "db1", "serial": fleet.serials["server", "db1"]}]}
    with pytest.raises(
        TlsError, match=f"retire needs an answer. From .*outside_trust: {both['server']},{both['client']}"
    ):
        fleet.keep(phase="retire", rotate=("server", "client"), in_use=seen, trust=[both["server"]])
    done = fleet.keep(phase="retire", rotate=("server", "client"), in_use=seen, trust=list(both.values()))
    assert len(done.changes) == 2


def test_a_certificate_from_below_the_old_root_keeps_it_although_its_holder_is_named(fleet: Fleet) -> None:
    fleet.issue("server", "pooler1.example")
    fleet.step("stage", "server", OUTSIDE_POOLER)
    fleet.step("switch", "server", OUTSIDE_POOLER)
    fleet.issue("server", "db1")
    with pytest.raises(TlsError, match=r"pooler1\.example .* sign new ones with module pgops\.tls\.certificate"):
        fleet.step("retire", "server", OUTSIDE_POOLER, trust=digits(fleet, "server"))


def test_a_holder_counts_until_the_end_of_its_day_and_then_is_told(fleet: Fleet) -> None:
    fleet.issue("server", "pooler1.example")
    today = clock.instant(fleet.now)[:10]
    fleet.step("stage", "server", {**OUTSIDE_POOLER, "until": today})
    fleet.issue("server", "db1")
    yesterday = {**OUTSIDE_POOLER, "until": clock.instant(fleet.now - DAY)[:10]}
    with pytest.raises(TlsError, match=r"not safe yet: pooler1"):
        fleet.step("switch", "server", yesterday)
    (warning,) = fleet.keep(outside=[yesterday]).warnings
    assert warning.startswith("outside_holders[0]: pooler1.example (server) counted until ")
    assert "Ask dba team about it" in warning


@pytest.mark.parametrize("wrong", [{"id": "pooler2.example"}, {"authority": "client"}])
def test_a_holder_that_nobody_in_the_ledger_is_stops_a_phase_with_the_nearest(
    fleet: Fleet, wrong: dict[str, str]
) -> None:
    fleet.issue("server", "pooler1.example")
    with pytest.raises(
        TlsError, match=r"has no certificate in ledger\.jsonl\. Did you mean pooler1\.example \(server\)"
    ):
        fleet.step("stage", "server", {**OUTSIDE_POOLER, **wrong})
    assert fleet.keep(outside=[{**OUTSIDE_POOLER, **wrong}]).warnings == [], "no other run reads the ledger for it"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("pooler1", "expected a dictionary with authority, id, until, by"),
        ({"id": ""}, r"\.id: found .*, expected the id by which"),
        ({"by": None}, r"\.by: found .*, expected who answers for it"),
        ({"authority": "Both"}, r"\.authority: found 'Both', expected the name of the authority"),
        ({"until": "31.12.2026"}, r"\.until: found '31\.12\.2026', expected the last day"),
        ({"until": "2026-13-01"}, r"\.until: found '2026-13-01', expected the last day"),
    ],
)
def test_an_entry_that_cannot_be_meant_names_its_option(item: Any, message: str) -> None:
    wanted = {**OUTSIDE_POOLER, **item} if isinstance(item, dict) else item
    with pytest.raises(TlsError, match=rf"^outside_holders\[0\].*{message}"):
        outside.parse([wanted])


def test_a_day_that_yaml_has_read_as_a_date_is_one() -> None:
    assert outside.parse([{**OUTSIDE_POOLER, "until": datetime.date(2027, 2, 28)}])[0].until == "2027-02-28"
