"""What a run of many steps has done so far: its closing table, and where test-all continues after an interruption."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any


@dataclass
class Count:
    """How many tests and checks ended in which way, and a line for each that failed, as far as they have names."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[str, ...] = ()

    def __add__(self, other: Count) -> Count:
        """Return the sum of both."""
        numbers = self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        return Count(*numbers, self.failures + other.failures)


@dataclass
class Done:
    """A step, or one container's share of it, that has ended; ``seconds`` is the time of the wall."""

    count: Count
    seconds: float


class Progress:
    """What a run has done, by name; with ``keep`` a later run of the same commit takes it over."""

    def __init__(self) -> None:
        """Begin with nothing, and keep nothing."""
        self.done: dict[str, Done] = {}
        self._kept: dict[str, Done] = {}
        self._path: Path | None = None
        self._commit: Callable[[], str] = str
        self._lock = Lock()

    def keep(self, path: Path, commit: Callable[[], str]) -> None:
        """Take over what a run of this commit left in ``path``, and keep there what follows.

        ``commit`` is asked again before anything is kept: what ran beside an edit is of no commit.
        """
        self._path, self._commit = path, commit
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept and kept["commit"] == commit():
            self._kept = {name: _read(one) for name, one in kept["done"].items()}
            self.done = dict(self._kept)

    def once(self, name: str, work: Callable[[], Count]) -> Count:
        """Do it, unless it was done without a failure before; say what came of it, and keep that."""
        before = self.done.get(name)
        if before is not None and not before.count.failed:
            print(f"== {name}: {before.count.passed} passed before, at this commit", flush=True)
            return before.count
        begun, started = self._commit(), time.monotonic()
        count = work()
        seconds = time.monotonic() - started
        with self._lock:
            self.done[name] = Done(count, seconds)
            if begun and self._commit() == begun:
                self._kept[name] = self.done[name]
                self._write(begun)
        print(f"== {name}: {count.passed} passed, {count.failed} failed in {seconds:.0f} s", flush=True)
        return count

    def end(self) -> None:
        """Forget what was kept if nothing failed: the next run is a run of its own."""
        if self._path and not any(one.count.failed for one in self.done.values()):
            self._path.unlink(missing_ok=True)

    def _write(self, commit: str) -> None:
        assert self._path
        kept = {"commit": commit, "done": {name: asdict(one) for name, one in self._kept.items()}}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(kept), encoding="utf-8")
        new.replace(self._path)

    def table(self) -> str:
        """Return what was done, a line each."""
        form = "{:<20} {:>7} {:>7} {:>8} {:>8}"
        lines = [form.format("STEP", "PASSED", "FAILED", "SKIPPED", "SECONDS")]
        for name, one in self.done.items():
            count = one.count
            lines.append(form.format(name, count.passed, count.failed, count.skipped, round(one.seconds)))
        return "\n".join(lines)


def _read(kept: Any) -> Done:
    count = kept["count"]
    return Done(Count(**{**count, "failures": tuple(count["failures"])}), kept["seconds"])


def clean_commit(root: Path) -> str:
    """Return the commit of a checkout, or nothing where files differ from it or git does not tell."""
    status = ["git", "-C", str(root), "status", "--porcelain"]
    differs = subprocess.run(status, check=False, capture_output=True, text=True)
    if differs.returncode or differs.stdout:
        return ""
    commit = ["git", "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
