# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases in which a root is replaced: what each does, what it refuses, and whom chains convince meanwhile."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    barrier,
    keeping,
    keys,
    lineage,
    planning,
    profiles,
    signing,
)
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.shared import AUTHORITY_NAMES, DAY, PASSPHRASE, PHASES, STEPS

OTHER_WAY = {"stage": "steady", "switch": "staged", "retire": "switched", "finish": "retiring"}


class Fleet:
    """The authorities, one server and one client, and what was last seen of them."""

    def __init__(self, directory: Path, now: int, csr: str) -> None:
        self.directory, self.now, self.csr = directory, now, csr
        self.passphrase: str | None = None
        self.key_type = "P-256"
        self.chains: dict[str, str] = {}
        self.in_use: dict[str, list[dict[str, str]]] = {name: [] for name in AUTHORITY_NAMES}
        self.outside: list[dict[str, str]] = []
        self.trust = ["none"]

    def keep(
        self, change: planning.Change | None = None, *, is_dry: bool = False, **others: Any
    ) -> keeping.KeepingResult:
        change = change or planning.Change(**others)
        wish = keeping.Wish(str(self.directory), self.key_type, self.passphrase, "90d", (), change)
        return keeping.keep(wish, self.now, is_dry=is_dry)

    def step(
        self, phase: str, *, is_dry: bool = False, rotate: tuple[str, ...] = AUTHORITY_NAMES
    ) -> keeping.KeepingResult:
        answers = {"outside": self.outside, "trust": self.trust}
        return self.keep(phase=phase, rotate=rotate, in_use=self.in_use, is_dry=is_dry, **answers)

    def issue(self) -> None:
        """Give both a new certificate, and see it in use."""
        wanted: dict[str, list[dict[str, Any]]] = {
            "server": [{"id": "db1", "csr": self.csr, "names": ["db1.example"]}],
            "client": [{"id": "app1/www/orders", "csr": self.csr, "role": "orders"}],
        }
        for name, requests in wanted.items():
            order = signing.Order(str(self.directory), self.passphrase, name, requests, "90d")
            (self.chains[name],) = signing.sign(order, self.now, is_dry=False).certificates.values()
            serial = f"{self.leaf(name).serial:x}"
            self.in_use[name] = [{"id": requests[0]["id"], "serial": serial}]

    def leaf(self, name: str) -> Certificate:
        return certificate.read_pem(self.chains[name], "chain")[0]

    def until(self, phase: str) -> None:
        """Bring both authorities to where ``phase`` is next, in the way that the playbook does it."""
        for earlier in STEPS[: STEPS.index(phase)]:
            self.step(earlier)
            self.issue()

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.directory)): path.read_bytes() if path.is_file() else b""
            for path in sorted(self.directory.rglob("*"))
        }


@pytest.fixture
def fleet(tmp_path: Path, now: int, csr: str) -> Fleet:
    made = Fleet(tmp_path / "ca", now, csr)
    made.keep()
    made.issue()
    return made


def roots(done: keeping.KeepingResult, name: str = "server") -> list[str]:
    return [one.common_name for one in done.lineages[name].roots]


def test_a_rollover_goes_through_its_phases_and_ends_with_the_new_root_alone(fleet: Fleet) -> None:
    first = fleet.keep()
    seen = [first]
    for phase in STEPS:
        done = fleet.step(phase)
        assert len(done.changes) == 2
        assert fleet.keep().changes == []
        fleet.issue()
        seen.append(done)
    phases = ["steady", "staged", "switched", "switched", "retiring", "steady"]
    assert [done.lineages["server"].phase for done in seen] == phases
    old, new = roots(seen[1])
    assert old != new
    assert [roots(done) for done in seen] == [[old], [old, new], [old, new], [old, new], [new], [new]]
    issuers = [done.lineages["server"].authority.root.common_name for done in seen]
    assert issuers == [old, old, new, new, new, new]
    assert sorted(path.name for path in (fleet.directory / "server").iterdir()) == ["0002", "retired", "retiring"]
    kept = sorted(path.name for path in (fleet.directory / "server/retired/0001").iterdir())
    assert {"root.crt", "issuing.crt"} <= set(kept)
    assert not any(name.endswith(".key") for name in kept)


def test_a_root_is_called_a_replacement_from_the_end_of_its_rollover_on(fleet: Fleet) -> None:
    fleet.until("finish")
    assert not lineage.facts(fleet.keep().lineages["server"])["replaced"]
    assert [lineage.facts(one)["replaced"] for one in fleet.step("finish").lineages.values()] == [True, True]
    assert [lineage.facts(one)["replaced"] for one in fleet.keep().lineages.values()] == [True, True]


def test_a_switch_changes_nothing_that_is_trusted(fleet: Fleet) -> None:
    """So nobody but who gets a certificate has to be touched for it."""
    staged = lineage.facts(fleet.step("stage").lineages["client"])
    switched = lineage.facts(fleet.step("switch").lineages["client"])
    assert (staged["roots"], staged["bundle"]) == (switched["roots"], switched["bundle"])
    assert staged["issuing"] != switched["issuing"]
    assert fleet.keep().lineages["client"].issuing == [fleet.keep().lineages["client"].authority.issuing]


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_was_reached_is_no_change(fleet: Fleet, phase: str) -> None:
    fleet.until(phase)
    for _step in range(STEPS.count(phase)):
        fleet.step(phase)
    before = fleet.contents()
    fleet.in_use = {}  # and nobody has to be proven for it
    assert fleet.step(phase).changes == []
    assert fleet.contents() == before


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("present", PHASES)
def test_a_phase_that_is_not_next_is_refused_with_the_one_that_is(fleet: Fleet, phase: str, present: str) -> None:
    fleet.until(present)
    before = fleet.contents()
    reached = PHASES[PHASES.index(present) - 1]
    if phase in (present, reached):
        return
    with pytest.raises(TlsError, match=f"{phase} is not next .* is {OTHER_WAY[present]}: {present} comes first"):
        fleet.step(phase)
    assert fleet.contents() == before


@pytest.mark.parametrize("phase", PHASES)
def test_a_dry_run_of_a_phase_writes_nothing_and_tells_the_truth(fleet: Fleet, phase: str) -> None:
    fleet.until(phase)
    for _step in range(STEPS.count(phase)):
        before = fleet.contents()
        planned = fleet.step(phase, is_dry=True)
        assert fleet.contents() == before
        done = fleet.step(phase)
        assert [change[:40] for change in planned.changes] == [change[:40] for change in done.changes]
        assert planned.lineages["server"].phase == done.lineages["server"].phase
        assert len(planned.lineages["server"].chain) == len(done.lineages["server"].chain)
        assert (planned.before, len(planned.after.splitlines())) == (done.before, len(done.after.splitlines()))


def test_one_authority_alone_can_be_replaced(fleet: Fleet) -> None:
    for phase in STEPS:
        fleet.step(phase, rotate=("client",))
        fleet.issue()
    assert sorted(path.name for path in (fleet.directory / "server").iterdir()) == ["0001"]
    assert (fleet.directory / "client/retired/0001").is_dir()


def test_a_run_that_died_between_the_two_authorities_goes_on(fleet: Fleet) -> None:
    fleet.step("stage", rotate=("server",))
    done = fleet.step("stage")
    assert len(done.changes) == 1
    assert {one.phase for one in done.lineages.values()} == {"staged"}


@pytest.mark.parametrize("phase", PHASES[1:3])
@pytest.mark.parametrize("missing", AUTHORITY_NAMES)
def test_who_was_not_seen_hinders_each_phase_that_ends_something(fleet: Fleet, phase: str, missing: str) -> None:
    fleet.until(phase)
    serial = f"{fleet.leaf(missing).serial:x}"
    fleet.in_use[missing] = []
    before = fleet.contents()
    with pytest.raises(TlsError, match=f"{phase} is not safe yet: .* {serial} of .*, until .*revoke") as caught:
        fleet.step(phase, rotate=(missing,))
    (one,) = caught.value.details["unproven"]
    assert (one["authority"], one["serial"]) == (missing, serial)
    assert fleet.contents() == before


@pytest.mark.parametrize("missing", AUTHORITY_NAMES)
def test_a_new_root_is_staged_without_who_was_not_seen_and_a_warning_names_it(fleet: Fleet, missing: str) -> None:
    old = roots(fleet.keep(), missing)
    fleet.in_use[missing] = []
    (warning,) = fleet.step("stage", is_dry=True).warnings
    done = fleet.step("stage")
    assert done.warnings == [warning]
    assert re.match(rf"phase: stage continues without .* not seen: \S+ \({missing} certificate \w+ of ", warning)
    assert roots(done, missing)[:-1] == old, "trust is only added"
    assert fleet.keep().authorities[missing].root.common_name == old[0], "and the old one issues"


def awaited(done: keeping.KeepingResult) -> list[str]:
    return [one.id for one in done.awaited]


def test_whom_the_next_phase_waits_for_is_known_in_every_call_from_stage_on(fleet: Fleet) -> None:
    fleet.outside = [{"authority": "client", "id": "app1/www/orders", "until": "2999-12-31", "by": "dba team"}]
    assert awaited(fleet.keep()) == []
    fleet.in_use = {}
    assert awaited(fleet.step("stage", is_dry=True)) == awaited(fleet.step("stage")) == ["db1"]
    assert awaited(fleet.keep()) == ["db1", "app1/www/orders"], "nobody answers for it in this call"
    assert awaited(fleet.keep(outside=fleet.outside)) == ["db1"]
    fleet.issue()
    fleet.step("switch")
    assert awaited(fleet.keep(outside=fleet.outside)) == ["db1", "app1/www/orders"], "it is below the old root"
    fleet.issue()
    assert awaited(fleet.keep(outside=fleet.outside)) == ["db1"]
    fleet.now += 90 * DAY
    assert awaited(fleet.keep()) == [], "it has ended"


def test_of_one_authority_only_the_holders_are_awaited_and_nobody_who_is_revoked(fleet: Fleet) -> None:
    fleet.step("stage", rotate=("client",))
    assert awaited(fleet.keep()) == ["app1/www/orders"]
    revoked = [{"role": "orders", "host": None, "serial": None, "authority": None, "reason": "unspecified"}]
    wish = keeping.Wish(str(fleet.directory), "P-256", None, "90d", revoked)
    assert awaited(keeping.keep(wish, fleet.now, is_dry=True)) == []


def test_where_nothing_leads_from_the_old_root_to_the_new_one_a_switch_waits_for_who_may_trust_only_the_old_one(
    fleet: Fleet,
) -> None:
    """A server that is away does not trust the new client root, and is to refuse no client."""
    (fleet.directory / "client/0001/root.key").unlink()
    fleet.step("stage", rotate=("client",))
    assert awaited(fleet.keep()) == ["db1", "app1/www/orders"]
    in_use, fleet.in_use = fleet.in_use, {**fleet.in_use, "server": []}
    with pytest.raises(TlsError, match=r"switch is not safe yet: db1 \(server certificate"):
        fleet.step("switch", rotate=("client",))
    fleet.in_use = in_use
    fleet.step("switch", rotate=("client",))
    assert awaited(fleet.keep()) == ["app1/www/orders"], "from now on it is no worse"


def test_a_damaged_ledger_stops_no_call_that_only_keeps_the_authorities(fleet: Fleet) -> None:
    fleet.step("stage")
    with (fleet.directory / "ledger.jsonl").open("a") as ledger:
        ledger.write("{no JSON\n")
    assert awaited(fleet.keep()) == []
    with pytest.raises(TlsError, match="expected a JSON object"):
        fleet.step("switch")


def test_who_was_seen_with_an_older_certificate_hinders(fleet: Fleet) -> None:
    fleet.step("stage")
    fleet.issue()
    fleet.in_use["server"] = [{"id": "db1", "serial": "12ab"}]
    told = r"switch is not safe yet: db1 .* Seen with another .*: db1. Renew there, with renew of module server"
    with pytest.raises(TlsError, match=told):
        fleet.step("switch")


def test_who_has_no_valid_certificate_hinders_nobody(fleet: Fleet) -> None:
    fleet.step("stage")
    fleet.in_use = {}
    fleet.now += 90 * DAY - 1
    with pytest.raises(TlsError, match="not safe yet"):
        fleet.step("switch")
    fleet.now += 1
    fleet.step("switch")


def test_who_is_revoked_hinders_nobody(fleet: Fleet) -> None:
    serials = {name: {f"{fleet.leaf(name).serial:x}"} for name in AUTHORITY_NAMES}
    newest = barrier.newest(str(fleet.directory)).values()
    assert barrier.live(newest, {}, fleet.now) != []
    assert barrier.live(newest, serials, fleet.now) == []


def test_a_root_does_not_retire_as_long_as_somebody_has_a_certificate_from_below_it(fleet: Fleet) -> None:
    fleet.step("stage")
    fleet.step("switch")
    with pytest.raises(TlsError, match=r"retire is not safe yet: db1 .* is from below the root") as caught:
        fleet.step("retire")
    assert [one["id"] for one in caught.value.details["unproven"]] == ["db1"]
    fleet.issue()
    fleet.step("retire")


@pytest.mark.parametrize("phase", PHASES)
def test_authorities_that_do_not_exist_have_no_phase(tmp_path: Path, now: int, csr: str, phase: str) -> None:
    with pytest.raises(TlsError, match="phase: there is no server CA in this directory, which has no auth"):
        Fleet(tmp_path / "ca", now, csr).step(phase)


def test_another_key_type_comes_by_a_rollover(fleet: Fleet) -> None:
    fleet.key_type = "P-384"
    with pytest.raises(TlsError, match=r"P-384 was asked for, but the server CA .* has P-256 keys.*rotate_ca"):
        fleet.keep()
    assert fleet.keep(rotate=AUTHORITY_NAMES).changes == []
    fleet.step("stage")
    fleet.keep()
    for phase in STEPS[1:]:
        fleet.issue()
        fleet.step(phase)
    assert {one.authority.issuing.key_type for one in fleet.keep().lineages.values()} == {"P-384"}


def test_a_staged_authority_keeps_its_key_type(fleet: Fleet) -> None:
    fleet.key_type = "P-384"
    fleet.step("stage")
    fleet.key_type = "RSA-3072"
    with pytest.raises(TlsError, match=r"has P-256 keys, and P-384 keys staged.*set key_type back to P-384"):
        fleet.keep(rotate=AUTHORITY_NAMES)
    with pytest.raises(TlsError, match=r"has P-384 keys.*set key_type back to P-384"):
        fleet.step("switch")


def test_a_staged_key_that_does_not_open_is_found_before_the_switch(fleet: Fleet) -> None:
    fleet.step("stage")
    (fleet.directory / "server/staged/issuing.key").write_bytes(
        keys.to_pem(keys.new_key("P-256"), None),
    )
    with pytest.raises(TlsError, match=r"server/staged/issuing\.key: this key does not belong to"):
        fleet.keep()


def test_all_phases_work_with_encrypted_keys(tmp_path: Path, now: int, csr: str) -> None:
    fleet = Fleet(tmp_path / "ca", now, csr)
    fleet.passphrase = PASSPHRASE
    fleet.keep()
    for phase in STEPS:
        fleet.issue()
        fleet.step(phase)
        assert all(b"ENCRYPTED" in text for path, text in fleet.contents().items() if path.endswith(".key"))


def test_without_the_old_roots_key_there_is_no_cross_and_a_warning(fleet: Fleet) -> None:
    (fleet.directory / "server/0001/root.key").unlink()
    done = fleet.step("stage")
    (warning,) = done.warnings
    assert str(fleet.directory / "server/0001/root.key") in warning
    assert not (fleet.directory / "server/staged/cross.crt").exists()
    assert (fleet.directory / "client/staged/cross.crt").exists()
    fleet.step("switch")
    fleet.issue()
    assert fleet.chains["server"].count("BEGIN CERTIFICATE") == 2
    assert fleet.chains["client"].count("BEGIN CERTIFICATE") == 3


def test_a_root_of_an_earlier_version_is_replaced_without_cross(
    tmp_path: Path, now: int, csr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "ROOT", profiles.ROOT._replace(path_length=1))
    fleet = Fleet(tmp_path / "ca", now, csr)
    fleet.keep()
    monkeypatch.undo()
    done = fleet.step("stage")
    assert all("path length" in warning for warning in done.warnings)
    assert len(done.warnings) == 2
    fleet.step("switch")
    fleet.issue()
    assert fleet.chains["server"].count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("key_types", [("P-256", "P-256"), ("RSA-3072", "P-384"), ("P-384", "RSA-3072")])
def test_chains_convince_whoever_trusts_a_root_that_is_not_retired(
    tmp_path: Path, csr: str, run: Callable[..., Any], key_types: tuple[str, str]
) -> None:
    """Asks openssl, strictly, about the certificates of both authorities; it takes no other clock than the real one."""
    fleet = Fleet(tmp_path / "ca", int(time.time()), csr)
    fleet.key_type = key_types[0]
    old = {name: found.roots for name, found in fleet.keep().lineages.items()}
    fleet.issue()
    fleet.key_type = key_types[1]

    def convinced() -> dict[str, list[str]]:
        new = {name: found.roots[-1:] for name, found in fleet.keep().lineages.items()}
        trusts = {"old": old, "new": new, "both": {name: [*old[name], *new[name]] for name in AUTHORITY_NAMES}}
        return {
            name: [who for who, trusted in trusts.items() if verified(name, trusted[name])] for name in AUTHORITY_NAMES
        }

    def verified(name: str, trusted: list[Certificate]) -> bool:
        leaf, *above = certificate.read_pem(fleet.chains[name], "chain")
        for file, found in {"trust": trusted, "above": above, "leaf": [leaf]}.items():
            (tmp_path / file).write_text(lineage.pem(found))
        done = run(
            "openssl", "verify", "-x509_strict", "-purpose", f"ssl{name}", "-CAfile", tmp_path / "trust",
            "-no-CApath", "-no-CAstore", "-untrusted", tmp_path / "above", tmp_path / "leaf",
        )  # fmt: skip
        return bool(done.returncode == 0)

    fleet.step("stage")
    assert convinced() == {name: ["old", "both"] for name in AUTHORITY_NAMES}
    fleet.step("switch")
    fleet.issue()
    assert convinced() == {name: ["old", "new", "both"] for name in AUTHORITY_NAMES}
    crossed = dict(fleet.chains)
    fleet.step("retire")
    assert convinced() == {name: ["old", "new", "both"] for name in AUTHORITY_NAMES}  # chains that are out there
    fleet.chains = {name: shortened(fleet, name) for name in AUTHORITY_NAMES}  # as their hosts do it
    assert convinced() == {name: ["new", "both"] for name in AUTHORITY_NAMES}
    fleet.step("retire")
    assert fleet.chains == {name: shortened(fleet, name) for name in AUTHORITY_NAMES}
    fleet.issue()
    assert all(fleet.chains[name].count("BEGIN") < crossed[name].count("BEGIN") for name in AUTHORITY_NAMES)
    assert convinced() == {name: ["new", "both"] for name in AUTHORITY_NAMES}


def shortened(fleet: Fleet, name: str) -> str:
    """Return a chain as a host has it that was told of the authorities as they are."""
    between = certificate.read_pem(str(lineage.facts(fleet.keep().lineages[name])["issuing"]), "issuing")
    found = certificate.read_pem(fleet.chains[name], "chain")
    return chain.pem(chain.fitting(found, between, fleet.keep().lineages[name].roots, fleet.now)).decode()


def test_an_old_root_leaves_all_chains_while_it_is_still_trusted(fleet: Fleet) -> None:
    """With a chain that ends in it pgjdbc is shut out as soon as a server does not trust it any more."""
    fleet.until("retire")
    crossed = {name: found.authority.cross for name, found in fleet.keep().lineages.items()}
    for one in crossed.values():
        assert one is not None
    assert {name: shortened(fleet, name) for name in AUTHORITY_NAMES} == fleet.chains
    old = {name: found.roots for name, found in fleet.keep().lineages.items()}
    done = fleet.step("retire")
    assert [change.split(":")[0] for change in done.changes] == [
        f"take the old {name} root out of chains" for name in AUTHORITY_NAMES
    ]
    for name, found in done.lineages.items():
        assert (found.phase, found.roots) == ("switched", old[name])
        left = certificate.read_pem(shortened(fleet, name), "chain")
        assert left == [fleet.leaf(name), found.authority.issuing]
    assert not list(fleet.directory.rglob("cross.crt"))
    assert fleet.step("retire").lineages["server"].phase == "retiring"


def test_who_was_not_seen_since_the_old_root_left_chains_hinders_its_retirement(fleet: Fleet) -> None:
    fleet.until("retire")
    fleet.step("retire")
    fleet.in_use["client"] = []
    with pytest.raises(TlsError, match="retire is not safe yet: app1/www/orders"):
        fleet.step("retire")


def test_a_run_that_died_between_the_chains_of_two_authorities_goes_on(fleet: Fleet) -> None:
    fleet.until("retire")
    fleet.step("retire", rotate=("server",))
    done = fleet.step("retire")
    assert [change.split(":")[0] for change in done.changes] == ["take the old client root out of chains"]
    assert {found.phase for found in done.lineages.values()} == {"switched"}
    assert {found.phase for found in fleet.step("retire").lineages.values()} == {"retiring"}


def test_generations_of_one_root_retire_together(fleet: Fleet) -> None:
    """The issuing CA was renewed below the old root; a run died after the first of both folders had moved."""
    fleet.now += 5 * 365 * DAY - 100 * DAY
    assert len(fleet.keep().lineages["server"].numbered) == 2
    fleet.issue()
    fleet.step("stage")
    fleet.step("switch")
    fleet.issue()
    before = fleet.keep()
    (fleet.directory / "server/retiring").mkdir(mode=0o700)
    (fleet.directory / "server/0001").rename(fleet.directory / "server/retiring/0001")
    after = fleet.keep()
    assert after.lineages["server"].phase == "switched"
    assert lineage.facts(after.lineages["server"]) == lineage.facts(before.lineages["server"])
    fleet.step("retire")
    done = fleet.step("retire")
    assert done.lineages["server"].phase == "retiring"
    fleet.step("finish")
    assert sorted(path.name for path in (fleet.directory / "server/retired").iterdir()) == ["0001", "0002"]
