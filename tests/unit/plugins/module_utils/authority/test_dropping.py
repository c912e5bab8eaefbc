# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency: what breaks is told before, the root has to be named, and a new authority is there at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import signing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.unit.plugins.module_utils.authority.test_rollover import (
    AUTHORITY_NAMES,
    PHASES,
    Fleet,
)


@pytest.fixture
def fleet(tmp_path: Path, now: int, csr: str) -> Fleet:
    made = Fleet(tmp_path / "ca", now, csr)
    made.keep()
    made.issue()
    return made


def root(fleet: Fleet, name: str = "client") -> str:
    return fleet.keep().lineages[name].authority.root.common_name


def drop(fleet: Fleet, confirmed: str = "", **others: Any) -> Any:
    return fleet.keep(drop="client", confirmed=confirmed, **others)


@pytest.mark.parametrize("confirmed", ["", "PostgreSQL client root CA 12345678", "client"])
@pytest.mark.parametrize("is_dry", [True, False])
def test_what_breaks_is_told_and_nothing_changes_until_the_root_is_named(
    fleet: Fleet, confirmed: str, is_dry: bool
) -> None:
    before, name = fleet.contents(), root(fleet)
    with pytest.raises(TlsError, match=f"drop_confirmed: {name}$") as caught:
        drop(fleet, confirmed, is_dry=is_dry)
    assert "app1/www/orders (client certificate " in caught.value.message
    assert (caught.value.details["root"], caught.value.details["others"]) == (name, [])
    assert caught.value.message.startswith(f"{caught.value.details['consequence']} To do it, ")
    serial = f"{fleet.leaf('client').serial:x}"
    assert caught.value.details["breaks"] == [
        {
            "authority": "client",
            "id": "app1/www/orders",
            "serial": serial,
            "issued": "2027-01-15T08:00:00Z",
            "not_after": "2027-04-15T08:00:00Z",
        }
    ]
    assert fleet.contents() == before


@pytest.mark.parametrize("phase", ["switch", "retire"])
def test_where_several_roots_are_trusted_each_is_told_with_what_breaks_below_it(fleet: Fleet, phase: str) -> None:
    """The stolen key may be that of the old root, and hosts may still have what it issued."""
    old = root(fleet)
    fleet.step("stage")
    if phase == "retire":
        fleet.step("switch")
    before = fleet.contents()
    (other,) = {one.common_name for one in fleet.keep().lineages["client"].roots} - {root(fleet)}
    with pytest.raises(TlsError, match=f"drop_confirmed: {root(fleet)}, or drop_confirmed: {other}$") as caught:
        drop(fleet)
    details, serial = caught.value.details, f"{fleet.leaf('client').serial:x}"
    assert (details["root"], [one["serial"] for one in details["breaks"]]) == (root(fleet), [serial])
    below = [serial] if other == old else []
    assert [(one["root"], [each["serial"] for each in one["breaks"]]) for one in details["others"]] == [(other, below)]
    assert details["others"][0]["since"].startswith("2027-01-15T0")
    said = "app1/www/orders (client certificate " if below else "no certificate is in use."
    assert f"is dropped alone: {said}" in details["consequence"]
    assert "and all others are dropped with it: app1/www/orders (" in details["consequence"]
    assert fleet.contents() == before


def test_hosts_of_both_roots_are_told(fleet: Fleet) -> None:
    fleet.until("switch")
    fleet.step("switch")
    old = fleet.leaf("client")
    request = {"id": "app2/www/orders", "csr": fleet.csr, "role": "orders"}
    signing.sign(signing.Order(str(fleet.directory), None, "client", [request], "90d"), fleet.now, is_dry=False)
    with pytest.raises(TlsError) as caught:
        drop(fleet)
    details = caught.value.details
    assert [one["id"] for one in details["breaks"]] == ["app1/www/orders", "app2/www/orders"]
    assert [one["serial"] for one in details["others"][0]["breaks"]] == [f"{old.serial:x}"]


def test_the_root_of_the_other_authority_confirms_nothing(fleet: Fleet) -> None:
    with pytest.raises(TlsError, match="is no root of the client CA"):
        drop(fleet, root(fleet, "server"))


def test_a_dropped_root_is_nowhere_and_a_new_authority_issues(fleet: Fleet) -> None:
    old, servers = root(fleet), root(fleet, "server")
    done = drop(fleet, old)
    assert len(done.changes) == 2
    found = done.lineages["client"]
    assert found.phase == "retiring"
    assert len(found.roots) == len(found.issuing) == 1
    assert old not in str(found.bundle)
    assert root(fleet) == found.authority.root.common_name != old
    assert root(fleet, "server") == servers
    assert drop(fleet, old).changes == []
    fleet.issue()
    assert fleet.chains["client"].count("BEGIN") == 2
    fleet.step("finish", rotate=("client",))
    assert not list((fleet.directory / "client/retired").rglob("*.key"))


def test_a_dry_run_drops_nothing(fleet: Fleet) -> None:
    before, old = fleet.contents(), root(fleet)
    assert len(drop(fleet, old, is_dry=True).changes) == 2
    assert fleet.contents() == before


@pytest.mark.parametrize("phase", PHASES[1:])
def test_the_root_in_use_can_be_dropped_in_each_phase_with_all_that_lies_beside_it(fleet: Fleet, phase: str) -> None:
    fleet.until(phase)
    old = [one.common_name for one in fleet.keep().lineages["client"].roots]
    done = drop(fleet, root(fleet))
    found = done.lineages["client"]
    assert found.phase == "retiring"
    assert [one.common_name for one in found.roots if one.common_name in old] == []
    assert fleet.keep().lineages["client"].roots == found.roots
    fleet.issue()
    fleet.step("finish", rotate=("client",))
    left = [path.name for path in (fleet.directory / "client").iterdir() if path.name[0] == "0"]
    assert len(left) == 1


def test_an_old_root_is_dropped_without_a_new_authority(fleet: Fleet) -> None:
    old = root(fleet)
    fleet.until("retire")
    current = root(fleet)
    done = drop(fleet, old)
    assert len(done.changes) == 1
    assert [one.common_name for one in done.lineages["client"].roots] == [current]


def test_a_staged_root_is_dropped_alone(fleet: Fleet) -> None:
    fleet.step("stage")
    current, staged = (one.common_name for one in fleet.keep().lineages["client"].roots)
    done = drop(fleet, staged)
    assert [one.common_name for one in done.lineages["client"].roots] == [current]


def test_a_run_that_died_before_the_old_root_was_dropped_goes_on(fleet: Fleet) -> None:
    old = root(fleet)
    (fleet.directory / "client/retiring").mkdir(mode=0o700)
    drop(fleet, old)
    (fleet.directory / "client/retiring/0001").rename(fleet.directory / "client/0001")
    current = root(fleet)
    assert len(drop(fleet, old).changes) == 1
    assert [one.common_name for one in fleet.keep().lineages["client"].roots] == [current]


def test_authorities_whose_root_has_ended_are_replaced_by_it(fleet: Fleet) -> None:
    old = {name: root(fleet, name) for name in AUTHORITY_NAMES}
    fleet.now += 3650 * 86400
    with pytest.raises(TlsError, match="expired on"):
        fleet.keep()
    for name in AUTHORITY_NAMES:
        fleet.keep(drop=name, confirmed=old[name])
    assert {one.phase for one in fleet.keep().lineages.values()} == {"retiring"}


def test_who_has_a_certificate_of_a_dropped_root_alone_does_not_hinder_its_end(fleet: Fleet) -> None:
    drop(fleet, root(fleet))
    fleet.in_use["client"] = []
    fleet.step("finish", rotate=("client",))
    assert fleet.keep().lineages["client"].phase == "steady"


def test_the_digits_of_a_common_name_confirm_it_as_well(fleet: Fleet) -> None:
    old = root(fleet)
    assert len(drop(fleet, old.split()[-1]).changes) == 2
    assert root(fleet) != old
    with pytest.raises(TlsError, match="is no root of the client CA"):
        drop(fleet, old.split()[-1][:-1])
