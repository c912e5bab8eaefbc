# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.unit.plugins.module_utils.core.test_files import SOMEBODY

CONTENTS = {"root.crt": File(b"root", 0o644), "app/key": File(b"key", 0o600)}


@pytest.fixture
def store(fast_path: Path) -> GenerationStore:
    return GenerationStore(str(fast_path / "store"), SOMEBODY, 0o700)


def test_a_store_that_was_never_used_has_no_generation(store: GenerationStore) -> None:
    assert store.current() is None
    assert store.names() == []
    assert store.read(store.current(), "key") is None


def test_a_staged_generation_has_its_files_modes_and_owner_and_is_not_in_use(store: GenerationStore) -> None:
    name = store.stage(CONTENTS)
    assert (name, store.current()) == ("0001", None)
    found = faults.everything(Path(store.path(name)))
    assert found == {
        "root.crt": ("0o100644", *SOMEBODY, b"root"),
        "app": ("0o40700", *SOMEBODY, None),
        "app/key": ("0o100600", *SOMEBODY, b"key"),
    }


def test_generations_count_on_past_four_digits(store: GenerationStore) -> None:
    store.stage(CONTENTS)
    os.rename(store.path("0001"), store.path("9999"))
    assert store.stage(CONTENTS) == "10000"
    assert store.names() == ["9999", "10000"]
    store.switch("10000")
    assert store.current() == "10000"


def test_a_death_while_staging_leaves_no_half_generation(fast_path: Path) -> None:
    stores = []

    def another() -> GenerationStore:
        stores.append(GenerationStore(str(fast_path / f"store{len(stores)}"), SOMEBODY, 0o700))
        return stores[-1]

    another()
    for _number in faults.deaths(lambda: stores[-1].stage(CONTENTS)):
        for name in stores[-1].names():
            assert stores[-1].read(name, "app", "key") == b"key"
            assert stores[-1].read(name, "root.crt") == b"root"
        assert stores[-1].current() is None
        stores[-1].switch(stores[-1].stage(CONTENTS))
        stores[-1].discard_unused()
        assert not os.path.exists(stores[-1].path(".staging"))
        another()


def test_staging_that_fails_leaves_nothing_behind(store: GenerationStore) -> None:
    store.switch(store.stage(CONTENTS))
    for number in range(200):
        with faults.failing(number) as failed:
            try:
                store.stage(CONTENTS)
            except OSError:
                assert sorted(os.listdir(store.generations)) in (["0001"], ["0001", "0002"])
        store.discard_unused()
        if not failed:
            return
    pytest.fail("staging did not come to its end")


def test_one_rename_switches_and_none_unlinks(store: GenerationStore) -> None:
    for _number in range(2):
        store.switch(store.stage(CONTENTS))
    assert os.readlink(store.current_link) == "generations/0002"
    store.switch("0001")
    assert store.current() == "0001"
    store.switch(None)
    assert not os.path.lexists(store.current_link)
    store.switch(None)


@pytest.mark.parametrize(
    "target", ["/etc", "generations/../..", "generations/.staging", "0001", "generations/0001/app"]
)
def test_a_link_to_anything_but_a_generation_is_refused(store: GenerationStore, target: str) -> None:
    store.stage(CONTENTS)
    os.symlink(target, store.current_link)
    with pytest.raises(TlsError, match=r"current: expected a link to generations/NNNN, found"):
        store.current()


def test_a_file_in_the_place_of_the_link_is_refused(store: GenerationStore) -> None:
    store.stage(CONTENTS)
    Path(store.current_link).write_text("0001")
    with pytest.raises(TlsError, match=r"current: expected a symbolic link to a generation"):
        store.current()


def test_a_link_to_a_generation_that_is_gone_counts_as_none(store: GenerationStore) -> None:
    store.switch(store.stage(CONTENTS))
    os.rename(store.path("0001"), store.path("gone"))
    assert store.current() is None


def test_the_current_generation_and_the_one_before_it_are_kept(store: GenerationStore) -> None:
    for _number in range(5):
        store.switch(store.stage(CONTENTS))
        store.prune()
    assert store.names() == ["0004", "0005"]


def test_pruning_never_removes_the_generation_in_use(store: GenerationStore) -> None:
    for _number in range(4):
        store.stage(CONTENTS)
    store.switch("0001")
    store.prune()
    assert store.current() == "0001"
    assert store.names() == ["0001", "0003", "0004"]


def test_the_current_generation_cannot_be_discarded(store: GenerationStore) -> None:
    store.switch(store.stage(CONTENTS))
    store.discard("0001")
    assert store.read("0001", "app", "key") == b"key"


def test_generations_that_never_came_into_use_are_discarded(store: GenerationStore) -> None:
    for _number in range(2):
        store.switch(store.stage(CONTENTS))
    store.stage(CONTENTS)
    for path in (store.directory, store.generations, store.pending):
        Path(path, ".half.pgops-new").write_text("half")
    store.discard_unused()
    assert store.names() == ["0001", "0002"]
    assert [path for path in faults.everything(Path(store.directory)) if "half" in path] == []


def test_the_generation_before_is_the_newest_one_that_is_older(store: GenerationStore) -> None:
    assert store.before(store.current()) is None
    for _number in range(3):
        store.switch(store.stage(CONTENTS))
    assert (store.before("0003"), store.before("0002"), store.before("0001")) == ("0002", "0001", None)
    os.rename(store.path("0002"), store.path("10000"))
    assert (store.before("0003"), store.before("10000")) == ("0001", "0003")


def test_a_generation_tells_for_which_one_it_is_there_by_a_roll_back(store: GenerationStore) -> None:
    store.switch(store.stage(CONTENTS))
    assert store.left_for("0001") is None
    assert store.left_for(store.stage(CONTENTS, left="0001")) == "0001"
    assert store.left_for(None) is None


def test_a_pending_key_is_for_its_owner_only(store: GenerationStore) -> None:
    store.keep_pending_key("app", "a key\n")
    path = Path(store.pending_key("app"))
    assert path.read_text() == "a key\n"
    assert (path.stat().st_mode & 0o7777, path.stat().st_uid, path.stat().st_gid) == (0o600, *SOMEBODY)
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    store.drop_pending_key("app")
    assert not path.exists()
    store.drop_pending_key("app")


def test_a_death_while_a_pending_key_is_kept_leaves_the_old_one_or_the_new_one(store: GenerationStore) -> None:
    store.keep_pending_key("app", "old key\n")
    for _number in faults.deaths(lambda: store.keep_pending_key("app", "new key\n")):
        assert Path(store.pending_key("app")).read_text() in ("old key\n", "new key\n")
        store.keep_pending_key("app", "old key\n")
        assert os.listdir(store.pending) == ["app.key"]


def test_a_key_stays_while_a_renewal_is_wished(store: GenerationStore) -> None:
    assert (store.wish("app"), store.wishes()) == ("", [])
    for name in ("app", "report"):
        store.keep_pending_key(name, "a key\n")
    store.keep_wish("app", "a wish\n")
    mark = Path(store.pending, "app.renew")
    inode = mark.stat().st_ino
    store.keep_wish("app", "a wish\n")
    assert mark.stat().st_ino == inode, "it is the same"
    assert (mark.stat().st_uid, mark.stat().st_mode & 0o7777) == (SOMEBODY[0], 0o600)
    store.drop_stale_keys(int(time.time()) + 7200)
    assert sorted(os.listdir(store.pending)) == ["app.key", "app.renew"]
    assert (store.wish("app"), store.wishes()) == ("a wish\n", ["app"])
    store.drop_wish("app")
    store.drop_stale_keys(int(time.time()) + 7200)
    assert os.listdir(store.pending) == []


def test_a_death_while_a_wish_is_kept_leaves_all_of_it_or_nothing(store: GenerationStore) -> None:
    for _number in faults.deaths(lambda: store.keep_wish("app", "a wish\n")):
        assert store.wish("app") in ("", "a wish\n")
        if store.wish("app"):
            store.drop_wish("app")
