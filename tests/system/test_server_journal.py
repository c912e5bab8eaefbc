# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal that was damaged: a server that is whole continues without it, any other is left alone with one command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.server import removal
from ansible_collections.pgops.tls.tests.servers import HBA, TODAY, Server
from ansible_collections.pgops.tls.tests.system.test_server_rights import give

SET_ASIDE = "recovery: the damaged journal of an interrupted run is set aside"
DAMAGED_JOURNALS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "foreign JSON": lambda path: path.write_text('{"changes": ["a", "b"], "previous": "0001", "staged": null}'),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "directory": lambda path: (path / "inside").mkdir(parents=True),
    "root's": lambda path: (path.write_text("x"), path.chmod(0)),
    "nested": lambda path: path.write_text("[" * 100_000),
}


def test_a_server_that_is_whole_goes_on_without_a_damaged_journal(managed: Server) -> None:
    path, served = managed.directory / "journal.json", managed.served()
    for number, (name, damage) in enumerate(DAMAGED_JOURNALS.items(), start=1):
        damage(path)
        if name != "root's":
            give(path)
        disk = managed.disk()
        foreseen = managed.converge(check_mode=True)
        assert managed.disk() == disk
        done = managed.converge()
        assert foreseen.changes == done.changes == [SET_ASIDE], name
        for outcome in (foreseen, done):
            [told] = outcome.warnings
            assert told.startswith(f"{path}: expected the journal of an interrupted run, found "), name
            assert "The server is consistent nevertheless" in told
        assert f"set aside as {path}.damaged{'' if number == 1 else f'-{number}'}." in done.warnings[0]
        assert managed.served() == served
        again = managed.converge()
        assert (again.changes, again.warnings) == ([], []), name
    managed.restart()


def test_what_a_run_that_was_killed_had_done_stays_where_its_journal_got_lost_in_damage(managed: Server) -> None:
    killed_after("commit", managed, hba=f"# another\n{HBA}")
    damaged(managed)
    assert managed.converge(hba=f"# another\n{HBA}").changes == [SET_ASIDE]
    damaged(managed)
    assert managed.converge().changes == [SET_ASIDE, "pg_hba.conf: changed"], "and the run continues from there"
    assert (managed.directory / "backup.damaged").is_dir(), "what was before the first one is kept"


def test_a_damaged_journal_stops_neither_the_way_back_nor_the_way_out(managed: Server) -> None:
    managed.settle(renew=True)
    damaged(managed)
    foreseen = managed.roll_back(check_mode=True)
    assert foreseen.changes[0] == SET_ASIDE
    assert managed.roll_back().changes == foreseen.changes
    damaged(managed)
    done = managed.converge(kind=removal.Removal, remove_directory=True)
    assert done.changes[0] == SET_ASIDE
    assert "The server is consistent nevertheless" in done.warnings[0]
    assert not managed.directory.exists(), "with all that was set aside"


def test_a_first_run_that_was_killed_before_it_changed_anything_is_whole(server: Server) -> None:
    server.directory.mkdir()
    give(server.directory)
    damaged(server)
    assert server.settle().changes[0] == "certificate: no_certificate"
    assert not list(server.directory.glob("journal.json"))


def unserved(server: Server) -> str:
    """Let a run be killed between the switch and the reload."""
    killed_after("switch", server, renew=True)
    return "the server shows another certificate than the one on disk"


def broken_rules(server: Server) -> str:
    server.cluster.append("pg_hba.conf", "hostssl all all all nonsense\n")
    return "nonsense"


def broken_settings(server: Server) -> str:
    server.cluster.append("postgresql.conf", "no_such_setting = 1\n")
    return "unrecognized configuration parameter"


def lost_marker(server: Server) -> str:
    path = server.cluster.data / "pg_hba.conf"
    path.write_text(path.read_text().replace("# END pgops.tls\n", ""))
    return "expected one pair of the lines"


def lost_include(server: Server) -> str:
    path = server.cluster.data / "postgresql.conf"
    path.write_text(re.sub("include_if_exists.*\n", "", path.read_text()))
    return "its configuration does not include"


@pytest.mark.parametrize("half", [unserved, broken_rules, broken_settings, lost_marker, lost_include])
def test_a_server_that_is_not_whole_is_left_alone_with_one_command(
    managed: Server, half: Callable[[Server], str]
) -> None:
    before = (managed.cluster.data / "pg_hba.conf").read_text(), (managed.cluster.data / "postgresql.conf").read_text()
    said = half(managed)
    damaged(managed)
    disk = managed.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="found something else than JSON") as failure:
            managed.converge(check_mode=check_mode)
        assert said in failure.value.message
        assert "Nothing was changed" in failure.value.message
    assert managed.disk() == disk
    [command] = re.findall(r"run: (mv .*?)\. Then rerun\.", failure.value.message)
    subprocess.run(shlex.split(command), check=True)
    if half is not unserved:  # the cause has to go, too
        for name, text in zip(("pg_hba.conf", "postgresql.conf"), before):
            managed.cluster.write(name, text)
    managed.settle()
    assert managed.converge().changes == []
    managed.restart()


def test_a_server_that_is_down_with_a_damaged_journal_is_told_the_command(managed: Server) -> None:
    damaged(managed)
    managed.cluster.stop("fast")
    with pytest.raises(TlsError, match=rf"run: mv {managed.directory}/journal.json .*\. Then rerun"):
        managed.converge()
    assert (managed.directory / "journal.json").exists()


def test_a_key_whose_signing_failed_goes_once_no_run_can_be_at_work_with_it(managed: Server) -> None:
    key = managed.directory / "pending" / "server.key"
    assert managed.converge(renew=True).request
    assert managed.converge().changes == []
    assert key.exists(), "another run may be having it signed"
    os.utime(key, (TODAY - 7200, TODAY - 7200))
    assert managed.converge(renew=True).request
    managed.converge()
    assert key.exists(), "it waits anew"
    os.utime(key, (TODAY - 7200, TODAY - 7200))
    managed.converge(check_mode=True)
    assert key.exists()
    assert managed.converge().changes == []
    assert not key.exists()


def killed_after(method: str, server: Server, **options: Any) -> None:
    """Let a run be killed behind a step of its transaction; before the last one, ``commit``."""
    whole = getattr(Journal, method)

    def killed(*arguments: Any) -> None:
        if method != "commit":
            whole(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, method, killed)
        with pytest.raises(KeyboardInterrupt):
            server.settle(**options)


def damaged(server: Server) -> None:
    path = server.directory / "journal.json"
    path.write_text("damaged")
    give(path)
