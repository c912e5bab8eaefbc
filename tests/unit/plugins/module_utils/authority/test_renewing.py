# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuing CA by the clock: renewed in time, below the same root; where the root's key is elsewhere it is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, keys, lineage, profiles, signing
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.shared import DAY, PASSPHRASE

ISSUING_LIFE = profiles.ISSUING_LIFE


class Ca:
    """The directory of the authorities, kept by runs at given moments."""

    def __init__(self, directory: Path, start: int) -> None:
        self.directory, self.start = directory, start
        self.passphrase: str | None = None

    def at(self, moment: int, lifetime: str = "90d", *, is_dry: bool = False) -> keeping.KeepingResult:
        """Return what a run does ``moment`` seconds after the first one."""
        wish = keeping.Wish(str(self.directory), "P-256", self.passphrase, lifetime)
        return keeping.keep(wish, self.start + moment, is_dry=is_dry)

    def folders(self, name: str = "server") -> list[str]:
        return sorted(path.name for path in (self.directory / name).iterdir())


@pytest.fixture
def ca(tmp_path: Path, now: int) -> Ca:
    made = Ca(tmp_path / "ca", now)
    made.at(0)
    return made


def server(done: keeping.KeepingResult) -> Lineage:
    return done.lineages["server"]


@pytest.mark.parametrize(
    ("lifetime", "left"),
    [("90d", ISSUING_LIFE // 10), ("30d", ISSUING_LIFE // 10), ("1y", 2 * 365 * DAY), ("5y", ISSUING_LIFE // 2)],
)
def test_an_issuing_ca_is_renewed_long_before_it_would_shorten_a_certificate(ca: Ca, lifetime: str, left: int) -> None:
    assert ca.at(ISSUING_LIFE - left - profiles.BACKDATED, lifetime).changes == []
    done = ca.at(ISSUING_LIFE - left + 1, lifetime)
    assert len(done.changes) == 2
    assert "make a new issuing CA below the server root" in done.changes[0]
    assert done.warnings == []
    assert server(done).authority.issuing.not_after == ca.start + ISSUING_LIFE - left + 1 + ISSUING_LIFE
    assert ca.at(ISSUING_LIFE - left + 1, lifetime).changes == []


def test_a_renewed_issuing_ca_changes_nothing_that_clients_trust(ca: Ca) -> None:
    before = lineage.facts(server(ca.at(0)))
    after = lineage.facts(server(ca.at(ISSUING_LIFE - 100 * DAY)))
    assert after["roots"] == before["roots"]
    assert after["phase"] == "steady"
    issuing = certificate.read_pem(str(after["issuing"]), "issuing")
    assert issuing[1].pem == before["issuing"]
    assert issuing[0].not_after > issuing[1].not_after
    assert str(after["bundle"]).count("BEGIN CERTIFICATE") == 3


def test_what_the_issuing_ca_before_has_issued_stays(ca: Ca, csr: str) -> None:
    def chain(moment: int) -> list[certificate.Certificate]:
        order = signing.Order(str(ca.directory), None, "server", [{"id": "db1", "csr": csr, "names": ["db1"]}], "90d")
        done = signing.sign(order, ca.start + moment, is_dry=False)
        assert done.warnings == []
        return certificate.read_pem(done.certificates["db1"], "chain")

    moment = ISSUING_LIFE - ISSUING_LIFE // 10
    leaf = chain(moment)[0]
    done = ca.at(moment + 1)
    wish = spec.Spec(None, leaf.names, "P-256", certificate.SERVER_AUTH, server(done).issuing)
    assert due.reasons(leaf, wish, ca.start + moment + 1) == []
    later = chain(moment + 1)
    assert later[1] == server(done).authority.issuing
    assert len(later) == 2


def test_an_issuing_ca_that_has_ended_leaves_the_bundle_by_itself(ca: Ca) -> None:
    ca.at(ISSUING_LIFE - 100 * DAY)
    assert ca.folders() == ["0001", "0002"]
    assert ca.at(ISSUING_LIFE - 1).changes == []
    done = ca.at(ISSUING_LIFE)
    assert len(done.changes) == 2
    assert "put away" in done.changes[0]
    assert server(done).bundle == [server(done).authority.issuing, server(done).authority.root]
    assert ca.folders() == ["0002", "retired"]
    assert not list((ca.directory / "server/retired").rglob("*.key"))
    assert (ca.directory / "server/0002/root.key").exists()
    assert ca.at(ISSUING_LIFE).changes == []


def test_the_roots_key_is_in_one_place_only(ca: Ca) -> None:
    key = (ca.directory / "server/0001/root.key").read_bytes()
    ca.at(ISSUING_LIFE - 100 * DAY)
    assert not (ca.directory / "server/0001/root.key").exists()
    assert (ca.directory / "server/0002/root.key").read_bytes() == key
    assert (ca.directory / "server/0002/root.key").stat().st_mode & 0o777 == 0o600


def test_a_root_key_that_was_put_back_into_an_older_folder_is_found(ca: Ca) -> None:
    ca.at(ISSUING_LIFE - 100 * DAY)
    (ca.directory / "server/0002/root.key").rename(ca.directory / "server/0001/root.key")
    (change,) = ca.at(ISSUING_LIFE - 99 * DAY).changes
    assert change == f"move {ca.directory}/server/0001/root.key to {ca.directory}/server/0002"
    assert (ca.directory / "server/0002/root.key").exists()


def test_a_root_key_that_is_elsewhere_is_asked_for_in_time(ca: Ca, csr: str) -> None:
    path = ca.directory / "server/0001/root.key"
    kept = path.read_bytes()
    path.unlink()
    assert ca.at(ISSUING_LIFE - ISSUING_LIFE // 10 - profiles.BACKDATED).warnings == []
    done = ca.at(ISSUING_LIFE - ISSUING_LIFE // 10 + 1)
    assert ["client root" in change for change in done.changes] == [True]
    (warning,) = done.warnings
    assert f"{path}: it does not exist" in warning
    assert "Put it there before 2031-10-16T08:00:00Z" in warning
    order = signing.Order(str(ca.directory), None, "server", [{"id": "db1", "csr": csr, "names": ["db1"]}], "90d")
    late = signing.sign(order, ca.start + ISSUING_LIFE - 80 * DAY, is_dry=False)
    assert f"Copy the key of its root to {path}" in late.warnings[0]
    with pytest.raises(TlsError, match=rf"less than a third of that. Copy the key of its root to {path}"):
        signing.sign(order, ca.start + ISSUING_LIFE - 20 * DAY, is_dry=False)
    path.write_bytes(kept)
    done = ca.at(ISSUING_LIFE + DAY)  # even when it has ended
    assert done.warnings == []
    assert server(done).issuing == [server(done).authority.issuing]


def test_a_root_key_that_does_not_open_is_asked_for_and_stops_nothing(ca: Ca) -> None:
    (ca.directory / "server/0001/root.key").write_bytes(keys.to_pem(keys.new_key("P-256"), PASSPHRASE))
    (warning,) = ca.at(ISSUING_LIFE - 100 * DAY).warnings
    assert "the key is encrypted and no passphrase was given" in warning


def test_no_issuing_ca_is_made_that_would_end_no_later(ca: Ca) -> None:
    """With the root a rollover is due, which every run says in its last year."""
    ca.at(ISSUING_LIFE - 100 * DAY)
    last = profiles.ROOT_LIFE - 365 * DAY
    assert ca.at(last).warnings == []
    warnings = ca.at(last + 1).warnings
    assert len(warnings) == 2
    assert "ends in 364d, on 2037-01-12T08:00:00Z. No certificate outlives it: replace it, with ansible" in warnings[0]
    done = ca.at(2 * ISSUING_LIFE - 2 * 100 * DAY)
    assert server(done).authority.issuing.not_after == server(done).authority.root.not_after
    assert ca.at(profiles.ROOT_LIFE - 1).changes != []
    with pytest.raises(TlsError, match=r"root CA .* expired on.*drop of module certificate_authority: server"):
        ca.at(profiles.ROOT_LIFE)


def test_a_dry_run_renews_nothing(ca: Ca) -> None:
    planned = ca.at(ISSUING_LIFE - 100 * DAY, is_dry=True)
    assert ca.folders() == ["0001"]
    done = ca.at(ISSUING_LIFE - 100 * DAY)
    assert [change[:60] for change in planned.changes] == [change[:60] for change in done.changes]


def test_encrypted_keys_are_renewed_and_stay_encrypted(tmp_path: Path, now: int) -> None:
    ca = Ca(tmp_path / "ca", now)
    ca.passphrase = PASSPHRASE
    ca.at(0)
    ca.at(ISSUING_LIFE - 100 * DAY)
    found = sorted(ca.directory.rglob("*.key"))
    assert len(found) == 6
    assert all(b"ENCRYPTED" in path.read_bytes() for path in found)
    assert ca.at(ISSUING_LIFE - 100 * DAY).changes == []
