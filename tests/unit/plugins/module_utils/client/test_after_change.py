# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared to run after a change, and what is shown of it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import after_change
from ansible_collections.pgops.tls.plugins.module_utils.client.after_change import Hook
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import ends, is_running


@pytest.mark.parametrize(
    ("declared", "hook", "words"),
    [
        ({"unit": "haproxy"}, Hook("haproxy", "restart"), "restart of haproxy"),
        ({"unit": "a@b-c.service", "action": "reload"}, Hook("a@b-c.service", "reload"), "reload of a@b-c.service"),
        ({"unit": "a", "action": None, "command": None, "as_root": False}, Hook("a", "restart"), "restart of a"),
        ({"command": ["/x", "-p secret"]}, Hook(command=("/x", "-p secret")), "command /x"),
        ({"command": ["x", ""], "as_root": True}, Hook(command=("x", ""), as_root=True), "command x"),
    ],
)
def test_what_is_declared_is_read(declared: dict[str, Any], hook: Hook, words: str) -> None:
    assert after_change.parse(declared, "x") == hook
    assert hook.in_words() == words


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({}, "found a dictionary with nothing, expected one with either unit or command"),
        ("reload", "found a value of type str, expected one with"),
        ({"unit": "a", "command": ["b"]}, "found a dictionary with 'unit' and 'command', expected"),
        ({"unti": "a"}, "found a dictionary with 'unti'"),
        ({"unit": "a b"}, r"\.unit: found 'a b', expected the name of a unit"),
        ({"unit": "--now"}, r"\.unit: found '--now', expected the name of a unit"),
        ({"unit": "../x"}, r"\.unit: found '\.\./x', expected the name of a unit"),
        ({"unit": "a", "action": "stop"}, r"\.action: found 'stop', expected reload or restart"),
        ({"unit": "a", "as_root": True}, "found as_root beside unit, where it has no meaning. Remove as_root"),
        ({"command": ["a"], "action": "reload"}, "found action beside command"),
        ({"command": "systemctl reload x"}, r"\.command: expected a list of texts"),
        ({"command": []}, r"\.command: expected a list of texts"),
        ({"command": [""]}, r"\.command: expected a list of texts"),
        ({"command": ["kill", 1]}, r"\.command: expected a list of texts, .* numbers in quotes"),
        ({"command": ["a\0b"]}, r"\.command: expected a list of texts"),
        ({"command": ["a"], "as_root": "yes"}, r"\.as_root: found 'yes', expected true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_and_shows_no_argument(declared: Any, message: str) -> None:
    with pytest.raises(TlsError, match=f"^x{message}|^x: {message}") as error:
        after_change.parse(declared, "x")
    assert "systemctl" not in error.value.message


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("a\n\n  b \n", "a | b"),
        ("password=hunter2 x", "password=******** x"),
        ("PGPASSWORD='hunter2'", "PGPASSWORD=********"),
        ('{"token": "hunter2"}', '{"token": ********'),
        ("Passphrase: hunter2", "Passphrase: ********"),
        ("postgresql://me:hunter2@db1/shop", "postgresql://me:********@db1/shop"),
        ("-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\nb", "a private key | b"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2", "a private key"),
    ],
)
def test_no_secret_of_an_output_is_shown(output: str, shown: str) -> None:
    assert after_change.masked(output) == shown


def test_of_a_long_output_the_end_is_shown() -> None:
    found = after_change.masked("\n".join(map(str, range(9999))))
    assert (found[:3], found[-4:], len(found)) == ("...", "9998", 1503)


@pytest.mark.parametrize(
    ("mark", "waiting"),
    [
        (None, []),
        (after_change.mark_of(["b"]), ["b"]),
        (after_change.mark_of(["gone", "a"]), ["a"]),
        (b"[]", []),
        (b"garbage", ["a", "b"]),
        (b"7", ["a", "b"]),
        (b'{"a": 1}', ["a"]),
        (b"\xff\x00", ["a", "b"]),
    ],
)
def test_a_mark_names_who_waits_and_all_wait_if_it_cannot_be_read(mark: bytes | None, waiting: list[str]) -> None:
    assert after_change.marked(mark, ["a", "b"]) == waiting


ME = processes.account_of(os.geteuid())


def test_a_command_that_ends_well_is_told_without_its_arguments() -> None:
    assert after_change.run(Hook(command=("sh", "-c", "exit 0", "secret")), ME) == "command sh succeeded"


def test_a_command_has_nothing_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    told = tmp_path / "told"
    after_change.run(Hook(command=("sh", "-c", f"(pwd; env; ls -l /proc/self/fd/0) > {told}")), ME)
    lines = told.read_text().splitlines()
    assert lines[0] == "/"
    assert not [line for line in lines if "hunter2" in line]
    assert lines[-1].endswith("/dev/null")


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (("sh", "-c", "echo why; exit 3"), "command sh failed: it ended with status 3. It printed: why The new files"),
        (("sh", "-c", "kill -9 $$"), "it ended with status -9. The new files stay. Fix that, then rerun"),
        (("/nonexistent",), "command /nonexistent failed: it could not be started"),
    ],
)
def test_a_command_that_fails_says_how(argv: tuple[str, ...], fault: str) -> None:
    with pytest.raises(TlsError, match=re.escape(fault)) as error:
        after_change.run(Hook(command=argv), ME)
    assert error.value.details == {"changed": True}


def test_one_that_hangs_is_stopped_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_change, "TIMEOUT", 1.0)
    pid = tmp_path / "pid"
    with pytest.raises(TlsError, match=r"it did not end within 1 s and was stopped\. It printed: begun"):
        after_change.run(Hook(command=("sh", "-c", f"echo begun; sleep 47 & echo $! > {pid}; wait")), ME)
    assert ends(int(pid.read_text()))


def test_what_it_starts_in_the_background_stays_and_nobody_waits_for_it(tmp_path: Path) -> None:
    pid, begun = tmp_path / "pid", time.monotonic()
    after_change.run(Hook(command=("sh", "-c", f"sleep 61 & echo $! > {pid}")), ME)
    assert time.monotonic() - begun < 30
    assert is_running(int(pid.read_text()))
    os.kill(int(pid.read_text()), signal.SIGTERM)


def test_a_mark_goes_when_no_hook_is_due(tmp_path: Path) -> None:
    path = tmp_path / after_change.MARK
    after_change.forget(str(path), ["b"], ME.owner)
    assert after_change.marked(path.read_bytes(), ["a", "b"]) == ["b"]
    for _again in range(2):
        after_change.forget(str(path), [], ME.owner)
        assert not path.exists()


def test_a_program_that_is_missing_is_found_out_before() -> None:
    after_change.refuse_unfit([Hook(command=("sh",))])
    with pytest.raises(TlsError, match="The command no-such-program was not found on this host; it is needed by after"):
        after_change.refuse_unfit([Hook(command=("sh",)), Hook(command=("no-such-program",))])
