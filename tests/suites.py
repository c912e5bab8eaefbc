"""Which tests run in which container: Debian suites, versions of PostgreSQL, and what each of them tries."""

from __future__ import annotations

import os

from conftest import ROOT
from containers import images

VERSION_OF_SUITE = {"bullseye": "13", "bookworm": "15", "trixie": "17"}  # and the PostgreSQL each of them brings
CLIENTS = "clients"  # trixie with drivers for other languages
OF_CLIENTS = "tests/system/test_client_kit.py"  # the README of a kit has lines for them
DRIVER_STAGE = "drivers"  # bookworm with clients that are not libpq; one host of a Molecule scenario
NEWER = {"sid": "18", "experimental": "19"}  # where test-all runs the tests, too
BUILDS = images.BUILD_OF  # there, too: versions that no suite has
VERSIONS = VERSION_OF_SUITE | NEWER | BUILDS | {CLIENTS: VERSION_OF_SUITE["trixie"]}


def files(*names: str) -> list[str]:
    """Return the files of system tests by what their names say after test_."""
    return [f"tests/system/test_{name}.py" for name in names]


OF_VERSION = files("known_settings", "hba_differential")  # differs most by it
# What old servers and their libpq do in their own way
OF_OLD = files(
    "server",
    "client",
    "client_formats",
    "connection",
    "address_only",
    "hba_info",
    "server_log",
    "server_revocation",
    "session_info",
)
# What runs with builds that are not Debian's: what differs by version, and needs no other program of Debian's server
OF_BUILDS = [*OF_OLD, *files("client_revocation", "access_differential", "security_claims")]
OF_LIBRARY = files("server", "languages")  # later C libraries have no languages without locales
# Versions of PgBouncer and Patroni differ much
OF_PROGRAMS = files("pgbouncer", "pgbouncer_removal", "patroni")
OF_NEWER = files(
    "after_change",  # without systemd, as their containers are
    "client_environment",
    "connection_replication",
    "key_exchange",
    "replication",
    "rule_advice",
)
CONTROLLER = "trixie"  # the suite whose own Ansible is new enough for the tests of playbooks
PLAYBOOK_TESTS = "tests/system/playbooks"
OF_SERVERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "system").glob("test_server*.py"))
PLAYBOOK_FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PLAYBOOK_TESTS).glob("test_*.py"))
# What depends most on ansible-core: its results, its warnings, its inventories, what it prints, how it loads plugins
OF_CONTROLLER = ("whole_job", "first_contact", "inventories", "one_bad_host", "secrets")
WITH_EACH_CONTROLLER = [f"{PLAYBOOK_TESTS}/test_{name}.py" for name in OF_CONTROLLER]
OF_PEERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "system").glob("test_p[ag]*.py"))
# What each suite tries in test-all besides the one of the playbooks, which tries everything
OF_SUITE = {
    **{suite: [*OF_VERSION, *OF_BUILDS] for suite in ("bullseye", *BUILDS)},
    "bookworm": [*OF_VERSION, *OF_LIBRARY, *OF_PEERS],
    **{suite: sorted({*OF_VERSION, *OF_BUILDS, *OF_SERVERS, *OF_NEWER, *OF_PROGRAMS}) for suite in NEWER},
}
SAMPLES = {  # what those of make test try there
    "bullseye": [*OF_VERSION, *OF_OLD],
    "bookworm": [*OF_VERSION, *OF_LIBRARY, *OF_PROGRAMS],
}
# Jobs in containers of their own, in halves: the longest job sets the time of all, and the last one has a core idle
HALVES = {
    "playbooks": PLAYBOOK_FILES[::2],
    "peers": OF_PEERS,  # PgBouncer and Patroni, which tests mostly wait for: beside the playbooks, which are busy
    "playbooks-more": PLAYBOOK_FILES[1::2],
    "servers": OF_SERVERS[::2],
    "servers-more": OF_SERVERS[1::2],
}
# Jobs of test-all that try every point at which a run may die, and every slow test: with one version of each program.
# All other jobs try the sample that make test takes.
THOROUGH = (*HALVES, CONTROLLER)
OLDEST, OLDEST_PYTHON = "bullseye", "3.9.2"  # where also the unit tests run of what runs on managed hosts
OLDEST_TOO = [
    "tests/unit/plugins/module_utils",
    *(f"--ignore=tests/unit/plugins/module_utils/{name}" for name in ("authority", "kit", "source")),
]


def system_jobs(arguments: list[str]) -> list[tuple[str, str, list[str]]]:
    """Return for each container its name, its suite, and the arguments of pytest in it; what takes longest first."""
    if any(PLAYBOOK_TESTS in argument for argument in arguments):
        return [(CONTROLLER, CONTROLLER, arguments)]
    suites = [CONTROLLER, *(OF_SUITE if os.environ.get("ALL_FAULTS") else SAMPLES)]
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
    if suite != CONTROLLER:
        tests = arguments or (OF_SUITE if os.environ.get("ALL_FAULTS") else SAMPLES)[suite]
        return [*tests, f"--ignore={PLAYBOOK_TESTS}"]
    return arguments or ["tests/system", *(f"--ignore={path}" for path in (PLAYBOOK_TESTS, *OF_SERVERS, *OF_PEERS))]


def tests_of_controller() -> list[str]:
    """Return the files that each of them runs."""
    return WITH_EACH_CONTROLLER if os.environ.get("ALL_FAULTS") else WITH_EACH_CONTROLLER[:1]
