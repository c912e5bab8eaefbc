# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server transaction, interrupted before every file operation, question to the server, reload and handshake.

Wherever a run dies or fails: the server serves the old or the new generation, it can be restarted, what is on disk is
the whole old or new state (after a death, once the next run has recovered it), the next run converges, and nothing is
left over. Every point is tried with ALL_FAULTS=1 in the environment, a sample otherwise.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql
from ansible_collections.pgops.tls.plugins.module_utils.server import directory, proof, target, transaction
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.servers import CONFIGURATION, HBA, NOW, Server, sign

EVERY = 1 if os.environ.get("ALL_FAULTS") else 53  # points from one that is tried to the next
RESTARTS = 4  # tried points from one with a restart to the next
NAMES = ["localhost", "127.0.0.1"]
SCENARIOS: dict[str, dict[str, Any]] = {
    "first set-up": {},
    "renewal": {"renew": True},
    "settings": {},
    "rules": {"hba": "hostssl all app all cert map=people\n" + HBA, "ident": "people app app\n"},
}


class State(NamedTuple):
    """What counts: the certificate that is shown, the files in use, and the configuration."""

    served: str
    used: tuple[tuple[str, bytes], ...]
    configuration: tuple[bytes, ...]


class Stage:
    """A server before one change, which it can be put back to, and the call that makes the change."""

    def __init__(self, server: Server, scenario: str) -> None:
        self.server = server
        self.options = dict(SCENARIOS[scenario])
        if scenario != "first set-up":
            server.settle()
        if scenario in ("first set-up", "renewal"):
            request = server.converge(**self.options).request
            assert request is not None
            self.options["certificate"] = sign(request, NAMES)
        if scenario == "settings":
            server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
        self.saved = server.cluster.home / "saved"
        self._copy(server.directory, self.saved / "tls")
        for path in self._configuration():
            shutil.copy2(path, self.saved / path.name)
        self.before = self.state()
        self.change()
        self.after = self.state()
        assert self.before != self.after
        self.reset()

    def change(self) -> None:
        self.server.converge(**self.options)

    def state(self) -> State:
        """Return what is in use now."""
        try:
            served = self.server.served()
        except TlsError:
            served = ""
        current = self.server.directory / "current"
        used = tuple((path.name, path.read_bytes()) for path in sorted(current.iterdir())) if current.exists() else ()
        return State(served, used, tuple(path.read_bytes() for path in self._configuration()))

    def reset(self) -> None:
        """Put everything back to what was before the change."""
        self._copy(self.saved / "tls", self.server.directory)
        for path in self._configuration():
            self.server.cluster.write(path.name, (self.saved / path.name).read_bytes())
        self.server.cluster.psql("SELECT pg_reload_conf()")
        assert self.state() == self.before

    def recover(self) -> None:
        """Do what the next run does first."""
        cluster = self.server.cluster
        administrator = psql.locate(cluster.port, cluster.socket_directory, "postgres")
        wanted = target.read(self.server.all_options(**self.options))
        with directory.held(wanted.directory, administrator.account, check_mode=False):
            transaction.Transaction(wanted, administrator, NOW)._recover(check_mode=False)

    def converges(self) -> None:
        """Check that the next run ends in the new state, and leaves nothing behind."""
        if self.state() == self.after:
            done = {**self.options, "renew": False, "certificate": None}
            assert self.server.converge(**done).changes == []
        else:
            self.change()
        assert self.state() == self.after
        assert self.left() == []
        if "certificate" in self.options:  # else a fault may have made the run ask for one, and its key waits
            assert list((self.server.directory / "pending").iterdir()) == []

    def left(self) -> list[str]:
        """Return what a run must not leave."""
        paths = [*self.server.directory.rglob("*"), *self.server.cluster.data.iterdir()]
        paths += self.server.configuration.iterdir() if self.server.configuration else []
        signs = ("pgops-new", "pgops-before", ".staging", "backup", "journal.json")
        return [str(path) for path in paths if any(mark in path.name for mark in signs)]

    def _configuration(self) -> list[Path]:
        return [self.server.cluster.data / f"p{name}.conf" for name in CONFIGURATION]

    @staticmethod
    def _copy(source: Path, to: Path) -> None:
        shutil.rmtree(to, ignore_errors=True)
        to.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", source, to], check=True)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions to the server, reloads and handshakes count as file operations do."""

    def opening(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            os.close(os.open(os.devnull, os.O_RDONLY))
            return original(*arguments, **options)

        return call

    for holder, name in [(psql.Administrator, "_psql"), (proof.Prover, "served"), (proof.Prover, "_refuses_plaintext")]:
        monkeypatch.setattr(holder, name, opening(getattr(holder, name)))


@contextlib.contextmanager
def failing_from(number: int) -> Iterator[list[int]]:
    """Let every operation from ``number`` on fail: the roll-back too."""
    originals = {name: getattr(os, name) for name in faults.OPERATIONS}
    counter, failed = itertools.count(), []

    def step() -> None:
        if next(counter) >= number:
            failed.append(number)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "injected")

    faults.patched(step, lambda name, to: setattr(os, name, to))
    try:
        yield failed
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def dies(stage: Stage, number: int) -> bool:
    return faults.dies_before(number, stage.change)


def fails(stage: Stage, number: int) -> bool:
    with faults.failing(number) as failed, contextlib.suppress(TlsError):
        stage.change()
    if failed:
        assert stage.state() in (stage.before, stage.after), f"not undone at once at point {number}"
    return bool(failed)


def fails_for_good(stage: Stage, number: int) -> bool:
    with failing_from(number) as failed, contextlib.suppress(TlsError):
        stage.change()
    return bool(failed)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("fault", [dies, fails, fails_for_good])
@pytest.mark.usefixtures("counted")
def test_a_fault_at_any_point_leaves_the_old_or_the_new_state(
    server: Server, scenario: str, fault: Callable[[Stage, int], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    try_points(server, scenario, fault, capsys)


@pytest.mark.parametrize("scenario", ["first set-up", "rules"])
@pytest.mark.parametrize("fault", [dies, fails, fails_for_good])
@pytest.mark.usefixtures("counted")
def test_a_fault_with_files_of_root_leaves_the_old_or_the_new_state(
    hardened: Server, scenario: str, fault: Callable[[Stage, int], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    try_points(hardened, scenario, fault, capsys)


def try_points(
    server: Server, scenario: str, fault: Callable[[Stage, int], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    """Let a change come to grief at one point after the other."""
    stage = Stage(server, scenario)
    seen = {"old": 0, "new": 0}
    first = sum(map(ord, scenario + fault.__name__)) % EVERY  # so that the samples differ
    for tried, number in enumerate(range(first, 10000, EVERY)):
        if not fault(stage, number):
            break
        assert stage.state().served in (stage.before.served, stage.after.served), f"point {number}"
        if tried % RESTARTS == 0:
            server.restart()
            assert stage.state().served in (stage.before.served, stage.after.served), f"point {number}, restarted"
        stage.recover()
        state = stage.state()
        assert state in (stage.before, stage.after), f"point {number}"
        seen["old" if state == stage.before else "new"] += 1
        stage.converges()
        stage.reset()
    with capsys.disabled():
        print(f"\n{scenario}, {fault.__name__}: {sum(seen.values())} of {number} points: {seen}")
    assert seen["old"]
