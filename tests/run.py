"""Sets up what the tests need on this machine and runs them.

Usage: run.py [STEP | test | test-all | shell | clean] [ARGUMENTS of pytest or molecule]; the steps are lint, unit,
docs, collection, system, molecule, those in test-all only (controllers, matrix, clients, clusters, services,
examples, pictures, importer), and bench (in neither).
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from conftest import ROOT
from preparation import CACHE, COVERAGE, REPORTS, clean, prepare, say, shell
from progress import Count, clean_commit
from steps import PROGRESS, RUN_STEPS, coverage, in_a_slot, tried_nowhere

ALL_STEPS = [step for step in RUN_STEPS if step != "bench"]  # a measurement wants a quiet machine
# Steps side by side; the containers of step system take the slots that the other lane leaves
LANES = [["lint", "unit", "docs", "collection", "molecule"], ["system"]]
LONG = (
    "controllers",
    "matrix",
    "clients",
    "clusters",
    "services",
    "examples",
    "pictures",
    "importer",
)  # in test-all alone
QUICK = [step for step in ALL_STEPS if step not in LONG]


def run_steps(names: list[str], arguments: list[str]) -> Count:
    """Run the named steps, whatever fails; return the sum. Lanes run side by side, all other steps behind them."""
    lanes = [[name for name in names if name in lane] for lane in LANES]
    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(lambda lane: run_lane(lane, arguments), lanes))
    rest = [run_step(name, arguments) for name in names if not any(name in lane for lane in LANES)]
    return sum([*itertools.chain(*counts), *rest], Count())


def run_lane(names: list[str], arguments: list[str]) -> list[Count]:
    """Run steps one after the other, in one slot; the containers of step system have slots of their own."""
    if names == ["system"]:
        return [run_step("system", arguments)]
    return in_a_slot(lambda: [run_step(name, arguments) for name in names])


def run_step(name: str, arguments: list[str]) -> Count:
    """Run a step, and say what came of it."""
    say(f"== {name}")
    if name == "system":  # a table row for each container
        return RUN_STEPS[name](arguments)
    return PROGRESS.once(name, lambda: RUN_STEPS[name](arguments))


def tell(total: Count) -> None:
    """Print what failed once more, since thousands of lines may have followed it, and the closing line."""
    for line in total.failures:
        say(f"failed: {line}")
    say(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""))


def begin_test_all(*, is_whole: bool) -> None:
    """Have every step try all that it can; a whole run goes on where one of the same commit was interrupted."""
    os.environ["ALL_FAULTS"] = "1"  # tests that try a sample of all points where a run may die try each
    if is_whole and clean_commit(ROOT):
        PROGRESS.keep(CACHE / "test-all.json", partial(clean_commit, ROOT))


def main(step: str = "test", *arguments: str) -> int:
    """Run one step, or all of them; the closing line counts what really ran."""
    if step == "clean":
        clean([])
        return 0
    with tempfile.TemporaryDirectory(prefix="pgops-") as control_sockets:
        prepare(control_sockets)
        if step == "shell":
            shell([])
            return 0
        if step == "test-all":
            begin_test_all(is_whole=not arguments)
        steps = {"test": QUICK, "test-all": ALL_STEPS}
        for folder in (COVERAGE, REPORTS):
            if step in steps and not PROGRESS.done:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
        total = run_steps(steps.get(step, [step]), list(arguments))
        if step == "test-all" and not arguments:
            total += tried_nowhere()
        coverage()
    if step in steps:
        say(PROGRESS.table())
        PROGRESS.end()
    tell(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.x ...")
    sys.exit(main(*sys.argv[1:]))
