# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client authorities by name: made on first use, kept beside the others, and each of them on its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    barrier,
    issuing,
    keeping,
    planning,
    profiles,
    signing,
)
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import CLIENT_AUTH, SERVER_AUTH
from ansible_collections.pgops.tls.tests.shared import DAY

BOTH = ("client", "billing")
ID = "app2/billing/app"


class Authorities:
    """A directory of authorities, and what is asked of it."""

    def __init__(self, directory: Path, now: int, csr: str) -> None:
        self.directory, self.now, self.csr = directory, now, csr

    def keep(self, clients: Sequence[str] = BOTH, **others: Any) -> keeping.KeepingResult:
        wish = keeping.Wish(str(self.directory), "P-256", None, "90d", clients=clients, **others)
        return keeping.keep(wish, self.now, is_dry=False)

    def sign(self, *requests: dict[str, Any], is_dry: bool = False) -> signing.SigningResult:
        asked = [{"csr": self.csr, **one} for one in requests]
        return signing.sign(signing.Order(str(self.directory), None, "client", asked, "90d"), self.now, is_dry=is_dry)

    def moved(self) -> None:
        """Give one identity a certificate of the usual client authority, and a day later one of another."""
        self.sign({"id": ID, "role": "app"})
        self.now += DAY
        self.sign({"id": ID, "role": "app", "authority": "billing"})


@pytest.fixture
def ca(tmp_path: Path, now: int, csr: str) -> Authorities:
    return Authorities(tmp_path / "ca", now, csr)


def leaf(chain: str) -> certificate.Certificate:
    return certificate.read_pem(chain, "chain")[0]


def test_an_authority_is_made_on_first_use_and_leaves_the_others_as_they_are(ca: Authorities) -> None:
    before = ca.keep(("client",))
    ca.sign({"id": ID, "role": "app"})
    done = ca.keep()
    assert done.made == ["billing"]
    assert list(done.lineages) == ["server", "client", "billing"]
    assert done.authorities["client"].root.der == before.authorities["client"].root.der
    assert done.authorities["billing"].issuing.extended_key_usage == (CLIENT_AUTH,)
    assert ca.keep().changes == []


def test_one_that_nobody_asks_for_any_more_is_kept(ca: Authorities) -> None:
    ca.keep()
    done = ca.keep(("client",))
    assert list(done.lineages) == ["server", "client", "billing"]
    assert done.changes == []


def test_a_fleet_may_do_without_the_usual_one(ca: Authorities) -> None:
    assert ca.keep(("billing",)).made == ["server", "billing"]
    ca.sign({"id": ID, "role": "app", "authority": "billing"})
    assert ca.keep(("billing", "client")).made == ["client"]


@pytest.mark.parametrize("gone", ["client", "billing", "server"])
def test_one_that_has_issued_certificates_and_is_gone_is_not_replaced(ca: Authorities, gone: str) -> None:
    ca.keep()
    ca.moved()
    shutil.rmtree(ca.directory / gone)
    with pytest.raises(TlsError, match=f"{gone}: the {gone} CA is missing, although"):
        ca.keep()
    assert not (ca.directory / gone).exists()


@pytest.mark.parametrize("name", ["server", "Billing", "b.c", "../x", "", "x" * 31, "1st", "a_b", "a\n"])
def test_a_name_that_is_no_folder_and_no_common_name_is_refused(ca: Authorities, name: str) -> None:
    with pytest.raises(TlsError, match=r"^clients: found .*, expected the name of a client authority"):
        ca.keep((name,))
    assert not ca.directory.exists()


def test_folders_of_others_are_no_authorities(ca: Authorities) -> None:
    ca.keep()
    for name in ("old", ".git", "backup.d", "Upper/0001"):
        (ca.directory / name).mkdir(parents=True)
    (ca.directory / "notes" / "0001").mkdir(parents=True)
    assert list(ca.keep().lineages) == ["server", "client", "billing"]


def test_requests_of_several_authorities_are_signed_at_once_each_by_its_own(ca: Authorities) -> None:
    done = ca.keep()
    signed = ca.sign({"id": "a", "role": "app"}, {"id": "b", "role": "app", "authority": "billing"}, {"id": "c"})
    assert list(signed.refused) == ["c"]
    for id_, name in (("a", "client"), ("b", "billing")):
        own = leaf(signed.certificates[id_])
        assert issuing.is_signed_by(own, done.authorities[name].issuing)
        assert signed.certificates[id_].endswith(done.authorities[name].issuing.pem)
        assert own.extended_key_usage == (CLIENT_AUTH,)
    assert sorted(one["authority"] for one in barrier.newest(str(ca.directory)).values()) == ["billing", "client"]
    mixed = ca.sign({"id": "d", "names": ["db1"], "authority": "server"}, {"id": "e", "role": "x"})
    assert leaf(mixed.certificates["d"]).extended_key_usage == (SERVER_AUTH,)


def test_a_request_for_an_authority_that_does_not_exist_stops_all_before_any_is_signed(ca: Authorities) -> None:
    ca.keep(("client",))
    asked = ({"id": "a", "role": "app"}, {"id": "b", "role": "app", "authority": "billing"})
    with pytest.raises(TlsError, match="there is no billing CA in this directory"):
        ca.sign(*asked)
    assert not (ca.directory / "ledger.jsonl").exists()
    dry = ca.sign(*asked, is_dry=True)
    assert len(dry.changes) == 2
    assert "issue a billing certificate for b: role app" in dry.changes


def test_the_last_certificate_before_a_move_holds_no_rollover_back(ca: Authorities) -> None:
    ca.keep()
    ca.moved()
    newest = barrier.newest(str(ca.directory))
    assert list(newest) == [("billing", ID)]
    in_use = {"billing": [{"id": ID, "serial": newest["billing", ID]["serial"]}]}
    change = planning.Change("stage", ["client"], in_use=in_use)
    assert "stage" in ca.keep(change=change).changes[0]


def test_an_authority_is_replaced_and_dropped_by_its_name(ca: Authorities) -> None:
    before = ca.keep().authorities
    staged = ca.keep(change=planning.Change("stage", ["billing"]))
    assert {name: one.phase for name, one in staged.lineages.items()} == {
        "server": "steady",
        "client": "steady",
        "billing": "staged",
    }
    everybody = ca.keep(change=planning.Change("stage"))
    assert {one.phase for one in everybody.lineages.values()} == {"staged"}
    dropped = ca.keep(change=planning.Change(drop="billing", confirmed=before["billing"].root.common_name))
    assert dropped.authorities["billing"].root.der != before["billing"].root.der
    assert dropped.authorities["client"].root.der == before["client"].root.der
    for change in (planning.Change("stage", ["biling"]), planning.Change(drop="biling", confirmed="x")):
        with pytest.raises(TlsError, match="there is no biling CA in this directory, which has the server CA, the cli"):
            ca.keep(change=change)


def test_a_role_is_revoked_in_one_authority_or_in_all(ca: Authorities) -> None:
    ca.keep()
    ca.sign({"id": "x/x/app", "role": "app"}, {"id": ID, "role": "app", "authority": "billing"})
    done = ca.keep(revoked=[{"role": "app", "authority": "billing"}])
    assert {name: len(serials) for name, serials in done.revoked.items()} == {"server": 0, "client": 0, "billing": 1}
    assert ca.keep(revoked=[{"role": "app", "authority": "billing"}]).changes == []
    done = ca.keep(revoked=[{"role": "app"}])
    assert {name: len(serials) for name, serials in done.revoked.items()} == {"server": 0, "client": 1, "billing": 1}
    with pytest.raises(TlsError, match="role: app: found authority 'biling', expected one of server, client, billing"):
        ca.keep(revoked=[{"role": "app", "authority": "biling"}])


def test_an_authority_that_is_made_while_lists_are_in_use_has_lists_at_once(ca: Authorities) -> None:
    ca.keep(("client",))
    ca.sign({"id": ID, "role": "app"})
    done = ca.keep(revoked=[{"role": "app"}])
    lists = revocations.read_pem(done.crls["billing"], "crls")
    own = done.authorities["billing"]
    assert [any(one.is_of(issuer) for one in lists) for issuer in (own.root, own.issuing)] == [True, True]
    assert ca.keep(revoked=[{"role": "app"}]).changes == []


@pytest.mark.parametrize("name", ["server", "client", "billing"])
def test_each_authority_has_one_purpose(name: str) -> None:
    assert profiles.purpose(name) == (SERVER_AUTH if name == "server" else CLIENT_AUTH)
