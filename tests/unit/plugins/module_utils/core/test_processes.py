# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
NOBODY = processes.account("nobody", "test")
IDS = ["sh", "-c", "id -u; id -ru; id -g; id -rg; id -G"]


def ids() -> tuple[int, int, list[int]]:
    return os.geteuid(), os.getegid(), sorted(os.getgroups())


@needs_root
def test_acting_as_a_user_takes_ids_and_groups_and_gives_them_back() -> None:
    before = ids()
    with acting_as(NOBODY):
        assert ids() == (NOBODY.uid, NOBODY.gid, sorted(os.getgrouplist(NOBODY.name, NOBODY.gid)))
        assert os.getuid() == 0, "the user must not be able to signal or trace this process"
    assert ids() == before


@needs_root
def test_root_comes_back_after_an_error() -> None:
    before = ids()
    with pytest.raises(RuntimeError), acting_as(NOBODY):
        raise RuntimeError
    assert ids() == before


@needs_root
def test_a_user_is_stopped_where_root_is_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with acting_as(NOBODY), pytest.raises(PermissionError):
        (tmp_path / "file").write_text("")


@needs_root
def test_a_command_started_while_acting_as_a_user_has_no_way_back_to_root() -> None:
    wanted = [str(NOBODY.uid)] * 2 + [str(NOBODY.gid)] * 2
    with acting_as(NOBODY):
        done = processes.run(IDS, user=NOBODY)
    assert done.output.split()[:4] == wanted
    assert "0" not in done.output.split()
    assert processes.run(IDS, user=NOBODY).output == done.output


@needs_root
def test_somebody_else_may_neither_act_as_a_user_nor_run_commands_as_one() -> None:
    other = processes.account("daemon", "test")
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY.uid)
        refused = 0
        for attempt in (lambda: acting_as(other).__enter__(), lambda: processes.run(["true"], user=other)):
            try:
                attempt()
            except TlsError as error:
                refused += "become: true" in error.message
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_acting_as_oneself_changes_nothing() -> None:
    before = ids()
    with acting_as(processes.account_of(os.geteuid())):
        assert ids() == before


def test_an_os_user_that_does_not_exist_is_named() -> None:
    with pytest.raises(TlsError, match="os_user: there is no OS user 'nobody-like-this'"):
        processes.account("nobody-like-this", "os_user")


def test_the_callers_environment_does_not_reach_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    done = processes.run(["env"], environment={"EXTRA": "1"}, user=processes.account_of(os.geteuid()))
    names = {line.split("=")[0] for line in done.output.splitlines()}
    assert names == {"PATH", "LC_ALL", "HOME", "EXTRA"}
    assert f"HOME={pwd.getpwuid(os.geteuid()).pw_dir}" in done.output


def test_a_command_that_is_missing_is_named_with_its_purpose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "PATH", str(tmp_path))
    with pytest.raises(TlsError, match="openssl was not found on this host; it is needed to make keys"):
        processes.find("openssl", "to make keys")


def test_a_command_that_hangs_is_stopped() -> None:
    with pytest.raises(TlsError, match="sleep did not end within 0 s"):
        processes.run(["sleep", "60"], timeout=0.05)
