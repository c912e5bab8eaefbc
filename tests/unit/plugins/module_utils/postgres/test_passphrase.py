# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command for a passphrase, as the server expands it, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import account_of
from ansible_collections.pgops.tls.plugins.module_utils.postgres import passphrase

SECRET = "never-to-be-seen-1616"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo a", "echo a"),
        ("ask '%p'", "ask 'Enter PEM pass phrase:'"),
        ("echo 100%%", "echo 100%"),
        ("echo %%p", "echo %p"),
        ("date +%s %", "date +%s %"),
    ],
)
def test_a_command_is_expanded_as_the_server_does(command: str, expected: str) -> None:
    assert passphrase.expanded(command) == expected


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"echo {SECRET}", SECRET),
        (f"printf '{SECRET}\\r\\nsecond'", SECRET),
        (f"printf ' {SECRET} '", f" {SECRET} "),
        ("cat file", "of the file"),
        ("true", ""),
    ],
)
def test_the_first_line_is_the_passphrase(tmp_path: Path, command: str, said: str) -> None:
    (tmp_path / "file").write_text("of the file\n")
    assert passphrase.ask(command, str(tmp_path), account_of(os.geteuid())) == said


@pytest.mark.parametrize("command", [f"echo {SECRET}; exit 3", f"echo {SECRET} >&2; kill $$", "/nonexistent/program"])
def test_a_command_that_fails_shows_nothing_of_what_it_said(tmp_path: Path, command: str) -> None:
    with pytest.raises(TlsError, match="ssl_passphrase_command ended with status") as failure:
        passphrase.ask(command, str(tmp_path), account_of(os.geteuid()))
    assert SECRET not in failure.value.message


@pytest.mark.parametrize(
    ("key", "is_needed"),
    [
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", True),
        (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", True),
        (b"-----BEGIN PRIVATE KEY-----\n", False),
        (b"", False),
    ],
)
def test_a_key_says_whether_it_needs_one(key: bytes, is_needed: bool) -> None:
    assert passphrase.is_needed(key) is is_needed
