# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out of an OS user: its home is as it was, whatever the run did before, and wherever this one ended."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import removal
from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import Clients, User, copy, identity, new_key, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from ansible_collections.pgops.tls.tests.shared import STEP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


def home(user: User) -> dict[str, Any]:
    """Return every file of a home with owner, mode and content; the directory itself may have come with our files."""
    return {path: what for path, what in faults.everything(user.home).items() if path != ".postgresql"}


def furnish(user: User) -> None:
    """Give a user certificate, key, trust and services from elsewhere."""
    user.write(".postgresql/postgresql.key", new_key().decode(), 0o600)
    user.write(".postgresql/postgresql.crt", "another's certificate\n")
    user.write(".postgresql/root.crt", "another's root\n", 0o640)
    user.write(".pg_service.conf", "[mine]\nuser=me\n", 0o600)


def remove(clients: Clients, **options: Any) -> dict[str, Any]:
    return clients.call(kind=removal.Removal, **options)


def test_nothing_is_to_be_removed_from_a_home_that_nobody_can_write_to(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise TlsError(f"{path}: read-only", code="path_not_replaceable")

    monkeypatch.setattr(obstacles, "refuse", refuse)
    with pytest.raises(TlsError, match="read-only"):
        clients.converge()
    assert not remove(clients)["changed"]


def test_a_home_is_as_it_was_before(clients: Clients, alice: User) -> None:
    furnish(alice)
    before = home(alice)
    clients.converge()
    assert home(alice) != before
    seen = snapshot(alice.home)
    foreseen = remove(clients, check_mode=True)
    assert snapshot(alice.home) == seen
    result = remove(clients)
    assert home(alice) == before
    assert result["changes"] == foreseen["changes"]
    assert result["diff"] == foreseen["diff"]
    [entry] = result["diff"]
    assert entry["before"].endswith("root.crt: pgops/current/root.crt\nservices app\n")
    assert entry["after"].endswith("root.crt: root.crt.before-pgops\n")
    assert f"{alice.default}/root.crt: root.crt.before-pgops is back" in result["changes"]
    assert f"{alice.store}: removed" in result["changes"]
    seen = snapshot(alice.home)
    assert not remove(clients)["changed"]
    assert snapshot(alice.home) == seen


def test_nothing_is_left_where_nothing_was(clients: Clients, alice: User) -> None:
    before = home(alice)
    clients.converge(identities=[identity(alice, "app", "shop"), identity(alice, "other")])
    assert remove(clients)["changed"], "identities that are no longer declared go, too"
    assert home(alice) == before
    clients.converge()
    assert (alice.default / "postgresql.crt").exists()


def test_lists_of_revoked_certificates_go_too(clients: Clients, alice: User) -> None:
    furnish(alice)
    alice.write(".postgresql/root.crl", "another's list\n")
    before = home(alice)
    clients.converge(crls="".join(AUTHORITIES["server"].crls))
    assert (alice.default / "root.crl").is_symlink()
    assert f"{alice.default}/root.crl: root.crl.before-pgops is back" in remove(clients)["changes"]
    assert home(alice) == before


def test_what_somebody_put_there_since_stays(clients: Clients, alice: User) -> None:
    furnish(alice)
    clients.converge()
    (alice.default / "root.crt").unlink()
    alice.write(".postgresql/root.crt", "a new one\n")
    alice.service_file.write_text(alice.service_file.read_text() + "[later]\nuser=me\n")
    remove(clients)
    assert (alice.default / "root.crt").read_text() == "a new one\n"
    assert (alice.default / "root.crt.before-pgops").read_text() == "another's root\n"
    assert alice.service_file.read_text() == "[mine]\nuser=me\n[later]\nuser=me\n"


def test_a_link_into_no_directory_stops_who_would_write_services_and_not_the_way_out(
    clients: Clients, alice: User
) -> None:
    clients.converge()
    services = alice.home / ".pg_service.conf"
    services.unlink()
    services.symlink_to("/nowhere/at/.all")
    before = snapshot(alice.home)
    for check_mode in (True, False):
        with pytest.raises(
            TlsError, match=r"\.pg_service\.conf: .* found a link into /nowhere/at, .* Nothing was changed"
        ):
            clients.call(check_mode=check_mode)
        assert snapshot(alice.home) == before
    assert remove(clients)["changed"]
    assert os.readlink(services) == "/nowhere/at/.all"


def test_the_last_of_several_files_comes_back(clients: Clients, alice: User) -> None:
    furnish(alice)
    clients.converge()
    (alice.default / "root.crt").unlink()
    alice.write(".postgresql/root.crt", "a new one\n")
    clients.converge()
    remove(clients)
    assert (alice.default / "root.crt").read_text() == "a new one\n"
    assert (alice.default / "root.crt.before-pgops").read_text() == "another's root\n"


def test_broken_marks_stop_it_before_anything(clients: Clients, alice: User) -> None:
    clients.converge()
    alice.service_file.write_text(alice.service_file.read_text().replace("# END pgops.tls\n", ""))
    seen = snapshot(alice.home)
    with pytest.raises(TlsError, match="Remove what is left of the block by hand"):
        remove(clients)
    assert snapshot(alice.home) == seen


@pytest.mark.parametrize("place", [".", ".postgresql", ".postgresql/pgops"])
def test_a_directory_that_cannot_be_written_stops_it_before_anything(clients: Clients, alice: User, place: str) -> None:
    clients.converge()
    seen = snapshot(alice.home / ".postgresql" / "pgops" / "generations")
    (alice.home / place).chmod(0o500)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=r"cannot write to this directory.*Nothing was changed"):
            remove(clients, check_mode=check_mode)
    assert snapshot(alice.home / ".postgresql" / "pgops" / "generations") == seen
    (alice.home / place).chmod(0o700)
    assert remove(clients)["changed"]


def test_a_death_at_any_point_leaves_what_the_next_run_ends(clients: Clients, alice: User) -> None:
    furnish(alice)
    before = home(alice)
    clients.converge()
    after, saved = used(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    seen = []
    for _number in faults.deaths(lambda: remove(clients), STEP):
        copy(alice.home, alice.home.with_name("died"))
        remove(clients)
        assert home(alice) == before
        copy(alice.home.with_name("died"), alice.home)
        clients.call(check_mode=True)
        is_undone = (alice.store / "current").exists()
        clients.converge()
        seen.append(is_undone and used(alice) == after)
        copy(saved, alice.home)
    assert seen.count(True) > 20 // STEP, "before the end of the transaction the next run undoes it"


def test_a_failing_operation_is_undone_at_once(clients: Clients, alice: User) -> None:
    furnish(alice)
    clients.converge()
    before, saved = used(alice), alice.home.with_name("saved")
    copy(alice.home, saved)
    undone = 0
    for number in itertools.count():
        with faults.failing(number) as failed, contextlib.suppress(TlsError):
            remove(clients)
        if not failed:
            break
        undone += used(alice) == before
        assert not (alice.store / "journal.json").exists()
        copy(saved, alice.home)
    assert undone > 20
