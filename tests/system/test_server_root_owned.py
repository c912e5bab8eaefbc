# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files that root keeps: changed as root, and nothing that the server's OS user plants makes root err."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, transaction
from ansible_collections.pgops.tls.tests.faults import dying, everything
from ansible_collections.pgops.tls.tests.servers import CONFIGURATION, HBA, Server

CONFIGURATION_NAMES = [f"p{name}.conf" for name in CONFIGURATION]
OTHER_SETTINGS: dict[str, Any] = {"hba": "hostssl all app all cert map=people\n" + HBA, "ident": "people app app\n"}


def folder(server: Server) -> Path:
    assert server.configuration is not None
    return server.configuration


def plant(server: Server, *changes: dict[str, Any]) -> None:
    """Write a journal as the server's OS user can."""
    path = server.directory / "journal.json"
    path.write_text(json.dumps({"previous": server.directory.joinpath("current").readlink().name,
                                "staged": None, "changes": list(changes)}))  # fmt: skip
    os.chown(path, *account("postgres", "x").owner)


def rooted(path: Path) -> dict[str, Any]:
    return {"path": str(path), "before": {"kind": "rooted"}, "written": {}, "aside": None}


def test_files_of_root_are_changed_with_owner_group_and_mode_kept(hardened: Server) -> None:
    group = pwd.getpwnam("postgres").pw_gid
    told = hardened.converge(check_mode=True, **OTHER_SETTINGS)
    assert told.changes == hardened.settle(**OTHER_SETTINGS).changes
    for name in CONFIGURATION_NAMES:
        found = (folder(hardened) / name).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, group, 0o640)
        assert (hardened.cluster.data / name).is_symlink()
    assert sorted(path.name for path in folder(hardened).iterdir()) == sorted(CONFIGURATION_NAMES)
    assert "people app app" in (folder(hardened) / "pg_ident.conf").read_text()
    hardened.restart()
    assert hardened.converge(**OTHER_SETTINGS).changes == []
    assert hardened.settle(renew=True).plan.reasons == ["forced"]


def refuse(_prover: proof.Prover) -> None:
    raise TlsError("injected")


def test_a_failure_brings_the_very_files_back(hardened: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hardened.settle()
    before, inodes = hardened.disk(), [(folder(hardened) / name).stat().st_ino for name in CONFIGURATION_NAMES]
    with monkeypatch.context() as patch:
        patch.setattr(proof.Prover, "rules", lambda *_arguments, **_options: proof._not_taken("Not taken", []))
        patch.setattr(proof.Prover, "check_rules", refuse)
        with pytest.raises(TlsError, match="The previous state is restored and proven") as failure:
            hardened.converge(**OTHER_SETTINGS)
    assert failure.value.details["rolled_back"] is True
    assert hardened.disk() == before
    assert [(folder(hardened) / name).stat().st_ino for name in CONFIGURATION_NAMES] == inodes


@pytest.mark.parametrize("is_down", [False, True])
def test_what_a_killed_run_left_is_undone(hardened: Server, is_down: bool) -> None:
    hardened.settle()
    before = hardened.disk()
    with dying():
        hardened.converge(**OTHER_SETTINGS)
    assert hardened.disk() != before
    if is_down:
        hardened.cluster.stop("fast")
        with pytest.raises(TlsError, match="they were undone"):
            hardened.converge()
    else:
        told = hardened.converge(check_mode=True)
        assert told.changes == hardened.converge().changes
        assert told.changes == ["recovery: the transaction of an interrupted run is undone"]
    assert hardened.disk() == before
    hardened.restart()
    assert hardened.converge().changes == []


def test_a_forged_journal_puts_nothing_of_its_own_into_files_of_root(hardened: Server) -> None:
    hardened.settle()
    before = everything(folder(hardened))
    rules = folder(hardened) / "pg_hba.conf"
    backup = hardened.directory / "forged"
    backup.write_text("host all all all trust\n")
    state = {"kind": "file", "mode": 0o640, "owner": [0, 0], "backup": str(backup)}
    state["sha256"] = hashlib.sha256(rules.read_bytes()).hexdigest()
    forged = {"path": str(rules), "before": state, "written": {}, "aside": None}
    for changes in ([forged], [forged, rooted(rules)], [rooted(rules), forged]):
        plant(hardened, *changes)
        with contextlib.suppress(TlsError):
            hardened.converge()
        assert everything(folder(hardened)) == before
    plant(hardened, {**rooted(rules), "before": {**state, "kind": "rooted"}})
    hardened.converge()
    assert everything(folder(hardened)) == before


def test_a_forged_journal_does_not_undo_what_root_wrote_after_a_crash(hardened: Server) -> None:
    hardened.settle()
    with dying():
        hardened.converge(**OTHER_SETTINGS)
    rules = folder(hardened) / "pg_hba.conf"
    with rules.open("a") as stream:
        stream.write("# by hand\n")
    with pytest.raises(TlsError, match=r"pg_hba.conf: a run that was interrupted had changed this file, and somebody"):
        hardened.converge(**OTHER_SETTINGS)
    plant(hardened, rooted(rules))
    with pytest.raises(TlsError, match=r"pg_hba.conf: a run that was interrupted had changed this file, and somebody"):
        hardened.converge(**OTHER_SETTINGS)
    assert rules.read_text().endswith("# by hand\n")


def test_a_journal_that_the_os_user_removes_leaves_nothing_to_put_back_later(hardened: Server) -> None:
    hardened.settle()
    with dying():
        hardened.converge(**OTHER_SETTINGS)
    (hardened.directory / "journal.json").unlink()
    hardened.settle(**OTHER_SETTINGS)
    after = everything(folder(hardened))
    assert sorted(after) == sorted(CONFIGURATION_NAMES)
    plant(hardened, *(rooted(folder(hardened) / name) for name in CONFIGURATION_NAMES))
    hardened.converge(**OTHER_SETTINGS)
    assert everything(folder(hardened)) == after


def test_a_journal_that_hides_files_of_root_leaves_nothing_to_put_back_later(hardened: Server) -> None:
    hardened.settle()
    with dying():
        hardened.converge(**OTHER_SETTINGS)
    plant(hardened)
    hardened.settle(hba="# another\n" + HBA)
    assert sorted(everything(folder(hardened))) == sorted(CONFIGURATION_NAMES)
    assert hardened.converge(hba="# another\n" + HBA).changes == []


def test_a_link_that_moves_between_reading_and_writing_does_not_carry_content_into_files_of_root(
    hardened: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardened.settle()
    before = everything(folder(hardened))
    planted, link = hardened.cluster.home / "planted", hardened.cluster.data / "pg_hba.conf"
    planted.mkdir()
    (planted / "pg_hba.conf").write_text("host all all all trust\n")
    for path in (planted, planted / "pg_hba.conf"):
        os.chown(path, *account("postgres", "x").owner)
    link.unlink()
    link.symlink_to(planted / "pg_hba.conf")
    begin = Journal.begin

    def flipping(journal: Journal, staged: str | None) -> None:
        link.unlink()
        link.symlink_to(folder(hardened) / "pg_hba.conf")
        begin(journal, staged)

    monkeypatch.setattr(Journal, "begin", flipping)
    with contextlib.suppress(TlsError):
        hardened.converge(**{**OTHER_SETTINGS, "ident": ""}, plaintext="allow")
    assert everything(folder(hardened)) == before


def test_what_the_server_says_of_its_files_does_not_make_root_change_others(
    hardened: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardened.settle()
    group = pwd.getpwnam("postgres").pw_gid
    text = (folder(hardened) / "pg_hba.conf").read_text()
    other = folder(hardened) / "other"
    other.mkdir(mode=0o755)
    for name, owner, mode in [
        ("sudoers", (0, group), 0o640),  # another name
        ("postgresql.conf", (0, group), 0o640),  # the name of another one
        ("pg_hba.conf", (0, 0), 0o644),  # not given to the server's OS user: another server's
        ("pg_hba.conf", (0, group), 0o660),
    ]:
        path = other / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, *owner)
        before = everything(folder(hardened))
        inspect = transaction.state.inspect
        with monkeypatch.context() as patch:
            patch.setattr(transaction.state, "inspect", lambda who: _saying(inspect(who), path))  # noqa: B023
            for check_mode in (True, False):
                with pytest.raises(TlsError, match=r"is changed as root\. This one is not: it is"):
                    hardened.converge(hba="# another\n" + HBA, check_mode=check_mode)
        assert everything(folder(hardened)) == before
        path.unlink()


def _saying(found: transaction.state.ServerState, path: Path) -> transaction.state.ServerState:
    """Return the state of a server that says it has its rules elsewhere."""
    setting = found.settings["hba_file"]._replace(value=str(path))
    return found._replace(settings={**found.settings, "hba_file": setting})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda place: place.chmod(0o775), "is not a directory that only root can write to"),
        (lambda place: os.chown(place, 65534, -1), "is not a directory that only root can write to"),
        (lambda place: os.chown(place / "postgresql.conf", 0, 0), "it is not a file of root that group"),
        (lambda place: (place / "postgresql.conf").chmod(0o660), "it is not a file of root that group"),
    ],
)
def test_files_that_not_root_alone_can_change_are_refused_with_the_reason(
    hardened: Server, spoil: Any, reason: str
) -> None:
    spoil(folder(hardened))
    (folder(hardened) / "postgresql.conf").chmod((folder(hardened) / "postgresql.conf").stat().st_mode | 0o004)
    disk = hardened.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=reason):
            hardened.converge(check_mode=check_mode)
    assert hardened.disk() == disk


@pytest.mark.parametrize("form", ["/{}", "/.{}", "{}\0", "pg_hba.conf", "{}/../pg_hba.conf", "{}/pg_hba.conf", ""])
def test_a_forged_path_that_makes_a_detour_is_refused(hardened: Server, form: str) -> None:
    hardened.settle()
    before = everything(folder(hardened))
    plant(hardened, rooted(Path("/")))
    journal = json.loads((hardened.directory / "journal.json").read_text())
    journal["changes"][0]["path"] = form.format(folder(hardened) / "pg_hba.conf")
    (hardened.directory / "journal.json").write_text(json.dumps(journal))
    if "\0" in form:  # no journal of ours: the server is whole without it
        assert "journal" in hardened.converge().changes[0]
    else:
        with pytest.raises(TlsError, match="expected a file that only root can change"):
            hardened.converge()
    assert everything(folder(hardened)) == before


def test_a_file_that_changed_while_the_run_was_at_work_is_not_replaced(hardened: Server) -> None:
    path, keeper = folder(hardened) / "pg_hba.conf", RootFiles(("pg_hba.conf",), pwd.getpwnam("postgres").pw_gid)
    before = everything(folder(hardened))
    refused = pytest.raises(TlsError, match="somebody changed it during this run")
    with acting_as(account("postgres", "x")), refused:
        keeper.replace(str(path), b"what was read", b"new")
    assert everything(folder(hardened)) == before


def test_the_os_user_itself_keeps_to_its_own_files(hardened: Server) -> None:
    keeper = RootFiles(("pg_hba.conf",), pwd.getpwnam("postgres").pw_gid)
    child = os.fork()
    if child == 0:
        os.setgid(keeper.group)
        os.setuid(pwd.getpwnam("postgres").pw_uid)
        is_refused = (
            keeper.objection(str(folder(hardened) / "pg_hba.conf"), "pg_hba.conf") == "this does not run as root"
        )
        os._exit(0 if is_refused else 1)
    assert os.waitpid(child, 0)[1] == 0
