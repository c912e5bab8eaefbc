# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of module pgbouncer that is killed, or that cannot write, leaves a PgBouncer that works and starts again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults, poolers
from ansible_collections.pgops.tls.tests.poolers import Pooler, sign
from ansible_collections.pgops.tls.tests.servers import Server
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
STEP = 1 if IS_THOROUGH else 29  # points from one that is tried to the next


@pytest.fixture(scope="module")
def database(shared_cluster: Any) -> Any:
    """Give a server that trusts the pooler's certificate for role app."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    Server(shared_cluster, shared_cluster.home / "tls").settle(hba=poolers.HBA, ident=poolers.IDENT)
    return shared_cluster


@pytest.fixture
def pooler(database: Any) -> Iterator[Pooler]:
    """Give a PgBouncer that the collection has not seen yet."""
    with poolers.running(database) as running:
        yield running


class Installation:
    """The call that installs certificates which were asked for, and what there was before it."""

    def __init__(self, pooler: Pooler, *, is_first: bool) -> None:
        self.pooler, self.is_first = pooler, is_first
        if not is_first:
            pooler.settle()
        asked = pooler.converge(renew=True)
        self.chains = {name: sign(name, csr) for name, csr in asked.requests.items()}
        self.saved, self.text = faults.everything(pooler.directory), pooler.ini.read_bytes()
        self.served = "" if is_first else pooler.served()

    def change(self) -> Any:
        return self.pooler.converge(renew=True, certificates=self.chains)

    def check(self) -> None:
        """Refuse a pooler that does not work, would not start, or is not brought to the new state by the next run."""
        assert is_working(self.pooler)
        self.pooler.restart()
        assert is_working(self.pooler)
        done = self.pooler.converge(certificates=self.chains, renew=not self.is_in_use())
        assert self.pooler.served() == done.after["front"].sha256
        assert self.pooler.serial() == str(done.after["back"].serial)
        assert not (self.pooler.directory / "journal.json").exists()
        assert not (self.pooler.directory / "backup").exists()

    def is_in_use(self) -> bool:
        """Return whether the run had committed: then nothing is left to be installed."""
        current = self.pooler.directory / "current" / "server.crt"
        is_new = current.exists() and current.read_text() == self.chains["front"]
        return is_new and not (self.pooler.directory / "journal.json").exists()

    def reset(self) -> None:
        faults.put_back(self.pooler.directory, self.saved)
        self.pooler.ini.write_bytes(self.text)
        self.pooler.restart()


def is_working(pooler: Pooler) -> bool:
    """Return whether a client gets through, with TLS, or without where the pooler has none yet."""
    try:
        return pooler.query("SELECT 1") == b"1"
    except TlsError as error:
        return error.code == "tls_not_offered"


@pytest.mark.parametrize("is_first", [True, False], ids=["set-up", "renewal"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(pooler: Pooler, is_first: bool) -> None:
    subject = Installation(pooler, is_first=is_first)
    for _number in faults.deaths(subject.change, STEP):
        subject.check()
        subject.reset()


def test_a_disk_that_is_full_anywhere_leaves_the_state_before(pooler: Pooler) -> None:
    subject = Installation(pooler, is_first=False)
    number = 4
    while True:
        with faults.failing(number) as injection, contextlib.suppress(TlsError):
            subject.change()
        if not injection:
            break
        subject.check()
        subject.reset()
        number += STEP


def test_what_a_run_left_is_undone_in_files_where_pgbouncer_is_down(pooler: Pooler) -> None:
    subject = Installation(pooler, is_first=True)
    with faults.dying():
        subject.change()
    assert "%include" in pooler.ini.read_text()
    pooler.stop()
    with pytest.raises(TlsError, match="had left its changes in its files; they were undone"):
        pooler.converge()
    assert pooler.ini.read_bytes() == subject.text
    pooler.start()
    foreseen = pooler.converge(check_mode=True)
    assert foreseen.changes[0] == "front certificate: no_certificate"


def test_check_mode_sees_through_what_a_run_left(pooler: Pooler) -> None:
    subject = Installation(pooler, is_first=False)
    with faults.dying():
        subject.change()
    disk = pooler.disk()
    undone = "recovery: the transaction of an interrupted run is undone"
    assert pooler.converge(check_mode=True).changes == [undone]
    assert pooler.disk() == disk
    assert pooler.converge().changes == [undone]
    assert pooler.served() == subject.served


def test_a_damaged_journal_is_set_aside_where_nothing_is_half_done(pooler: Pooler) -> None:
    pooler.settle()
    path, aside = pooler.give("tls/journal.json", "nonsense"), pooler.directory / "journal.json.damaged"
    foreseen = pooler.converge(check_mode=True)
    assert path.read_text() == "nonsense"
    done = pooler.converge()
    assert foreseen.changes == done.changes == ["recovery: the damaged journal of an interrupted run is set aside"]
    assert "found something else than JSON. PgBouncer is consistent nevertheless: it shows" in done.warnings[0]
    assert f"set aside as {aside}. Find out who wrote to" in done.warnings[0]
    assert (path.exists(), aside.read_text()) == (False, "nonsense")
    assert pooler.converge().changes == []


def test_a_damaged_journal_is_set_aside_before_the_first_set_up(pooler: Pooler) -> None:
    pooler.converge()  # makes the directory, and keys that wait
    pooler.give("tls/journal.json", "nonsense")
    assert pooler.settle().changes
    assert pooler.query("SELECT 1") == b"1"


HALF = {
    "the include is not there yet": "does not include",
    "the switch is not loaded yet": "PgBouncer shows another certificate than the one on disk",
    "a setting is not loaded yet": "client_tls_sslmode is 'require' in force, expected 'verify-ca'",
    "a line that nobody can read": "PgBouncer stops reading there",
}


@pytest.mark.parametrize("state", HALF)
def test_a_damaged_journal_stops_the_run_where_something_is_half_done(pooler: Pooler, state: str) -> None:
    pooler.settle()
    if state == "the include is not there yet":
        pooler.write_ini()
    elif state == "the switch is not loaded yet":
        pooler.settle(renew=True)
        link = pooler.directory / "current"
        link.unlink()
        link.symlink_to("generations/0001")
    elif state == "a setting is not loaded yet":
        path = pooler.directory / "current" / "tls.ini"
        path.write_text(path.read_text().replace("client_tls_sslmode = require", "client_tls_sslmode = verify-ca"))
    else:
        pooler.ini.write_text(pooler.ini.read_text().replace("listen_addr", "this is no line\nlisten_addr"))
    pooler.give("tls/journal.json", "nonsense")
    disk = pooler.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=r"found something else than JSON.*run: mv \S+/journal.json ") as failure:
            pooler.converge(check_mode=check_mode)
        assert HALF[state] in failure.value.message
        assert failure.value.code == "journal_damaged"
        assert pooler.disk() == disk


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("server.crt", "server.crt: owner 0"),
        ("server.key", "front certificate: key_missing"),
        ("client.key", "back certificate: key_missing"),
    ],
)
def test_a_file_that_somebody_gave_to_root_is_replaced(pooler: Pooler, name: str, change: str) -> None:
    pooler.settle()
    os.chown(pooler.directory / "current" / name, 0, 0)
    foreseen = pooler.converge(check_mode=True).changes
    assert any(one.startswith(change) for one in foreseen), foreseen
    assert pooler.settle().changes == foreseen
    assert (pooler.directory / "current" / name).owner() == poolers.ACCOUNT
    assert pooler.converge().changes == []
    assert pooler.query("SELECT 1") == b"1"
