# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of identities that come in a later run: the others do not wait for them, and nothing is lost."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.clients import Clients, User, chains, identity, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


def both(user: User) -> list[dict[str, Any]]:
    return [identity(user, "app"), identity(user, "report")]


def roles(user: User) -> set[str]:
    return {path.name for path in (user.store / "current").iterdir() if path.is_dir()}


def test_an_identity_without_its_first_certificate_is_left_out(clients: Clients, alice: User) -> None:
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    first = clients.call(identities=both(alice))
    came = chains(first)
    second = clients.call(identities=both(alice), certificates={app: came[app], report: ""})
    assert second["requests"] == []
    assert roles(alice) == {"app"}
    waiting = alice.store / "pending" / "report.key"
    key = waiting.read_text()
    third = clients.call(identities=both(alice))
    assert [one["id"] for one in third["requests"]] == [report]
    assert waiting.read_text() == key, "the same key waits"
    clients.call(identities=both(alice), certificates={report: came[report]})
    assert roles(alice) == {"app", "report"}
    assert clients.call(identities=both(alice))["changed"] is False


def sections(user: User) -> list[str]:
    return re.findall(r"^\[(.*)\]$", user.service_file.read_text(), re.MULTILINE)


def asked_and_waiting(clients: Clients, declared: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Make the two calls of a run in which no certificate comes; return what the second one says."""
    asked = clients.call(identities=declared, **options)
    return clients.call(identities=declared, certificates=dict.fromkeys(chains(asked), ""), **options)


@pytest.mark.parametrize("number", [0, 1], ids=["the one with the default files", "another one"])
def test_a_renamed_identity_keeps_its_files_until_the_certificate_for_the_new_name_comes(
    clients: Clients, alice: User, number: int
) -> None:
    formats = {"formats": ["bundle", "pkcs12", "truststore", "environment"]}
    declared = [{**one, **formats} for one in both(alice)]
    clients.converge(identities=declared)
    before, files = used(alice), snapshot(alice.home)
    declared[number] = {**declared[number], "name": "other"}
    asked = clients.call(identities=declared)
    for _night in range(2):
        done = asked_and_waiting(clients, declared)
        assert (done["changed"], done["diff"]) == (False, [])
    assert used(alice) == before
    assert {path for path in files if snapshot(alice.home)[path] != files[path]} <= {".postgresql/pgops/pending", ""}

    roots = AUTHORITIES["server"].root.pem + AUTHORITIES["client"].root.pem
    done = asked_and_waiting(clients, declared, roots=roots)
    assert [one.split(" holds")[0] for one in done["changes"]] == [
        f"{alice.name}: {what}" for what in ("root.crt", "truststore.p12: changed")
    ]
    assert done["diff"] == [], "trust is not in it, and no certificate goes"
    kept = {path: what for path, what in used(alice).items() if "root.crt" not in path and "truststore" not in path}
    assert kept == {path: before[path] for path in kept}
    assert asked_and_waiting(clients, declared, roots=roots)["changed"] is False

    clients.call(identities=declared, certificates=chains(asked), roots=roots)
    former = both(alice)[number]["role"]
    assert roles(alice) == {"app", "report", "other"} - {former}
    assert set(sections(alice)) == roles(alice)
    first = "other" if number == 0 else "app"
    assert os.readlink(alice.default / "postgresql.crt") == f"pgops/current/{first}/postgresql.crt"
    assert clients.call(identities=declared, roots=roots)["changed"] is False


def test_one_that_gives_up_its_password_has_its_default_files_until_its_certificate_comes(
    clients: Clients, alice: User
) -> None:
    declared = both(alice)
    clients.converge(identities=[{**declared[0], "login": "password"}, declared[1]])
    before = used(alice)
    asked = clients.call(identities=declared)
    assert asked_and_waiting(clients, declared)["changed"] is False
    assert used(alice) == before
    assert sections(alice) == ["app", "report"]
    clients.call(identities=declared, certificates=chains(asked))
    assert os.readlink(alice.default / "postgresql.key") == "pgops/current/app/postgresql.key"
    assert clients.call(identities=declared)["changed"] is False


def test_what_others_do_beside_one_that_waits_does_not_touch_its_services(clients: Clients, alice: User) -> None:
    declared = both(alice)
    clients.converge(identities=declared)
    declared[0] = {**declared[0], "name": "shop-app"}
    declared[1] = {**declared[1], "endpoints": [{"server": "db1", "host": "db1.example.com", "port": 5432}]}
    asked_and_waiting(clients, declared)
    assert sections(alice) == ["app", "report", "report@db1"]
    declared[1].pop("endpoints")
    asked_and_waiting(clients, declared)
    assert sections(alice) == ["app", "report"]
    assert asked_and_waiting(clients, [declared[0], {**declared[1], "login": "password"}])["changed"]
    assert sections(alice) == ["app", "report"]
    assert roles(alice) == {"app"}
    assert "sslcert=" in alice.service_file.read_text().partition("[report]")[2], "it shows none of the default files"


def test_at_a_first_set_up_the_default_files_are_those_of_one_identity_from_the_beginning(
    clients: Clients, alice: User
) -> None:
    asked = chains(clients.call(identities=both(alice)))
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    clients.call(identities=both(alice), certificates={app: "", report: asked[report]})
    assert [path.name for path in alice.default.iterdir()] == ["pgops"]
    clients.call(identities=both(alice), certificates={app: asked[app]})
    assert os.readlink(alice.default / "postgresql.crt") == "pgops/current/app/postgresql.crt"
    assert clients.call(identities=both(alice))["changed"] is False


def test_nothing_happens_to_an_os_user_all_of_whose_certificates_wait(clients: Clients, alice: User) -> None:
    first = clients.call()
    before = snapshot(alice.home)
    done = clients.call(certificates={first["requests"][0]["id"]: ""})
    assert (done["changed"], done["requests"]) == (False, [])
    assert snapshot(alice.home) == before


def test_a_renewal_that_waits_keeps_the_certificate_and_the_rest_converges(clients: Clients, alice: User) -> None:
    clients.converge()
    before, app = used(alice), f"{alice.name}/app"
    later = TODAY + 80 * DAY
    asked = clients.call(now=later)
    assert [one["id"] for one in asked["requests"]] == [app]
    done = clients.call(now=later, certificates={app: ""})
    assert (done["changed"], done["requests"]) == (False, [])
    assert used(alice) == before
    roots = AUTHORITIES["server"].root.pem + AUTHORITIES["client"].root.pem
    more = clients.call(now=later, certificates={app: ""}, roots=roots)
    assert more["changed"]
    assert len(certificate.read_pem((alice.default / "root.crt").read_text(), "root.crt")) == 2
    leaf = certificate.read_pem((alice.default / "postgresql.crt").read_text(), "chain")[0]
    assert f"{leaf.serial:x}" == more["identities"][0]["serial"] == asked["identities"][0]["serial"]


def test_one_that_waits_with_an_ended_certificate_stops_no_other(clients: Clients, alice: User) -> None:
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    asked = clients.call(identities=both(alice))
    ended, came = chains(asked, start=TODAY - 2 * DAY, days=1), chains(asked)
    with pytest.raises(TlsError, match="expired"):
        clients.call(identities=both(alice), certificates={app: ended[app], report: came[report]})
    start = int(time.time()) - DAY + 5
    clients.call(
        identities=both(alice), certificates={app: chains(asked, start=start, days=1)[app], report: came[report]}
    )
    time.sleep(6)
    now = int(time.time())
    asked = clients.call(identities=both(alice), now=now, renew=True)
    before = used(alice)
    clients.call(identities=both(alice), now=now, renew=True, certificates={app: "", report: chains(asked)[report]})
    changed = {path for path, traits in used(alice).items() if before[path] != traits}
    assert {path.rpartition("/current/")[2] for path in changed if path.endswith(".crt")} == {"report/postgresql.crt"}


def night(clients: Clients, user: User, **changes: Any) -> dict[str, Any]:
    """Run as the role does while nobody has signed yet, and have keys wait for a day. Returns what was asked for."""
    asked = clients.call(**changes)
    if asked["requests"]:
        clients.call(**changes, certificates={one["id"]: "" for one in asked["requests"]})
        for key in (user.store / "pending").glob("*.key"):
            os.utime(key, (TODAY - DAY, TODAY - DAY))
    return asked


def pending(user: User) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (user.store / "pending").iterdir()}


@pytest.mark.parametrize("order", ["renew", "new_keys"])
def test_a_renewal_is_asked_for_once_and_installed_whenever_it_comes(clients: Clients, alice: User, order: str) -> None:
    clients.converge()
    before, key = used(alice), (alice.default / "postgresql.key").read_bytes()
    app = f"{alice.name}/app"
    first = night(clients, alice, **{order: True})
    assert first["reasons"] == [f"{app}: forced"]
    waiting = pending(alice)
    for _night in range(2):
        assert clients.call(check_mode=True)["reasons"] == [f"{app}: forced"]
        again = night(clients, alice)
        assert again["reasons"] == [f"{app}: forced"]
        assert pending(alice) == waiting, "what the company signs is for this key"
        assert used(alice) == before
    assert clients.call(certificates=chains(first))["changed"]
    assert used(alice) != before
    assert ((alice.default / "postgresql.key").read_bytes() == key) is (order == "renew")
    assert pending(alice) == {}
    assert clients.call()["changed"] is False


def test_a_renewal_of_one_identity_is_remembered_while_the_other_has_come(clients: Clients, alice: User) -> None:
    options = {"identities": both(alice)}
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    clients.converge(**options)
    asked = clients.call(**options, renew=True)
    clients.call(**options, renew=True, certificates={app: chains(asked)[app], report: ""})
    assert [one["id"] for one in clients.call(**options)["requests"]] == [report]
    clients.call(**options, certificates={report: chains(asked)[report]})
    assert pending(alice) == {}
    assert clients.call(**options)["changed"] is False


def test_a_renewal_that_is_answered_at_once_leaves_nothing_to_remember(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    assert pending(alice) == {}
    assert clients.call()["changed"] is False


def moved(authority: issuing.Authority) -> dict[str, Any]:
    """Return the options of a source below another root."""
    return {"issuing": authority.issuing.pem, "trusted_clients": authority.issuing.pem + authority.root.pem}


def test_a_move_below_another_root_is_agreed_to_once(clients: Clients, alice: User) -> None:
    other, app = issuing.new_authority("client", "P-256", TODAY), f"{alice.name}/app"
    clients.converge()
    with pytest.raises(TlsError, match="below another root"):
        clients.call(**moved(other))
    first = night(clients, alice, renew=True, **moved(other))
    assert first["reasons"] == [f"{app}: issuer_changed", f"{app}: forced"]
    with pytest.raises(TlsError, match="below another root"):
        clients.call(**moved(issuing.new_authority("client", "P-256", TODAY)))
    # Servers have followed when it was asked for, though none does in this run
    assert night(clients, alice, renew_to_new_root=False, **moved(other))["reasons"] == first["reasons"]
    clients.call(**moved(other), certificates=chains(first, authority=other))
    assert pending(alice) == {}
    assert clients.call(**moved(other))["changed"] is False


def test_an_identity_that_goes_is_not_renewed_when_it_comes_back(clients: Clients, alice: User) -> None:
    clients.converge(identities=both(alice))
    night(clients, alice, identities=both(alice), renew=True)
    clients.call(identities=[identity(alice, "report")], certificates={f"{alice.name}/report": ""})
    assert set(pending(alice)) == {"report.renew"}
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    assert clients.call(identities=both(alice))["reasons"] == [f"{app}: no_certificate", f"{report}: forced"]


def test_a_roll_back_to_another_certificate_ends_it(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    night(clients, alice, renew=True)
    assert clients.roll_back()["next_run"] == []
    assert clients.call()["changed"] is False
    assert pending(alice) == {}


def test_a_roll_back_of_trust_keeps_it_and_says_so(clients: Clients, alice: User) -> None:
    clients.converge()
    both_roots = AUTHORITIES["server"].root.pem + AUTHORITIES["client"].root.pem
    clients.call(roots=both_roots)
    night(clients, alice, renew=True, roots=both_roots)
    assert clients.roll_back()["next_run"][0] == f"{alice.name}/app: new certificate (forced)"
    assert night(clients, alice)["reasons"] == [f"{alice.name}/app: forced"]
