"""Sets up what the tests need on this machine and runs them.

Usage: run.py [STEP | test | test-all | shell | clean] [ARGUMENTS of pytest or molecule]; the steps are lint, unit,
docs, collection, system, molecule, those in test-all only (controllers, matrix, clients, clusters, services,
examples, pictures, importer), and bench (in neither).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, TypeVar

from conftest import COLLECTIONS, ROOT  # importing it links the collection
from containers import images, podman_conf, running, wheels
from containers.controllers import CONTROLLERS, Controller, grid
from machine import COMMANDS, packages
from progress import Count, Progress, clean_commit

T = TypeVar("T")
CACHE, STATE, VENV = ROOT / ".cache", ROOT / ".ansible", ROOT / ".venv"
COVERAGE = CACHE / "coverage"  # what each step has measured
SLOWEST = ["--durations=40", "--durations-min=5"]  # seconds; they are where to look when a run takes too long
PYTEST = ["-m", "pytest", *SLOWEST]
# In test-all only, as it takes time. Not pytest-cov, which measures children as well, by settings that may differ
MEASURED = ["-m", "coverage", "run", *PYTEST]
WIDE = "COLUMNS=300"  # for the line that tells why a test failed
WHEELS = CACHE / "wheels"  # Python packages for containers
VERSION_OF_SUITE = {"bullseye": "13", "bookworm": "15", "trixie": "17"}  # and the PostgreSQL each of them brings
CLIENTS = "clients"  # trixie with drivers for other languages
OF_CLIENTS = "tests/system/test_client_kit.py"  # the README of a kit has lines for them
DRIVER_STAGE = "drivers"  # bookworm with clients that are not libpq; one host of a Molecule scenario
NEWER = {"sid": "18", "experimental": "19"}  # where test-all runs the tests, too
BUILDS = images.BUILD_OF  # there, too: versions that no suite has
VERSIONS = VERSION_OF_SUITE | NEWER | BUILDS | {CLIENTS: VERSION_OF_SUITE["trixie"]}
OF_VERSION = ["tests/system/test_known_settings.py", "tests/system/test_hba_differential.py"]  # differs most by it
# What old servers and their libpq do in their own way
OF_OLD = [
    "server",
    "client",
    "client_formats",
    "connection",
    "address_only",
    "hba_info",
    "server_log",
    "server_revocation",
    "session_info",
]
# What runs with builds that are not Debian's: what differs by version, and needs no other program of Debian's server
OF_BUILDS = [*OF_OLD, "client_revocation", "access_differential", "security_claims"]
OF_BUILD = {suite: [*OF_VERSION, *(f"tests/system/test_{name}.py" for name in OF_BUILDS)] for suite in BUILDS}
OF_LIBRARY = ["server", "languages"]  # later C libraries have no languages without locales
# Versions of PgBouncer and Patroni differ much
OF_POOLER = [f"tests/system/test_{name}.py" for name in ("pgbouncer", "pgbouncer_faults", "pgbouncer_removal")]
OF_PATRONI = [f"tests/system/test_{name}.py" for name in ("patroni", "patroni_api", "patroni_faults")]
OF_OTHERS = [path for path in (*OF_POOLER, *OF_PATRONI) if not path.endswith(("_faults.py", "_api.py"))]
SAMPLE_TESTS = {  # in any run, where test-all runs everything
    "bullseye": [*OF_VERSION, *(f"tests/system/test_{name}.py" for name in OF_OLD)],
    "bookworm": [*OF_VERSION, *(f"tests/system/test_{name}.py" for name in OF_LIBRARY), *OF_OTHERS],
}
CONTROLLER = "trixie"  # the suite whose own Ansible is new enough for the tests of playbooks
PLAYBOOK_TESTS = "tests/system/playbooks"
OF_SERVERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "system").glob("test_server*.py"))
PLAYBOOK_FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PLAYBOOK_TESTS).glob("test_*.py"))
# What depends most on ansible-core: its results, its warnings, its inventories, what it prints, how it loads plugins
OF_CONTROLLER = ("whole_job", "first_contact", "inventories", "one_bad_host", "secrets")
WITH_EACH_CONTROLLER = [f"{PLAYBOOK_TESTS}/test_{name}.py" for name in OF_CONTROLLER]
# The commands of guides start the Ansible of the suite, and layouts of servers are no matter of the controller
WITHOUT_CONTROLLERS = [f"{PLAYBOOK_TESTS}/test_{name}.py" for name in ("guides", "layouts")]
OF_PEERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "system").glob("test_p[ag]*.py"))
# Jobs in containers of their own, in halves: the longest job sets the time of all, and the last one has a core idle
HALVES = {
    "playbooks": PLAYBOOK_FILES[::2],
    "playbooks-more": PLAYBOOK_FILES[1::2],
    "peers": OF_PEERS,  # PgBouncer and Patroni, which tests mostly wait for
    "servers": OF_SERVERS[::2],
    "servers-more": OF_SERVERS[1::2],
}
# Jobs of test-all that try every point at which a run may die, and every slow test: with one version of each program,
# and twice where versions differ most. All other jobs try the sample that make test takes.
THOROUGH = ("playbooks", "playbooks-more", "peers", "bookworm")
AT_ONCE = 3  # containers with system tests, or lanes of other steps: with more a test may wait too long for its server
SLOTS = Semaphore(AT_ONCE)
OLDEST, OLDEST_PYTHON = "bullseye", "3.9.2"  # where also the unit tests run of what runs on managed hosts
OLDEST_TOO = [
    "tests/unit/plugins/module_utils",
    *(f"--ignore=tests/unit/plugins/module_utils/{name}" for name in ("authority", "kit", "source")),
]
CONTAINER_PREFIX = "pgops-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]  # two checkouts do not meet
FLEET = f"{CONTAINER_PREFIX}-fleet"  # what begins the names of a fleet's containers, and its network
BUILDING = Lock()  # of images
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


def say(text: str) -> None:
    """Print a line of progress at once, also into a pipe."""
    print(text, flush=True)


def stream(command: list[str], prefix: str = "") -> tuple[int, list[str]]:
    """Run a command, pass its output on line by line; return its exit code and the lines without colours."""
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            say(prefix + line.rstrip("\n"))
            lines.append(re.sub(r"\x1b\[[0-9;]*m", "", line))
    return process.returncode, lines


def at_least_one_failure(code: int, count: Count) -> Count:
    """Count a command that failed without a failed test, or that ran no test at all, as one failure."""
    if (code or not count.passed) and not count.failed:
        return count + Count(failed=1)
    return count


# What the tests need besides


def virtual_environment(home: Path, requirements: Path) -> None:
    """Make a virtual environment with pinned tools, anew whenever their list or the interpreter changes."""
    wanted = sys.version + requirements.read_text(encoding="utf-8")
    stamp = home / "made-from"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"== making {home.relative_to(ROOT)} (a minute)")
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-r", str(requirements)], check=True)
    stamp.write_text(wanted, encoding="utf-8")


def prepare(control_sockets: str) -> None:
    """Install what is missing and set the environment of everything that is started from here."""
    packages(COMMANDS)
    virtual_environment(VENV, ROOT / "requirements-test.txt")
    os.environ.update(podman_conf.environment(STATE / "containers.conf"))
    os.environ.update(
        PATH=f"{VENV / 'bin'}:{os.environ['PATH']}",
        ANSIBLE_HOME=str(STATE),
        ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
        ANSIBLE_SSH_CONTROL_PATH_DIR=control_sockets,  # short: the path of a socket has 108 characters at most
        MOLECULE_COMMAND_BORDERS="0",
        MOLECULE_EPHEMERAL_DIRECTORY=str(STATE / "molecule"),
        NO_COLOR="" if sys.stdout.isatty() else "1",
        TEST_KEY=str(STATE / "molecule_key"),
        TEST_PREFIX=FLEET,
    )


def build_images(suites: Iterable[str] = tuple(VERSION_OF_SUITE)) -> dict[str, str]:
    """Return {suite: image}; what is missing is built. Steps that run side by side do that one after the other."""
    with BUILDING:
        built = images.images(list(suites), CACHE / "logs")
        os.environ["TEST_IMAGES"] = json.dumps(json.loads(os.environ.get("TEST_IMAGES", "{}")) | built)
    return built


def remove_containers(prefix: str = FLEET) -> None:
    """Remove the containers of a fleet and its network, also those that an interrupted run left."""
    listing = ["podman", "ps", "--all", "--quiet", f"--filter=name=^{prefix}-"]
    found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
    if found:
        subprocess.run(["podman", "rm", "--force", "--time=0", "--volumes", *found], check=True, capture_output=True)
    subprocess.run(["podman", "network", "rm", "--force", FLEET], check=False, capture_output=True)
    shutil.rmtree(STATE / "molecule", ignore_errors=True)  # else Molecule believes that they still run


# The steps


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
    tests = [*(MEASURED if os.environ.get("ALL_FAULTS") else PYTEST), *(arguments or ["tests/unit"])]
    return pytest([*environment, "python", *tests], prefix="unit| ")


def collection(arguments: list[str]) -> Count:
    """Run ansible-test on the collection; build it, install it, and run what was installed in a container."""
    build_images()
    return pytest(["env", WIDE, "python", "-m", "pytest", "-rP", *(arguments or ["tests/collection"])])


def system(arguments: list[str]) -> Count:
    """Run the tests that need a PostgreSQL server, as root in a container of each suite, side by side."""
    jobs = system_jobs(arguments)
    built = build_images(dict.fromkeys(suite for _name, suite, _tests in jobs))

    def once(job: tuple[str, str, list[str]]) -> Count:
        name, suite, tests = job
        is_thorough = bool(arguments) or name in THOROUGH
        work = partial(system_in, name, suite, built[suite], tests, is_thorough=is_thorough)
        return in_a_slot(PROGRESS.once, f"system {name}", work)

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return sum(pool.map(once, jobs), Count())


def system_jobs(arguments: list[str]) -> list[tuple[str, str, list[str]]]:
    """Return for each container its name, its suite, and the arguments of pytest in it; what takes longest first."""
    if any(PLAYBOOK_TESTS in argument for argument in arguments):
        return [(CONTROLLER, CONTROLLER, arguments)]
    more = NEWER | BUILDS if os.environ.get("ALL_FAULTS") else []
    suites = sorted({**VERSION_OF_SUITE, **dict.fromkeys(more)}, key=lambda suite: suite in SAMPLE_TESTS)
    jobs = [(suite, suite, system_tests(suite, arguments)) for suite in suites]
    if arguments:
        return jobs
    halves = [(name, CONTROLLER, tests) for name, tests in HALVES.items()]
    return [
        *halves[:3],
        *jobs[:1],
        *halves[3:],
        ("oldest-python", OLDEST, OLDEST_TOO),
        *jobs[1:],
    ]


def system_tests(suite: str, arguments: list[str]) -> list[str]:
    """Return the arguments of pytest in the container of a suite; playbooks are for one of them, or for its own."""
    if suite == CONTROLLER:
        return arguments or ["tests/system", *(f"--ignore={path}" for path in (PLAYBOOK_TESTS, *OF_SERVERS, *OF_PEERS))]
    sample = OF_BUILD.get(suite) or ([] if os.environ.get("ALL_FAULTS") else SAMPLE_TESTS.get(suite, []))
    return [*(arguments or sample or ["tests/system"]), f"--ignore={PLAYBOOK_TESTS}"]


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
            command = [*execute, *settings, "--env=COVERAGE_FILE=/tmp/coverage", name, "timeout", "10800", "python3"]
            return pytest([*command, *tests], prefix=f"{job}| ")
        finally:
            copy = ["podman", "cp", f"{name}:/tmp/coverage", str(COVERAGE / f"system-{job}")]
            subprocess.run(copy, check=False, capture_output=True)


def controllers(arguments: list[str]) -> Count:
    """Run playbooks with each ansible-core that is supported: a fleet's whole life, in test-all all that there is."""
    built = build_images(dict.fromkeys(one.suite for one in CONTROLLERS))

    def playbooks(one: Controller) -> Count:
        return playbooks_with(one, built[one.suite], arguments or tests_of_controller(one))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        counts = list(pool.map(playbooks, CONTROLLERS))
    say(grid(dict(zip(CONTROLLERS, (f"{one.passed} passed, {one.failed} failed" for one in counts)))))
    return sum(counts, Count())


def tests_of_controller(one: Controller) -> list[str]:
    """Return the files that each of them runs; in test-all the rest is shared out, so that all run each file once."""
    if not os.environ.get("ALL_FAULTS"):
        return [WITH_EACH_CONTROLLER[0]]
    shared_out = [path for path in PLAYBOOK_FILES if path not in (*WITH_EACH_CONTROLLER, *WITHOUT_CONTROLLERS)]
    return [*WITH_EACH_CONTROLLER, *shared_out[CONTROLLERS.index(one) :: len(CONTROLLERS)]]


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
        subprocess.run(["coverage", "combine", "--quiet", data, *found], check=False, cwd=ROOT)
        subprocess.run(["coverage", "report", data], check=False, cwd=ROOT)


def shell(_arguments: list[str]) -> None:
    """Open a shell in which molecule, ansible and podman see what the tests see."""
    build_images([*VERSION_OF_SUITE, DRIVER_STAGE])
    subprocess.run([os.environ.get("SHELL", "bash")], check=False)


def clean(_arguments: list[str]) -> None:
    """Remove everything that was made here: containers, images, caches, the virtual environment."""
    if shutil.which("podman"):
        os.environ.update(podman_conf.environment(STATE / "containers.conf"))
        remove_containers(CONTAINER_PREFIX)
        listing = ["podman", "images", "--quiet", f"--filter=reference={images.IMAGE_PREFIX}-*"]
        found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
        if found:
            subprocess.run(["podman", "rmi", *set(found)], check=False, capture_output=True)
    for path in (CACHE, STATE, VENV):
        shutil.rmtree(path, ignore_errors=True)


RUN_STEPS = {"lint": lint, "unit": unit, "docs": docs, "collection": collection, "system": system}
RUN_STEPS |= {"controllers": controllers, "molecule": molecule, "matrix": matrix, "clients": clients}
RUN_STEPS |= {"clusters": clusters, "services": services, "examples": examples, "pictures": pictures}
RUN_STEPS |= {"importer": importer, "bench": bench}
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


def in_a_slot(work: Callable[..., T], *arguments: Any) -> T:
    """Do something as soon as fewer than ``AT_ONCE`` others are at work."""
    with SLOTS:
        return work(*arguments)


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


def begin_test_all() -> None:
    """Have every step try all that it can, and go on where an interrupted run of the same commit ended."""
    os.environ["ALL_FAULTS"] = "1"  # tests that try a sample of all points where a run may die try each
    commit = clean_commit(ROOT)
    if commit:
        PROGRESS.keep(CACHE / "test-all.json", commit)


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
            begin_test_all()
        if not PROGRESS.done:
            shutil.rmtree(COVERAGE, ignore_errors=True)
        COVERAGE.mkdir(parents=True, exist_ok=True)
        steps = {"test": QUICK, "test-all": ALL_STEPS}
        total = run_steps(steps.get(step, [step]), list(arguments))
        coverage()
    if step in steps:
        say(PROGRESS.table())
    tell(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.x ...")
    sys.exit(main(*sys.argv[1:]))
