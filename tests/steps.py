"""The steps of a run of the tests; each returns how many of its tests passed and failed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any, TypeVar

from conftest import COLLECTIONS, ROOT
from containers import running, wheels
from containers.controllers import CONTROLLERS, Controller, grid
from outcomes import ran_nowhere
from preparation import (
    CACHE,
    CONTAINER_PREFIX,
    COVERAGE,
    REPORTS,
    STATE,
    build_images,
    remove_containers,
    say,
    stream,
    virtual_environment,
)
from progress import Count, Progress
from suites import (
    BUILDS,
    CLIENTS,
    CONTROLLER,
    DRIVER_STAGE,
    NEWER,
    OF_CLIENTS,
    OLDEST,
    OLDEST_PYTHON,
    THOROUGH,
    VERSION_OF_SUITE,
    VERSIONS,
    system_jobs,
    tests_of_controller,
)

T = TypeVar("T")
SLOWEST = ["--durations=40", "--durations-min=5"]  # seconds; they are where to look when a run takes too long
PYTEST = ["-m", "pytest", *SLOWEST]
# In test-all only, as it takes time. Not pytest-cov, which measures children as well, by settings that may differ
MEASURED = ["-m", "coverage", "run", *PYTEST]
WIDE = "COLUMNS=300"  # for the line that tells why a test failed
WHEELS = CACHE / "wheels"  # Python packages for containers
AT_ONCE = 3  # containers with system tests, or lanes of other steps: with more a test may wait too long for its server
SLOTS = Semaphore(AT_ONCE)
PROGRESS = Progress()
WORKFLOWS = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
CHECKS = {
    "ruff": ["ruff", "check", "--quiet", "."],
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy"],
    "size": ["python", "tests/size.py", "plugins"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint": ["ansible-lint", "--offline", "-q"],
    "workflows": ["check-jsonschema", "--builtin-schema=vendor.github-workflows", *WORKFLOWS],
    "changelog": ["antsibull-changelog", "lint"],
    "documentation": ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."],
}


def at_least_one_failure(code: int, count: Count) -> Count:
    """Count a command that failed without a failed test, or that ran no test at all, as one failure."""
    if (code or not count.passed) and not count.failed:
        return count + Count(failed=1)
    return count


def lint(_arguments: list[str]) -> Count:
    """Run every checker; each counts as one."""
    total = Count()
    for name, command in CHECKS.items():
        say(f"-- {name}")
        code, _lines = stream(command)
        total += Count(failed=1, failures=(name,)) if code else Count(passed=1)
    return total


def pytest(command: list[str], prefix: str = "") -> Count:
    """Run pytest and return what its closing lines say."""
    code, lines = stream(command, prefix)
    failures = tuple(prefix + line.rstrip("\n") for line in lines if re.match(r"(FAILED|ERROR) \S+\.py", line))
    closing = next((line for line in reversed(lines) if re.search(r"\d \w+.* in [\d.]+s", line)), "")
    numbers = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", closing)}
    failed = numbers.get("failed", 0) + numbers.get("error", 0)
    return at_least_one_failure(code, Count(numbers.get("passed", 0), failed, numbers.get("skipped", 0), failures))


def unit(arguments: list[str]) -> Count:
    """Run the unit tests on this machine."""
    environment = ["env", WIDE, f"COVERAGE_FILE={COVERAGE / 'unit'}"]
    tests = [*(MEASURED if os.environ.get("ALL_FAULTS") else PYTEST), f"--junitxml={REPORTS / 'unit.xml'}"]
    tests += arguments or ["tests/unit"]
    return pytest([*environment, "python", *tests], prefix="unit| ")


def collection(arguments: list[str]) -> Count:
    """Run ansible-test on the collection; build it, install it, and run what was installed in a container."""
    build_images()
    return pytest(["env", WIDE, "python", "-m", "pytest", "-rP", *(arguments or ["tests/collection"])])


def system(arguments: list[str]) -> Count:
    """Run the tests that need a PostgreSQL server, as root in a container of each suite, side by side."""
    jobs = system_jobs(arguments)

    def once(job: tuple[str, str, list[str]]) -> Count:
        name, suite, tests = job
        image = build_images([suite])[suite]  # while others run in theirs
        is_thorough = bool(arguments) or name in THOROUGH
        work = partial(system_in, name, suite, image, tests, is_thorough=is_thorough)
        return in_a_slot(PROGRESS.once, f"system {name}", work)

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return sum(pool.map(once, jobs), Count())


def system_in(job: str, suite: str, image: str, arguments: list[str], *, is_thorough: bool) -> Count:
    """Run system tests in a fresh container, in test-all all of them where it ``is_thorough``."""
    name, volumes = f"{CONTAINER_PREFIX}-system-{job}", {}
    version, thorough = VERSIONS[suite], os.environ.get("ALL_FAULTS", "") if is_thorough else ""
    settings = [f"--env=EXPECTED_POSTGRESQL={version}", f"--env=ALL_FAULTS={thorough}", f"--env={WIDE}"]
    if suite == OLDEST:  # its own pytest is too old
        wanted = wheels.wanted(ROOT / "tests" / "requirements-oldest.txt")
        volumes = {wheels.unpacked(wanted, OLDEST_PYTHON, WHEELS): "/packages"}
        settings.append("--env=PYTHONPATH=/packages")
    elif suite == CONTROLLER:
        volumes = {wheels.openbao(): str(wheels.INSIDE)}
    with running.container(name, image, volumes, systemd=suite not in running.WITHOUT_SYSTEMD) as execute:
        try:
            tests = [*(MEASURED if thorough else PYTEST), "--override-ini=cache_dir=/tmp/pytest", *arguments]
            tests.append("--junitxml=/tmp/report.xml")
            command = [*execute, *settings, "--env=COVERAGE_FILE=/tmp/coverage", name, "timeout", "10800", "python3"]
            return pytest([*command, *tests], prefix=f"{job}| ")
        finally:
            kept = {"coverage": COVERAGE / f"system-{job}", "report.xml": REPORTS / f"system-{job}.xml"}
            for file, path in kept.items():
                subprocess.run(["podman", "cp", f"{name}:/tmp/{file}", str(path)], check=False, capture_output=True)


def controllers(arguments: list[str]) -> Count:
    """Run playbooks with each ansible-core that is supported: a fleet's whole life, in test-all more."""
    built = build_images(dict.fromkeys(one.suite for one in CONTROLLERS))

    def playbooks(one: Controller) -> Count:
        return playbooks_with(one, built[one.suite], arguments or tests_of_controller())

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        counts = list(pool.map(playbooks, CONTROLLERS))
    say(grid(dict(zip(CONTROLLERS, (f"{one.passed} passed, {one.failed} failed" for one in counts)))))
    return sum(counts, Count())


def playbooks_with(controller: Controller, image: str, arguments: list[str]) -> Count:
    """Run tests in a fresh container whose Python has another ansible-core than its own."""
    name = f"{CONTAINER_PREFIX}-controller-{controller.name}"
    settings = ["--env=PYTHONPATH=/packages", f"--env=EXPECTED_CONTROLLER={controller.name}", f"--env={WIDE}"]
    with running.container(name, image, {controller.packages(WHEELS): "/packages"}, systemd=False) as execute:
        tests = ["-m", "pytest", "--override-ini=cache_dir=/tmp/pytest", *arguments]
        return pytest([*execute, *settings, name, "timeout", "3600", "python3", *tests], prefix=f"{controller.name}| ")


def molecule(arguments: list[str]) -> Count:
    """Run every Molecule scenario on a fresh fleet, or Molecule with the given arguments."""
    build_images([*VERSION_OF_SUITE, DRIVER_STAGE])
    if arguments:
        return molecule_actions(arguments)
    total = Count()
    folder = ROOT / "extensions" / "molecule"
    scenarios = sorted({path.parent.name for path in folder.glob("*/converge.yml")})
    for scenario in scenarios or ["default"]:  # one by one: Molecule itself would stop at the first that fails
        remove_containers()
        say(f"-- molecule scenario {scenario}")
        total += molecule_actions(["test", "-s", scenario])
    remove_containers()
    return total


def molecule_actions(arguments: list[str]) -> Count:
    """Run Molecule; each action (converge, idempotence, verify ...) counts as one."""
    code, lines = stream(["molecule", *arguments], prefix="molecule| ")
    ends = [re.match(r"(?:INFO|ERROR|CRITICAL)\b.* Executed: (Successful|Failed)", line) for line in lines]
    results = [end[1] for end in ends if end]
    failures = tuple(end.string.rstrip("\n") for end in ends if end and end[1] == "Failed")
    return at_least_one_failure(code, Count(results.count("Successful"), results.count("Failed"), failures=failures))


def matrix(arguments: list[str]) -> Count:
    """Set up a fleet of every PostgreSQL version, and connect from each to each."""
    return on_fleet([*VERSION_OF_SUITE, *NEWER, *BUILDS], arguments or ["tests/matrix"])


def clients(arguments: list[str]) -> Count:
    """Connect by psql of many versions and by many drivers, straight from the files on disk; print a grid.

    The same drivers run the lines in the README of a kit.
    """
    found = on_fleet([*VERSION_OF_SUITE, *NEWER, *BUILDS, CLIENTS], arguments or ["tests/drivers"])
    if arguments:
        return found
    return found + system_in("kits", CLIENTS, build_images([CLIENTS])[CLIENTS], [OF_CLIENTS], is_thorough=True)


def clusters(arguments: list[str]) -> Count:
    """Run a fleet of several clusters through its life, with a standby and a client authority of one's own."""
    return on_fleet(("bookworm", "trixie"), arguments or ["tests/clusters"])


def services(arguments: list[str]) -> Count:
    """Run a fleet with Patroni, PgBouncer and a synchronous standby through its life, under load."""
    return on_fleet(("bookworm", "trixie"), arguments or ["tests/services"])


def examples(arguments: list[str]) -> Count:
    """Set up the fleets of page guide_examples as it says."""
    return on_fleet(("bookworm", "trixie"), arguments or ["tests/examples"])


def pictures(arguments: list[str]) -> Count:
    """Draw the documentation's pictures, and look at the report's page by a browser, into .cache/pictures."""
    name, inside, kept = f"{CONTAINER_PREFIX}-pictures", "/tmp/pictures", CACHE / "pictures"
    draw = ["env", f"PYTHONPATH={COLLECTIONS}", "python", "-m", "ansible_collections.pgops.tls.tests.pictures.drawings"]
    if stream(draw)[0]:
        return Count(failed=1)
    image = build_images(["browser"])["browser"]
    settings = [f"--env=PICTURES={inside}", f"--env={WIDE}"]
    with running.container(name, image, {}, systemd=False) as execute:
        tests = ["--override-ini=cache_dir=/tmp/pytest", *(arguments or ["tests/pictures"])]
        try:
            return pytest(
                [*execute, *settings, name, "timeout", "900", "python3", *PYTEST, *tests], prefix="pictures| "
            )
        finally:
            shutil.rmtree(kept, ignore_errors=True)
            subprocess.run(["podman", "cp", f"{name}:{inside}", str(kept)], check=False, capture_output=True)


def on_fleet(suites: Iterable[str], tests: list[str]) -> Count:
    """Run tests that start a fleet; neither they nor an interrupted run before leave a container."""
    build_images(suites)
    remove_containers()
    try:
        return pytest(["env", WIDE, "python", "-m", "pytest", *tests])
    finally:
        remove_containers()


def docs(_arguments: list[str]) -> Count:
    """Make the site of the documentation in .cache/site, without a network; a warning is a failure."""
    home, pages, site = CACHE / "docs-tools", CACHE / "docs", CACHE / "site"
    virtual_environment(home, ROOT / "tests" / "requirements-docs.txt")
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    pages.mkdir(mode=0o755, parents=True)
    frame = ROOT / "docs" / "sphinx"
    generate = ["antsibull-docs", "--config-file", str(frame / "antsibull-docs.cfg"), "collection", "--fail-on-error"]
    generate += ["--use-current", "--squash-hierarchy", "--dest-dir", str(pages), "pgops.tls"]
    build = ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", str(frame)]
    build += ["-d", str(CACHE / "docs-state"), str(pages), str(site)]
    plots = ["cp", "-r", str(ROOT / "docs" / "docsite" / "images"), str(pages / "docsite" / "images")]
    for command in (generate, plots, build):
        code, _lines = stream(["env", f"PATH={home / 'bin'}:{os.environ['PATH']}", *command])
        if code:
            return Count(failed=1)
    say(f"   {site / 'index.html'}")
    return Count(passed=1)


def bench(_arguments: list[str]) -> Count:
    """Measure what runs cost, beside the least that Ansible costs; a missed target fails.

    On fleets of containers, and for the controller alone on up to 1,000 + 1,000 hosts that do not exist.
    """
    build_images()
    remove_containers()
    try:
        code, _lines = stream(["python", "tests/bench/benchmark.py", str(STATE / "bench")])
    finally:
        remove_containers()
        shutil.rmtree(STATE / "bench", ignore_errors=True)
    scale, _lines = stream(["python", "tests/scale/curve.py"])
    return Count(passed=(code == 0) + (scale == 0), failed=(code != 0) + (scale != 0))


def importer(_arguments: list[str]) -> Count:
    """Have Galaxy's importer check the artifact; a warning is a failure."""
    home = CACHE / "importer"
    virtual_environment(home, ROOT / "tests" / "requirements-importer.txt")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", folder], check=True, cwd=ROOT)
        (artifact,) = Path(folder).glob("*.tar.gz")
        own = ["env", f"--chdir={folder}", "--unset=ANSIBLE_COLLECTIONS_PATH", f"PATH={home}/bin:{os.environ['PATH']}"]
        code, lines = stream([*own, "python", "-m", "galaxy_importer.main", str(artifact)])
    return Count(failed=1) if code or any("WARNING" in line for line in lines) else Count(passed=1)


def coverage() -> None:
    """Print which lines the tests of this run did not reach, those of units and of transactions taken together."""
    found = [str(path) for path in COVERAGE.iterdir()]
    if found:
        say("== coverage of the unit and system tests")
        data = f"--data-file={CACHE / 'coverage-all'}"
        subprocess.run(["coverage", "combine", "--keep", "--quiet", data, *found], check=False, cwd=ROOT)
        subprocess.run(["coverage", "report", data], check=False, cwd=ROOT)


def tried_nowhere() -> Count:
    """Count each test of units and systems that every container has skipped as a failure."""
    names = [f"{name} was skipped everywhere" for name in ran_nowhere(REPORTS)]
    return Count(failed=len(names), failures=tuple(names))


RUN_STEPS = {"lint": lint, "unit": unit, "docs": docs, "collection": collection, "system": system}
RUN_STEPS |= {"controllers": controllers, "molecule": molecule, "matrix": matrix, "clients": clients}
RUN_STEPS |= {"clusters": clusters, "services": services, "examples": examples, "pictures": pictures}
RUN_STEPS |= {"importer": importer, "bench": bench}


def in_a_slot(work: Callable[..., T], *arguments: Any) -> T:
    """Do something as soon as fewer than ``AT_ONCE`` others are at work."""
    with SLOTS:
        return work(*arguments)
