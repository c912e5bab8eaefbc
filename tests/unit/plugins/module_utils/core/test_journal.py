# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import DamagedError, Journal
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.shared import STEP
from ansible_collections.pgops.tls.tests.unit.plugins.module_utils.core.test_files import ME, SOMEBODY


class World:
    """A generation store in use, and files outside it of every kind that a transaction may meet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outside = root / "outside"
        self.store = GenerationStore(str(root / "store"), ME, 0o700)
        self.store.switch(self.store.stage({"key": File(b"old key", 0o600)}))
        self.outside.mkdir()
        for name in ("config", "kept", "replaced", "gone", "theirs.aside"):
            (self.outside / name).write_bytes(name.encode() + b" before\r\n\xff")
        os.chmod(self.outside / "config", 0o640)
        os.chown(self.outside / "config", *SOMEBODY)
        os.chmod(self.outside / "kept", 0o604)
        os.chown(self.outside / "kept", *SOMEBODY)
        os.symlink("/somewhere/else", self.outside / "link")
        os.symlink("/somewhere/of/ours", self.outside / "theirs")
        os.symlink("/somewhere/of/ours", self.outside / "gone link")
        os.symlink("config", self.outside / "alias")

    def path(self, name: str) -> str:
        return str(self.outside / name)

    def change(self) -> Journal:
        """Do everything that a transaction does, except for its end."""
        journal = Journal(self.store)
        journal.begin(self.store.stage({"key": File(b"new key", 0o600)}))
        journal.put_file(self.path("config"), b"config after")
        journal.switch()
        journal.put_link(self.path("link"), "new target")
        journal.put_link(self.path("replaced"), "new target")
        journal.put_link(self.path("kept"), "new target", self.path("kept.aside"))
        journal.put_file(self.path("new"), b"new file", 0o600, SOMEBODY)
        journal.put_file(self.path("alias"), b"config after, a second time")
        journal.put_back(self.path("theirs"), self.path("theirs.aside"))
        journal.remove(self.path("gone"))
        journal.remove(self.path("gone link"))
        return journal

    def commit(self) -> None:
        self.change().commit()

    def recover(self) -> None:
        """Do what the next run does first."""
        journal = Journal(self.store)
        if journal.is_open():
            journal.roll_back()

    def used(self) -> tuple[Any, ...]:
        """Return what users of the files see: leftovers of a dead process do not count."""
        found = {
            path: what for path, what in faults.everything(self.outside).items() if not path.endswith(".pgops-new")
        }
        return found, self.store.read(self.store.current(), "key")


@pytest.fixture
def fresh(fast_path: Path) -> Callable[[], World]:
    """Return what makes another world that is like all others."""
    made = itertools.count()

    def make() -> World:
        directory = fast_path / f"world{next(made)}"
        directory.mkdir()
        return World(directory)

    return make


@pytest.fixture
def world(fresh: Callable[[], World]) -> World:
    return fresh()


@pytest.fixture
def old(fresh: Callable[[], World]) -> tuple[Any, ...]:
    """Return what users see before the transaction."""
    return fresh().used()


@pytest.fixture
def new(fresh: Callable[[], World]) -> tuple[Any, ...]:
    """Return what users see after the transaction."""
    world = fresh()
    world.commit()
    return world.used()


def test_a_transaction_that_dies_anywhere_leaves_the_old_state_or_the_new_one(
    fresh: Callable[[], World], old: tuple[Any, ...], new: tuple[Any, ...]
) -> None:
    worlds = [fresh()]
    outcomes = []
    for _number in faults.deaths(lambda: World.commit(worlds[-1]), STEP):
        worlds[-1].recover()
        assert worlds[-1].used() in (old, new)
        outcomes.append(worlds[-1].used() == new)
        worlds.append(fresh())
    assert outcomes.count(False) > 50 // STEP
    assert outcomes == sorted(outcomes), "once committed, always committed"
    assert outcomes[-1]


def test_after_any_death_the_next_transaction_ends_as_if_nothing_had_been(
    fresh: Callable[[], World], new: tuple[Any, ...]
) -> None:
    worlds = [fresh()]
    for _number in faults.deaths(lambda: World.commit(worlds[-1]), STEP):
        world = worlds[-1]
        world.recover()
        if world.used() != new:
            world.commit()
        assert world.used() == new
        left = [
            name
            for name in faults.everything(world.root / "store")
            if "new" in name or "staging" in name or "journal" in name
        ]
        assert left == []
        worlds.append(fresh())


def test_a_roll_back_that_dies_anywhere_is_finished_by_the_next_one(
    fresh: Callable[[], World], old: tuple[Any, ...]
) -> None:
    worlds = [fresh()]
    worlds[-1].change()
    for _number in faults.deaths(lambda: World.recover(worlds[-1]), STEP):
        worlds[-1].recover()
        assert worlds[-1].used() == old
        assert not Journal(worlds[-1].store).is_open()
        worlds.append(fresh())
        worlds[-1].change()


def test_an_operation_that_fails_anywhere_can_be_rolled_back_at_once(
    fresh: Callable[[], World], old: tuple[Any, ...], new: tuple[Any, ...]
) -> None:
    for number in itertools.count():
        world = fresh()
        with faults.failing(number) as failed, contextlib.suppress(OSError):
            world.commit()
        world.recover()
        assert world.used() in (old, new)
        if not failed:
            assert world.used() == new
            assert number > 50
            break


def test_a_roll_back_brings_back_bytes_mode_and_owner(world: World, old: tuple[Any, ...]) -> None:
    journal = world.change()
    assert world.used() != old
    journal.roll_back()
    assert world.used() == old
    assert old[0]["config"][:3] == ("0o100640", *SOMEBODY)


def test_a_roll_back_brings_back_the_kept_file_itself(world: World) -> None:
    before = os.lstat(world.path("kept"))
    world.change().roll_back()
    after = os.lstat(world.path("kept"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not os.path.lexists(world.path("kept.aside"))


def test_a_roll_back_removes_the_staged_generation(world: World) -> None:
    world.change().roll_back()
    assert world.store.names() == ["0001"]


def test_a_kept_file_stays_the_same_file_under_its_other_name(world: World) -> None:
    before = os.lstat(world.path("kept"))
    world.commit()
    assert os.lstat(world.path("kept.aside")).st_ino == before.st_ino
    assert os.readlink(world.path("kept")) == "new target"


def test_where_hard_links_are_refused_the_file_is_moved_and_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch, old: tuple[Any, ...]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    journal = world.change()
    assert os.path.exists(world.path("kept.aside"))
    journal.roll_back()
    assert world.used() == old


def test_a_file_that_was_moved_and_not_yet_replaced_comes_back(
    fresh: Callable[[], World], old: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    worlds = [fresh()]

    def keep() -> None:
        journal = Journal(worlds[-1].store)
        journal.begin(None)
        journal.put_link(worlds[-1].path("kept"), "new target", worlds[-1].path("kept.aside"))

    absent = 0
    for _number in faults.deaths(keep):
        absent += not os.path.lexists(worlds[-1].path("kept"))
        worlds[-1].recover()
        assert worlds[-1].used() == old
        worlds.append(fresh())
    assert absent > 0, "no death fell between the two renames"


def test_an_aside_that_is_taken_is_refused_before_anything_changes(world: World, old: tuple[Any, ...]) -> None:
    journal = Journal(world.store)
    journal.begin(None)
    with pytest.raises(TlsError, match=r"config: expected nothing there"):
        journal.put_link(world.path("kept"), "new target", world.path("config"))
    journal.roll_back()
    assert world.used() == old


@pytest.mark.parametrize("name", ["config", "new", "link", "kept", "replaced"])
def test_a_file_that_somebody_changed_after_the_crash_is_not_overwritten(world: World, name: str) -> None:
    journal = world.change()
    os.unlink(world.path(name))
    Path(world.path(name)).write_text("somebody's work")
    before = faults.everything(world.root)
    with pytest.raises(TlsError, match=rf"{name}.*somebody changed it since"):
        journal.roll_back()
    assert faults.everything(world.root) == before, "nothing at all is put back"
    assert journal.is_open()


def test_a_file_that_was_put_back_by_hand_is_no_foreign_change(world: World, old: tuple[Any, ...]) -> None:
    journal = world.change()
    Path(world.path("config")).write_bytes(b"config before\r\n\xff")
    journal.roll_back()
    assert world.used() == old


def test_a_link_that_somebody_pointed_to_a_third_generation_is_not_moved(world: World) -> None:
    third = world.store.stage({"key": File(b"third", 0o600)})
    journal = world.change()
    world.store.switch(third)
    with pytest.raises(TlsError, match=r"interrupted between generation 0001 and 0003.*pointed the link at 0002"):
        journal.roll_back()
    assert world.store.current() == third


def test_a_second_transaction_cannot_begin_over_an_open_one(world: World) -> None:
    world.change()
    before = faults.everything(world.root)
    with pytest.raises(TlsError, match=r"interrupted run is open"):
        Journal(world.store).begin(None)
    assert faults.everything(world.root) == before


ANOTHER = "JSON of another form"
DAMAGE: dict[str, Callable[[Path], object]] = {
    name: functools.partial(lambda text, path: path.write_text(text), text)
    for name, text in {
        "empty": "",
        "cut": '{"previous": "0001", "cha',
        "a list": "[]",
        "a text": '"text"',
        "null": "null",
        "a number": "1",
        "foreign": '{"title": "A", "items": ["a", "b"]}',
        "changes alone": '{"changes": []}',
        "changes a number": '{"changes": 1, "previous": "0001", "staged": null}',
        "changes a text": '{"changes": "text", "previous": "0001", "staged": null}',
        "a change a number": '{"changes": [1], "previous": "0001", "staged": null}',
        "a change a text": '{"changes": ["a"], "previous": "0001", "staged": null}',
        "a change empty": '{"changes": [{}], "previous": "0001", "staged": null}',
        "a path as generation": '{"changes": [], "previous": "../../etc", "staged": null}',
        "a generation of the wrong type": '{"changes": [], "previous": "0001", "staged": {}}',
        "no copy": '{"changes": [{"path": "/x", "before": {"kind": "file"}, "written": {}, "aside": null}]}',
        "before a text": '{"changes": [{"path": "/x", "before": "file", "written": {}, "aside": null}]}',
        "before a list": '{"changes": [{"path": "/x", "before": [1], "written": {}, "aside": null}]}',
        "of a later version": '{"version": 2, "changes": {"one": {}}, "previous": "0001", "staged": "0002"}',
        "nested": "[" * 100_000,
        "nested in a change": '{"changes": ' + "[" * 100_000,
    }.items()
}
DAMAGE["bytes"] = lambda path: path.write_bytes(bytes(range(256)))
DAMAGE["directory"] = lambda path: (path.unlink(), path.mkdir())
DAMAGE["pipe"] = lambda path: (path.unlink(), os.mkfifo(path))
DAMAGE["link to a directory"] = lambda path: (path.unlink(), path.symlink_to("/"))
DAMAGE["huge"] = lambda path: os.truncate(path, 1 << 40)
PYTHON = re.compile(r"indices|object|unsupported|subscript|Expecting|codec|recursion|KeyError|Errno", re.IGNORECASE)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_journal_is_named_and_stays_until_it_is_set_aside(world: World, name: str) -> None:
    journal = world.change()
    DAMAGE[name](Path(journal.path))
    before = world.used()
    assert journal.damage().startswith(f"{journal.path}: expected the journal of an interrupted run, found ")
    for work in (journal.roll_back, journal.originals, journal.staged):
        with pytest.raises(DamagedError, match=rf"then rerun|mv {journal.path} {journal.path}\.damaged") as failure:
            work()  # type: ignore[operator]
        assert not PYTHON.search(failure.value.message), failure.value.message
    assert world.used() == before
    assert journal.is_open()
    for number in ("", "-2"):
        assert journal.set_aside() == f"{journal.path}.damaged{number}"
        assert not journal.is_open()
        assert list(Path(f"{journal.backups}.damaged").iterdir())
        Path(journal.path).write_text("again")
    assert world.used() == before


def test_a_copy_that_is_missing_or_changed_is_damage_too(world: World) -> None:
    journal = world.change()
    assert journal.damage() == ""
    copy = Path(journal.backups) / "0"
    content = copy.read_bytes()
    copy.write_bytes(content[:-1])
    assert f"found one whose copy of {world.path('config')} ({copy}) is missing or changed" in journal.damage()
    copy.unlink()
    assert "is missing or changed" in journal.damage()
    copy.write_bytes(content)
    assert journal.damage() == ""


def test_a_directory_in_the_place_of_a_file_is_refused(world: World) -> None:
    journal = Journal(world.store)
    journal.begin(None)
    os.mkdir(world.path("directory"))
    with pytest.raises(TlsError, match=r"directory: expected a file, a link or nothing"):
        journal.put_link(world.path("directory"), "new target")
    journal.roll_back()
    assert os.path.isdir(world.path("directory"))


def test_the_copies_of_a_transaction_are_for_their_owner_only_and_go_with_it(world: World) -> None:
    journal = world.change()
    copies = list(Path(journal.backups).iterdir())
    assert copies
    assert {copy.stat().st_mode & 0o777 for copy in [*copies, Path(journal.path)]} == {0o600}
    assert Path(journal.backups).stat().st_mode & 0o777 == 0o700
    journal.commit()
    assert not Path(journal.backups).exists()
    assert not journal.is_open()


def test_an_existing_file_keeps_mode_and_owner_when_it_is_written(world: World) -> None:
    world.commit()
    found = os.stat(world.path("config"))
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o640, *SOMEBODY)
    assert os.readlink(world.path("alias")) == "config", "a link is followed, not replaced"


def test_copies_that_a_death_at_the_end_left_are_cleared_and_those_of_an_open_transaction_are_not(world: World) -> None:
    journal = world.change()
    journal.clear()
    assert list(Path(journal.backups).iterdir())
    os.unlink(journal.path)
    journal.clear()
    assert not Path(journal.backups).exists()


def test_a_commit_either_fails_with_the_journal_open_or_holds(fresh: Callable[[], World], new: tuple[Any, ...]) -> None:
    for number in itertools.count():
        world = fresh()
        journal = world.change()
        held = True
        with faults.failing(number) as failed:
            try:
                journal.commit()
            except OSError:
                held = False
        assert journal.is_open() != held
        assert world.used() == new
        if not failed:
            return


def test_who_uses_the_files_is_told_when_all_is_back_and_the_journal_still_open(
    world: World, old: tuple[Any, ...]
) -> None:
    journal = world.change()
    seen: list[tuple[bool, object]] = []
    journal.roll_back(tell=lambda: seen.append((journal.is_open(), Path(world.path("config")).read_bytes())))
    assert seen == [(True, b"config before\r\n\xff")]
    assert not journal.is_open()
    assert world.used() == old
