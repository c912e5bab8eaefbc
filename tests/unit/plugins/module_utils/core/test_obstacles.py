# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps even root from replacing a file; real mounts and attributes: tests/system/playbooks/test_platforms.py."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def test_usual_files_and_those_that_do_not_exist_yet_have_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe", "missing", "missing/below", "."):
        obstacles.refuse(str(tmp_path / name))


def test_a_file_system_that_nobody_can_write_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("directory/file")
    (tmp_path / "directory").mkdir()
    flags = types.SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID)
    monkeypatch.setattr(obstacles.os, "statvfs", lambda path: flags if path == f"{tmp_path}/directory" else None)
    with pytest.raises(TlsError, match=rf"link: the file system of {tmp_path}/directory is mounted read-only"):
        obstacles.refuse(str(tmp_path / "link"))


@pytest.mark.parametrize(("flag", "letter"), [(0x10, "i"), (0x20, "a")])
def test_attributes_are_named_with_the_command_that_takes_them_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: int, letter: str
) -> None:
    def answer(_descriptor: int, _request: int, flags: list[int]) -> None:
        flags[0] = flag | 0x80000  # and one that does not matter

    monkeypatch.setattr(obstacles.fcntl, "ioctl", answer)
    with pytest.raises(TlsError) as failure:
        obstacles.refuse(str(tmp_path / "missing"))
    assert failure.value.code == "path_not_replaceable"
    assert f"Run chattr -{letter} {tmp_path}, then rerun." in str(failure.value)


def test_a_file_that_is_mounted_is_told_from_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a file", "another"):
        (tmp_path / name).write_text("")
    line = f"36 35 8:1 /x {tmp_path}/a\\040file rw - ext4 /dev/sda rw\n"
    monkeypatch.setattr(obstacles.files, "read", lambda _path: line.encode())
    obstacles.refuse(str(tmp_path / "another"))
    with pytest.raises(TlsError, match=rf"a single file is mounted here.*Mount the directory {tmp_path} instead"):
        obstacles.refuse(str(tmp_path / "a file"))
