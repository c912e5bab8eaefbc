# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a child process: what it has of its parent, and how its end is told."""

from __future__ import annotations

import locale
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import children, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
SELF = processes.account_of(os.geteuid())
NOBODY = processes.account("nobody", "test")
MUCH = "x" * 300_000  # more than a pipe holds


def seen_by(user: processes.Account, look: Callable[[], Any]) -> Any:
    ended = children.run_as(user, lambda send: send(look()), 10)
    assert ended.fault == ""
    return ended.sent[0]


def children_left() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) is not None
    except ChildProcessError:
        return False


def test_what_a_child_sends_arrives_in_its_order() -> None:
    ended = children.run_as(SELF, lambda send: [send(one) for one in (1, None, {"two": MUCH}, [])] and None, 10)
    assert ended == ([1, {"two": MUCH}, []], "")
    assert not children_left()


@needs_root
def test_a_child_is_the_user_for_good() -> None:
    def ids() -> list[Any]:
        with pytest.raises(PermissionError):
            os.seteuid(0)
        return [os.getresuid(), os.getresgid(), sorted(os.getgroups())]

    groups = sorted(os.getgrouplist(NOBODY.name, NOBODY.gid))
    assert seen_by(NOBODY, ids) == [[NOBODY.uid] * 3, [NOBODY.gid] * 3, groups]


@needs_root
def test_a_child_of_another_user_takes_root() -> None:
    def try_it() -> str:
        with pytest.raises(TlsError) as caught:
            children.run_as(SELF, lambda send: send(1), 10)
        return str(caught.value)

    assert "must run as root or as the OS user 'root'" in seen_by(NOBODY, try_it)


def test_a_child_has_nothing_of_its_parents_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    there = SELF._replace(home="/somewhere")
    environment = {"HOME": "/somewhere", "LC_ALL": "C", "PATH": processes.PATH}
    assert seen_by(there, lambda: [dict(os.environ), os.getcwd()]) == [environment, "/"]
    command = [sys.executable, "-c", "import os; print(*os.environ)"]  # which sees what libraries see
    inherited = seen_by(there, lambda: processes.subprocess.check_output(command, text=True)).split()
    assert {*inherited} - {"COLUMNS", "LINES"} == {*environment}, "readline, which pytest has loaded, sets these two"


def test_a_childs_messages_are_in_english() -> None:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        assert seen_by(SELF, lambda: locale.setlocale(locale.LC_ALL)) == "C"
    finally:
        locale.setlocale(locale.LC_ALL, before)


def test_a_child_has_no_open_files_and_prints_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    def look() -> Any:
        os.write(1, b"output")
        os.write(2, b"errors")
        return sorted(os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd"))

    with open(__file__, encoding="ascii") as kept:
        found = seen_by(SELF, look)
        assert kept.name not in found
    assert [one for one in found if not one.startswith("/proc/")] == [os.devnull] * 3
    assert capfd.readouterr() == ("", "")


def test_an_error_in_a_child_is_told_and_nothing_of_the_parent_goes_on_in_it() -> None:
    def fail(send: children.Send) -> None:
        send("before")
        raise SystemExit("no way")

    assert children.run_as(SELF, fail, 10) == (["before"], "failed: SystemExit: no way")


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_dies_is_told_by_its_signal(end: signal.Signals) -> None:
    def die(send: children.Send) -> None:
        send("before")
        os.kill(os.getpid(), end)

    assert children.run_as(SELF, die, 10) == (["before"], f"was killed by signal {end.value} ({end.name})")


def test_half_a_message_of_a_child_that_dies_is_no_message() -> None:
    def die(send: children.Send) -> None:
        send("before")
        os.write(max(int(one) for one in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{one}")), b'{"sent"')
        os._exit(3)

    assert children.run_as(SELF, die, 10) == (["before"], "ended with status 3")


def test_a_child_that_hangs_is_killed() -> None:
    def hang(send: children.Send) -> None:
        send(os.getpid())
        select.poll().poll()

    ended = children.run_as(SELF, hang, 0.2)
    assert ended.fault == "gave no sign of life for 0.2 s and was stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(ended.sent[0], 0)


def test_a_child_that_gives_signs_of_life_is_not_killed() -> None:
    def slow(send: children.Send) -> None:
        for _turn in range(6):
            select.poll().poll(50)
            send(None)
        send("after")

    assert children.run_as(SELF, slow, 0.2) == (["after"], "")


def test_an_interrupted_parent_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(children, "_gather", interrupted)
    with pytest.raises(KeyboardInterrupt):
        children.run_as(SELF, lambda _send: select.poll().poll(), 10)
    assert not children_left()
