# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults

IS_ROOT = os.geteuid() == 0
ME = files.Owner(os.geteuid(), os.getegid())
SOMEBODY = files.Owner(65534, 65534) if IS_ROOT else ME


def properties(path: Path) -> tuple[bytes, int, int, int]:
    found = path.stat()
    return path.read_bytes(), found.st_mode & 0o7777, found.st_uid, found.st_gid


def test_a_death_while_writing_leaves_the_old_file_or_the_new_one_with_its_mode_and_owner(fast_path: Path) -> None:
    path = fast_path / "file"
    old, new = (b"old" * 1000, 0o640, *ME), (b"new" * 2000, 0o600, *SOMEBODY)
    seen = []
    path.write_bytes(old[0])
    path.chmod(0o640)
    for _number in faults.deaths(lambda: files.write_atomically(str(path), new[0], 0o600, SOMEBODY)):
        assert properties(path) in (old, new)
        seen.append(properties(path) == new)
        path.unlink()
        path.write_bytes(old[0])
        path.chmod(0o640)
    assert seen[-1]
    assert seen.count(False) > 5


def test_what_a_dead_writer_left_is_cleared_away_by_the_next_one(fast_path: Path) -> None:
    path = fast_path / "file"
    left = 0
    for _number in faults.deaths(lambda: files.write_atomically(str(path), b"content", 0o600)):
        left += len(list(fast_path.iterdir())) > path.exists()
        files.write_atomically(str(path), b"content", 0o600)
        assert [entry.name for entry in fast_path.iterdir()] == ["file"]
    assert left > 0


def test_a_write_that_fails_leaves_nothing_behind(fast_path: Path) -> None:
    path = fast_path / "file"
    for number in itertools.count():
        with faults.failing(number) as failed, contextlib.suppress(OSError):
            files.write_atomically(str(path), b"content", 0o600)
        assert [entry.name for entry in fast_path.iterdir()] in ([], ["file"])
        if not failed:
            break
        path.unlink(missing_ok=True)
    assert number > 5


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_new_file_is_never_readable_for_others_before_it_is_its_owners(fast_path: Path, mode: int) -> None:
    path = fast_path / "key"
    for _number in faults.deaths(lambda: files.write_new(str(path), b"secret", mode, SOMEBODY)):
        if path.exists():
            assert path.stat().st_mode & 0o077 == 0
            path.unlink()


def test_a_new_file_does_not_follow_a_link_that_somebody_planted(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        files.write_new(str(tmp_path / "file"), b"secret", 0o600)
    assert not (tmp_path / "elsewhere").exists()


def test_rewriting_keeps_mode_and_owner_and_follows_a_link(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    os.chown(path, *SOMEBODY)
    (tmp_path / "link").symlink_to("file")
    files.rewrite(str(tmp_path / "link"), b"new")
    assert properties(path) == (b"new", 0o604, *SOMEBODY)
    assert (tmp_path / "link").is_symlink()


def test_a_death_while_pointing_leaves_the_old_link_or_the_new_one(fast_path: Path) -> None:
    link = fast_path / "current"
    link.symlink_to("old")
    seen = []
    for _number in faults.deaths(lambda: files.point(str(link), "new")):
        seen.append(os.readlink(link))
        files.point(str(link), "old")
        assert [entry.name for entry in fast_path.iterdir()] == ["current"]
    assert set(seen) == {"old", "new"}


def test_a_link_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    with pytest.raises(IsADirectoryError):
        files.point(str(tmp_path / "current"), "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["current"]


def test_reading_tells_a_missing_file_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert files.read(str(tmp_path / "file")) == b"content"
    assert files.read(str(tmp_path / "missing")) is None
    assert files.read(str(tmp_path / "file" / "below")) is None
    with pytest.raises(OSError, match="expected a regular file"):
        files.read(str(tmp_path))


def test_reading_does_not_wait_for_a_pipe_that_somebody_planted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="expected a regular file"):
        files.read(str(tmp_path / "pipe"))


def test_reading_refuses_a_file_that_would_take_all_memory(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OSError, match="expected at most 67108864 bytes"):
        files.read(str(tmp_path / "file"))


def test_a_directory_appears_only_with_its_mode_and_owner(fast_path: Path) -> None:
    path = fast_path / "directory"
    for _number in faults.deaths(lambda: files.make_directory(str(path), 0o750, SOMEBODY)):
        if path.exists():
            found = path.stat()
            assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o750, *SOMEBODY)
        files.make_directory(str(path), 0o750, SOMEBODY)
        assert [entry.name for entry in fast_path.iterdir()] == ["directory"]
        path.rmdir()


def test_a_directory_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o711)
    assert not files.make_directory(str(tmp_path / "directory"), 0o700)
    assert (tmp_path / "directory").stat().st_mode & 0o7777 == 0o711


def test_missing_parents_are_made_for_everybody_to_pass(tmp_path: Path) -> None:
    assert files.make_directory(str(tmp_path / "one" / "two" / "three"), 0o700)
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("one", "one/two", "one/two/three")]
    assert modes == [0o755, 0o755, 0o700]


def test_the_lock_of_a_directory_keeps_others_out_and_leaves_no_file(tmp_path: Path) -> None:
    with files.locked(str(tmp_path)):
        with pytest.raises(TlsError, match="another run has held the lock"), files.locked(str(tmp_path), patience=0.0):
            pytest.fail("two runs hold the lock")
        assert list(tmp_path.iterdir()) == []
    with files.locked(str(tmp_path), patience=0.0):
        pass


def test_the_lock_is_released_when_the_run_fails(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), files.locked(str(tmp_path)):
        raise RuntimeError
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_the_lock_refuses_what_is_no_directory_without_waiting_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotADirectoryError), files.locked(str(tmp_path / "pipe")):
        pytest.fail("a pipe was locked")


def test_several_runs_can_make_the_same_directory_at_once(tmp_path: Path) -> None:
    """Clusters of one host have /etc/postgresql/tls in common, and Ansible works on them at the same time."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            path = tmp_path / str(number) / "tls"
            made = list(pool.map(lambda _run, path=path: files.make_directory(str(path), 0o755), range(8)))
            assert any(made)
            assert path.is_dir()
            assert [entry.name for entry in path.parent.iterdir()] == ["tls"]


def test_what_a_run_left_half_made_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".backup.pgops-new").mkdir()
    (tmp_path / ".journal.json.pgops-new").write_text("{")
    (tmp_path / "current.pgops-new").symlink_to(tmp_path)
    (tmp_path / "current").symlink_to("generations/0001")
    files.sweep(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
    files.sweep(str(tmp_path / "missing"))


def test_who_waits_for_the_lock_of_a_directory_that_is_made_anew_locks_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    held = os.open(path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    def replace(_seconds: float) -> None:
        path.rename(tmp_path / "old")
        path.mkdir()
        os.close(held)

    monkeypatch.setattr(files.time, "sleep", replace)
    with files.locked(str(path)):
        new = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(new)


def test_the_process_that_has_the_lock_is_named(tmp_path: Path) -> None:
    told = rf"for over 0 s: process {os.getpid()} \(.+\)\. Wait for that run to end"
    with files.locked(str(tmp_path)), pytest.raises(TlsError, match=told), files.locked(str(tmp_path), patience=0.0):
        pytest.fail("two runs hold the lock")


def test_a_directory_that_a_run_beside_this_one_makes_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mkdir, inodes = tmp_path / "directory", os.mkdir, []

    def beside(made: str, mode: int) -> None:
        monkeypatch.setattr(os, "mkdir", mkdir)
        assert files.make_directory(str(path), 0o755)
        inodes.append(path.stat().st_ino)
        mkdir(made, mode)

    monkeypatch.setattr(os, "mkdir", beside)
    assert not files.make_directory(str(path), 0o755)
    assert [path.stat().st_ino] == inodes
    assert list(tmp_path.iterdir()) == [path]


PLANT: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "file": Path.touch,
    "link": lambda path: path.symlink_to(path.with_name("other")),
    "nothing": lambda _path: None,
}


@pytest.mark.parametrize("kind", PLANT)
def test_only_a_directory_is_removed_as_a_tree_and_nothing_makes_it_wait(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree"
    (tmp_path / "other" / "inside").mkdir(parents=True)
    PLANT[kind](path)
    # The library opens what it is to remove, which waits for whoever writes into a pipe
    monkeypatch.setattr(shutil, "rmtree", lambda *_arguments, **_options: pytest.fail("opened"))
    before = sorted(tmp_path.rglob("*"))
    files.remove_tree(str(path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tree_is_removed_whole(tmp_path: Path) -> None:
    (tmp_path / "tree" / "inside").mkdir(parents=True)
    os.mkfifo(tmp_path / "tree" / "inside" / "pipe")
    files.remove_tree(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
