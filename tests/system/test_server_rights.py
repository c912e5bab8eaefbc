# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's OS user plants gives it nothing of root, and what that user could not change is said beforehand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql
from ansible_collections.pgops.tls.tests.faults import dying, everything
from ansible_collections.pgops.tls.tests.servers import HBA, Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to lose")


def give(path: Path, name: str = "postgres") -> None:
    os.chown(path, pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid, follow_symlinks=False)


@pytest.fixture
def treasure(tmp_path: Path) -> Path:
    """Give a file of root that is for nobody else, in a directory of root."""
    tmp_path.chmod(0o700)
    path = tmp_path / "treasure"
    path.write_text("of root")
    return path


def test_a_forged_journal_does_not_make_root_write_a_file(managed: Server, treasure: Path) -> None:
    backup = managed.directory / "forged"
    backup.write_text("of the server's user")
    before = {"kind": "file", "mode": 0o4755, "owner": [0, 0], "backup": str(backup)}
    before["sha256"] = hashlib.sha256(backup.read_bytes()).hexdigest()
    change = {"path": str(treasure), "before": before, "written": {}, "aside": None}
    journal = {"previous": "0001", "staged": None, "changes": [change]}
    (managed.directory / "journal.json").write_text(json.dumps(journal))
    give(backup)
    give(managed.directory / "journal.json")
    with pytest.raises(TlsError, match="Permission denied"):
        managed.converge()
    assert treasure.read_text() == "of root"
    assert treasure.stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("place", ["pending", "generations", "backup"])
def test_a_planted_link_to_a_directory_of_root_gains_nothing(managed: Server, treasure: Path, place: str) -> None:
    before = everything(treasure.parent)
    shutil.rmtree(managed.directory / place, ignore_errors=True)
    (managed.directory / place).symlink_to(treasure.parent)
    give(managed.directory / place)
    with contextlib.suppress(TlsError):
        managed.settle(renew=True)
    assert everything(treasure.parent) == before


def test_configuration_that_points_at_files_of_root_does_not_change_them(managed: Server, treasure: Path) -> None:
    rules = managed.cluster.data / "pg_hba.conf"
    rules.unlink()
    rules.symlink_to(treasure)
    give(rules)
    with pytest.raises(TlsError, match="Permission denied"):
        managed.converge(hba="# another\n" + HBA, hba_mode="replace")
    assert treasure.read_text() == "of root"


def test_a_configuration_file_of_somebody_else_is_named_before_anything_changes(server: Server) -> None:
    os.chown(server.cluster.data / "postgresql.conf", 0, pwd.getpwnam("postgres").pw_gid)
    (server.cluster.data / "postgresql.conf").chmod(0o640)
    disk = server.disk()
    with pytest.raises(
        TlsError, match=r"postgresql\.conf: found owner and group 0:\d+.*Find out who manages this file"
    ):
        server.converge(check_mode=True)
    with pytest.raises(TlsError, match=r"postgresql\.conf: found owner and group"):
        server.settle()
    assert {path: found for path, found in server.disk().items() if "/tls" not in path} == disk


def test_a_directory_of_somebody_else_or_for_everybody_is_refused(managed: Server) -> None:
    disk = managed.disk()
    managed.directory.chmod(0o777)
    with pytest.raises(TlsError, match=r"tls \(mode 0777\), and could replace"):
        managed.converge()
    managed.directory.chmod(0o755)
    os.chown(managed.directory, 0, 0)
    with pytest.raises(TlsError, match="belongs to user id 0; expected a directory of OS user 'postgres'"):
        managed.converge()
    give(managed.directory)
    assert managed.disk() == disk


def test_a_key_that_the_server_cannot_read_is_replaced(managed: Server) -> None:
    key = managed.directory / "current" / "server.key"
    os.chown(key, 0, 0)
    assert managed.settle().plan.reasons == ["key_missing"]
    managed.restart()
    assert managed.converge().changes == []


def test_the_directory_is_made_below_parents_that_only_root_can_write(server: Server, tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(0o755)
    server.directory = tmp_path / "etc" / "tls"
    server.settle()
    assert server.directory.owner() == "postgres"
    assert server.directory.parent.owner() == "root"
    assert server.converge().changes == []


def test_a_planted_link_on_the_way_does_not_make_root_create_a_directory(server: Server, treasure: Path) -> None:
    link = server.cluster.home / "planted"
    link.symlink_to(treasure.parent)
    give(link)
    server.directory = link / "5432"
    with pytest.raises(TlsError, match="belongs to that user, who could redirect root elsewhere"):
        server.converge()
    assert os.listdir(treasure.parent) == ["treasure"]


def test_a_signal_goes_to_the_server_alone() -> None:
    stranger = psql.Administrator("/tmp", 1, "postgres", account("postgres", "x"), "psql", os.getpid())
    with pytest.raises(TlsError, match="it is not the server's process"):
        stranger.signal_reload()


def test_a_recovery_that_fails_says_so_and_does_not_claim_that_nothing_changed(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying():
        managed.converge(hba="# another\n" + HBA)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "pg_hba.conf")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_restore", full)
        with pytest.raises(TlsError, match=r"pg_hba.conf: No space left.*is only partly undone") as failure:
            managed.converge()
    assert "Nothing was changed" not in failure.value.message
    assert managed.converge().changes == ["recovery: the transaction of an interrupted run is undone"]
