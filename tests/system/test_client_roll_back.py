# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OS users that go back to the generation before: what comes back, what is refused, and deaths at every point."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import Clients, User, chains, copy, identity, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, STEP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
OTHER_ROOT = issuing.new_authority("server", "P-256", TODAY).root.pem
ROOT_PEM = AUTHORITIES["server"].root.pem


def in_use(user: User) -> dict[str, Any]:
    """Return what programs of this user see, without the mark of a roll-back."""
    return {path: what for path, what in used(user).items() if not path.endswith("rolled-back-from")}


def generations(user: User) -> list[str]:
    return sorted(os.listdir(user.store / "generations"))


def test_key_certificate_and_trust_of_the_generation_before_come_back(clients: Clients, alice: User) -> None:
    clients.converge(roots=ROOT_PEM + OTHER_ROOT)
    first = in_use(alice)
    clients.converge(renew=True)
    result = clients.roll_back()
    assert in_use(alice) == first
    words, certificate, trust = result["changes"]
    assert words == f"{alice.name}: from generation 0002 back to the files of 0001"
    assert certificate.endswith(f"-> {result['identities'][0]['serial']}")
    assert trust.startswith(f"{alice.name}: root.crt holds 'PostgreSQL server root")
    assert [entry["before_header"] for entry in result["diff"]] == [f"OS user {alice.name}"]
    assert [one.split(" holds")[0] for one in result["next_run"]] == [f"{alice.name}: root.crt"]
    assert generations(alice) == ["0002", "0003"], "the generation that was left is still there"


def test_a_second_roll_back_and_the_next_run_change_nothing(clients: Clients, alice: User) -> None:
    clients.converge()
    first = in_use(alice)
    clients.converge(renew=True)
    assert clients.roll_back()["next_run"] == []
    before = snapshot(alice.home)
    assert not clients.roll_back()["changed"]
    assert not clients.converge()["changed"]
    assert snapshot(alice.home) == before
    clients.converge(renew=True)
    assert clients.roll_back()["changed"]
    assert in_use(alice) == first, "the generation before is the one that came back, not the one that was left"


def test_keys_that_wait_for_a_company_outlive_it(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    assert clients.call(new_keys=True)["requests"]
    key = alice.store / "pending" / "app.key"
    waiting = key.read_bytes()
    os.utime(key, (TODAY - 7200, TODAY - 7200))
    assert clients.roll_back()["changed"]
    assert clients.call(new_keys=True)["requests"]
    assert key.read_bytes() == waiting, "what the company signs is for this key"


def test_check_mode_foresees_it_and_changes_nothing(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    before = snapshot(alice.home)
    foreseen = clients.roll_back(check_mode=True)
    assert snapshot(alice.home) == before
    assert foreseen == clients.roll_back()


def test_an_identity_that_is_no_longer_declared_does_not_come_back(clients: Clients, alice: User) -> None:
    clients.converge(identities=[identity(alice, "app"), identity(alice, "reporting")])
    clients.converge(renew=True)
    assert clients.roll_back()["next_run"] == []
    assert not (alice.store / "current" / "reporting").exists()


# What is refused before anything changes


def refused(clients: Clients, user: User, match: str, **options: Any) -> None:
    before = snapshot(user.home)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=match):
            clients.roll_back(check_mode=check_mode, **options)
        assert snapshot(user.home) == before


def test_there_has_to_be_a_generation_before(clients: Clients, alice: User) -> None:
    refused(clients, alice, "there is no generation before the first one, so OS user")
    clients.converge()
    refused(clients, alice, "there is no generation before 0001")


def test_no_os_user_goes_back_where_one_cannot(clients: Clients, alice: User, bob: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    both = [*clients.options["identities"], identity(bob, "app")]
    clients.converge(identities=both)
    refused(clients, alice, f"OS user '{bob.name}' cannot be rolled back", identities=both)
    assert clients.roll_back()["changed"], "the other one alone does"


def test_an_expired_certificate_does_not_come_back(clients: Clients, alice: User) -> None:
    first = clients.call()
    clients.call(certificates=chains(first, days=1))
    clients.converge(renew=True)
    refused(clients, alice, "0001, the previous one, cannot be restored.*app/postgresql.crt: its certificate expired",
            now=TODAY + 2 * DAY)  # fmt: skip


def test_an_identity_that_came_later_would_have_no_certificate(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.options["identities"].append(identity(alice, "reporting"))
    clients.converge()
    refused(clients, alice, f"cannot be restored.*{alice.name}/reporting has no usable key and certificate")


def test_trust_without_a_root_that_is_declared_does_not_come_back(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(roots=ROOT_PEM + OTHER_ROOT)
    refused(clients, alice, "root.crt: it does not trust 'PostgreSQL server root", roots=ROOT_PEM + OTHER_ROOT)


def test_a_certificate_that_servers_do_not_take_does_not_come_back(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    other = issuing.new_authority("client", "P-256", TODAY)
    refused(
        clients, alice, "cannot be restored.*local issuer", trusted_clients=other.root.pem, issuing=other.issuing.pem
    )


def test_a_generation_with_the_same_files_is_no_way_back(clients: Clients, alice: User) -> None:
    clients.converge()
    (alice.store / "current/app/postgresql.crt").chmod(0o600)
    clients.converge()
    assert generations(alice) == ["0001", "0002"]
    refused(clients, alice, "It has the same files as 0002")


# Runs that died, and operations that fail


def test_a_run_that_died_is_undone_and_that_is_the_way_back(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    before, asked = in_use(alice), clients.call(renew=True)
    with faults.dying():
        clients.call(renew=True, certificates=chains(asked))
    assert in_use(alice) != before
    foreseen = clients.roll_back(check_mode=True)
    done = clients.roll_back()
    assert foreseen["changes"] == done["changes"] == [f"{alice.name}: the transaction of an interrupted run is undone"]
    assert in_use(alice) == before


def test_a_death_at_any_point_leaves_the_old_files_or_the_new_ones(clients: Clients, alice: User) -> None:
    clients.converge(roots=ROOT_PEM + OTHER_ROOT)
    clients.converge(renew=True)
    before, saved = in_use(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    clients.roll_back()
    after = in_use(alice)
    copy(saved, alice.home)
    seen = []
    for _number in faults.deaths(clients.roll_back, STEP):
        copy(alice.home, alice.home.with_name("died"))
        clients.roll_back()  # the next roll-back continues with it
        assert in_use(alice) == after
        assert leftovers(alice) == []
        copy(alice.home.with_name("died"), alice.home)
        clients.call(check_mode=True)
        clients.call(roots=ROOT_PEM + OTHER_ROOT)  # the next run undoes it, or keeps it
        assert in_use(alice) in (before | trust(alice), after | trust(alice))
        seen.append(in_use(alice) == after)
        assert leftovers(alice) == []
        copy(saved, alice.home)
    assert seen[-1]
    assert seen.count(False) > 30 // STEP


def test_a_failing_operation_is_undone_at_once(clients: Clients, alice: User) -> None:
    clients.converge()
    clients.converge(renew=True)
    before, saved = in_use(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    undone = 0
    for number in itertools.count(0, STEP):
        with faults.failing(number) as failed, contextlib.suppress(TlsError):
            clients.roll_back()
        if not failed:
            break
        undone += in_use(alice) == before
        assert not (alice.store / "journal.json").exists()
        copy(saved, alice.home)
    assert undone > 20 // STEP


def trust(user: User) -> dict[str, Any]:
    """Return the trust that is in use."""
    return {path: what for path, what in in_use(user).items() if path.endswith("root.crt")}


def leftovers(user: User) -> list[str]:
    signs = ("pgops-new", "staging", "backup", "journal.json")
    return [path for path in faults.everything(user.home) if any(sign in path for sign in signs)]
