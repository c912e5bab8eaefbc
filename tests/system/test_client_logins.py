# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client transaction for OS users who log in by password, and for those who change to it and back."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import OTHER, Clients, User, chains, identity, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from ansible_collections.pgops.tls.tests.shared import STEP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
LOGINS = ("certificate", "password", "both")


def login(user: User, role: str, how: str) -> dict[str, Any]:
    return {**identity(user, role, "shop"), "login": how}


def pairs(user: User) -> list[str]:
    """Return the keys and certificates in use, and at libpq's default names."""
    found = [*(user.store / "current").rglob("postgresql.*"), *user.default.glob("postgresql.*")]
    return sorted(str(path.relative_to(user.default)) for path in found)


def of_role(role: str) -> list[str]:
    return [f"pgops/current/{role}/postgresql.crt", f"pgops/current/{role}/postgresql.key"]


DEFAULT = ["postgresql.crt", "postgresql.key"]


def test_a_password_gets_the_roots_and_a_service_in_one_call(clients: Clients, alice: User) -> None:
    clients.options["identities"] = [login(alice, "clerk", "password")]
    first = clients.call()
    assert (first["changed"], first["requests"], first["reasons"], first["identities"]) == (True, [], [], [])
    assert pairs(alice) == []
    assert (alice.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem
    current = f"{alice.store}/current"
    service = f"[clerk]\nuser=clerk\ndbname=shop\nsslmode=verify-full\nsslrootcert={current}/root.crt\n#"
    assert service in alice.service_file.read_text()
    before = snapshot(alice.home)
    for options in ({}, {"renew": True}, {"new_keys": True}, {"revoked": ["1"]}):
        assert not clients.call(**options)["changed"]
    assert snapshot(alice.home) == before


def test_check_mode_says_what_a_password_changes_and_changes_nothing(clients: Clients, alice: User) -> None:
    clients.converge()
    before = snapshot(alice.home)
    foreseen = clients.call(identities=[login(alice, "app", "password")], check_mode=True)
    assert foreseen["changes"] == [
        f"{alice.name}/app: logs in by password, its key and certificate are removed",
        f"{alice.default}/postgresql.crt: the link is removed",
        f"{alice.default}/postgresql.key: the link is removed",
        f"{alice.service_file}: services app",
    ]
    assert snapshot(alice.home) == before
    done = clients.call(identities=[login(alice, "app", "password")])
    assert done["changes"] == foreseen["changes"]
    assert "role: app" in done["diff"][0]["before"]
    assert "role: app" not in done["diff"][0]["after"]


@pytest.mark.parametrize("before", LOGINS)
@pytest.mark.parametrize("after", LOGINS)
def test_an_identity_changes_from_each_login_to_each_other(
    clients: Clients, alice: User, before: str, after: str
) -> None:
    for how in (before, after):
        changed = clients.converge(identities=[login(alice, "app", how)])["changed"]
        assert pairs(alice) == ([] if how == "password" else [*of_role("app"), *DEFAULT])
        assert ("sslcert=" in alice.service_file.read_text()) == (how != "password")
    assert changed == ((before == "password") != (after == "password"))
    assert not clients.converge(identities=[login(alice, "app", after)])["changed"]


def test_a_pending_key_of_an_identity_that_gets_a_password_is_removed(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.call(new_keys=True)
    assert os.listdir(alice.store / "pending") != []
    clients.call(identities=[login(alice, "app", "password")])
    assert os.listdir(alice.store / "pending") == []
    clients.call(identities=[login(alice, "other", "certificate")])
    waiting = os.listdir(alice.store / "pending")
    assert len(waiting) == 1
    clients.call(identities=[login(alice, "other", "password")])
    assert clients.call(identities=[login(alice, "other", "password")])["changed"] is False
    assert os.listdir(alice.store / "pending") == []


def test_the_first_identity_decides_on_the_default_files(clients: Clients, alice: User) -> None:
    mixed = [login(alice, "clerk", "password"), login(alice, "app", "certificate")]
    clients.converge(identities=mixed)
    assert pairs(alice) == of_role("app")
    assert "sslcert" not in alice.service_file.read_text().partition("[app]")[0]
    clients.converge(identities=mixed[::-1])
    assert pairs(alice) == [*of_role("app"), *DEFAULT]
    assert "sslcert" in alice.service_file.read_text().partition("[clerk]")[2]
    clients.converge(identities=mixed)
    assert pairs(alice) == of_role("app")


def test_a_file_of_others_at_a_default_name_stays_there(clients: Clients, alice: User) -> None:
    other = alice.write(".postgresql/postgresql.crt", "of another CA")
    clients.options["identities"] = [login(alice, "clerk", "password")]
    clients.converge()
    assert other.read_text() == "of another CA"
    assert not clients.call()["changed"]


def test_a_file_that_was_kept_comes_back(clients: Clients, alice: User) -> None:
    other = alice.write(".postgresql/postgresql.crt", "of another CA")
    clients.converge()
    done = clients.converge(identities=[login(alice, "app", "password")])
    assert f"{other}: postgresql.crt.before-pgops is back" in done["changes"]
    assert other.read_text() == "of another CA"
    assert not clients.call(identities=[login(alice, "app", "password")])["changed"]


def test_a_password_follows_the_roots_and_no_client_authority_stops_it(clients: Clients, alice: User) -> None:
    clients.options["identities"] = [login(alice, "clerk", "password")]
    clients.converge()
    replaced = {"issuing": OTHER.issuing.pem, "trusted_clients": OTHER.root.pem}
    assert not clients.call(**replaced)["changed"]
    both = AUTHORITIES["server"].root.pem + OTHER.root.pem
    assert clients.call(roots=both, **replaced)["changed"]
    assert (alice.default / "root.crt").read_text() == both


def test_a_roll_back_restores_roots_and_no_certificate(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.options["identities"] = [login(alice, "app", "password")]
    with_other = AUTHORITIES["server"].root.pem + OTHER.root.pem
    clients.converge(roots=with_other)
    assert (alice.default / "root.crt").read_text() == with_other
    done = clients.roll_back()
    assert done["changed"]
    assert (alice.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem
    assert pairs(alice) == []


def test_wherever_a_change_to_a_password_dies_the_next_run_goes_either_way(clients: Clients, alice: User) -> None:
    clients.converge()
    start, before = faults.everything(alice.home), used(alice)
    password = [login(alice, "app", "password")]
    for number in faults.deaths(lambda: clients.call(identities=password), STEP):
        died = faults.everything(alice.home)
        clients.call(identities=password)
        assert pairs(alice) == [], number
        faults.put_back(alice.home, died)
        clients.converge()
        assert {path for path in used(alice) if path != "service"} == {path for path in before if path != "service"}
        faults.put_back(alice.home, start)


def test_a_disk_that_is_full_on_the_way_to_a_password_leaves_the_certificate_in_use(
    clients: Clients, alice: User
) -> None:
    number = 0
    for number in itertools.count():
        clients.converge()
        before = used(alice)
        with faults.failing(number) as injection:
            try:
                clients.call(identities=[login(alice, "app", "password")])
            except TlsError:
                assert used(alice) == before, number
        if not injection:
            break
    assert number > 5
    assert pairs(alice) == []


def test_certificates_of_others_arrive_beside_a_password(clients: Clients, alice: User) -> None:
    mixed = [login(alice, "app", "both"), login(alice, "clerk", "password")]
    first = clients.call(identities=mixed)
    assert [one["role"] for one in first["requests"]] == ["app"]
    done = clients.call(identities=mixed, certificates=chains(first))
    assert [one["role"] for one in done["identities"]] == ["app"]
    assert pairs(alice) == [*of_role("app"), *DEFAULT]
