"""An interrupted run of all tests goes on where it ended, and only with the commit that it began with."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module."""
    monkeypatch.syspath_prepend(str(TESTS))
    return importlib.import_module("progress")


@pytest.fixture
def begin(progress: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Return what a run begins with."""

    def run(commit: str) -> Any:
        begun = progress.Progress()
        begun.keep(tmp_path / "kept.json", lambda: commit)
        return begun

    return run


def never() -> Any:
    pytest.fail("this was done before")


def test_what_passed_is_not_done_again_and_what_failed_is(progress: Any, begin: Callable[[str], Any]) -> None:
    good, bad = progress.Count(3, 0, 1), progress.Count(2, 1, 0, ("FAILED test_x.py",))
    first = begin("abc")
    assert (first.once("unit", lambda: good), first.once("docs", lambda: bad)) == (good, bad)
    second = begin("abc")
    assert second.once("unit", never) == good
    assert second.done["docs"].count == bad
    assert second.once("docs", lambda: good) == good
    assert begin("abc").once("docs", never) == good


def test_another_commit_begins_anew(progress: Any, begin: Callable[[str], Any]) -> None:
    begin("abc").once("unit", lambda: progress.Count(3))
    assert begin("def").done == {}
    assert begin("def").once("unit", lambda: progress.Count(4)).passed == 4


def test_what_ran_beside_an_edit_is_done_again(progress: Any, tmp_path: Path) -> None:
    commits = iter(["abc", "abc", "abc", "", "", "abc"])  # "": files differ from it
    run = progress.Progress()
    run.keep(tmp_path / "kept.json", lambda: next(commits, "abc"))
    for name in ("unit", "edited meanwhile", "edited before", "lint"):
        run.once(name, lambda: progress.Count(3))
    again = progress.Progress()
    again.keep(tmp_path / "kept.json", lambda: "abc")
    assert set(again.done) == {"unit", "lint"}


def test_a_run_that_has_ended_well_is_not_taken_over_and_one_with_failures_is(
    progress: Any, begin: Callable[[str], Any]
) -> None:
    first = begin("abc")
    first.once("unit", lambda: progress.Count(3))
    first.once("docs", lambda: progress.Count(0, 1))
    first.end()
    second = begin("abc")
    assert set(second.done) == {"unit", "docs"}
    second.once("docs", lambda: progress.Count(1))
    second.end()
    assert begin("abc").done == {}


def test_other_runs_keep_nothing(progress: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    progress.Progress().once("unit", lambda: progress.Count(3))
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_line_for_each(progress: Any) -> None:
    run = progress.Progress()
    run.once("unit", lambda: progress.Count(3, 0, 1))
    run.once("system bookworm", lambda: progress.Count(20, 2))
    assert [re.split(" +", line) for line in run.table().replace("system b", "system-b").splitlines()] == [
        ["STEP", "PASSED", "FAILED", "SKIPPED", "SECONDS"],
        ["unit", "3", "0", "1", "0"],
        ["system-bookworm", "20", "2", "0", "0"],
    ]


def test_a_checkout_with_changes_has_no_commit(progress: Any, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        own = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *own, *arguments], check=True, capture_output=True)

    assert progress.clean_commit(tmp_path) == ""
    git("init")
    (tmp_path / "file").write_text("a")
    assert progress.clean_commit(tmp_path) == ""
    git("add", ".")
    git("commit", "-m", "one")
    assert re.fullmatch("[0-9a-f]{40}", progress.clean_commit(tmp_path))
    (tmp_path / "file").write_text("b")
    assert progress.clean_commit(tmp_path) == ""
