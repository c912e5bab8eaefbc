# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server transaction with every fault at every operation on files, command, reload and handshake.

Wherever a run is killed or fails: the server serves the old or the new generation, it can be restarted, what is on disk
is the whole old or new state (once the next run has recovered it, if there was nobody left to do so), the next run
converges, and nothing is left over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import directory, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, wire
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, target, transaction
from ansible_collections.pgops.tls.tests import fault_matrix, faults
from ansible_collections.pgops.tls.tests.servers import CONFIGURATION, HBA, TODAY, Server, lists, sign

RESTARTS = 4  # tried points from one with a restart to the next
RELOAD_PATIENCE = 1.0  # seconds that a reload gets to show; a server that never answers is waited for as long
MAPPED_RULES = {"hba": "hostssl all app all cert map=people\n" + HBA, "ident": "people app app\n"}

FILE_FAULTS = [fault for fault in faults.FAULTS if faults.WRITE in fault.kinds]


def first_set_up(server: Server) -> dict[str, Any]:
    return with_certificate(server, {})


def renewal(server: Server) -> dict[str, Any]:
    server.settle()
    return with_certificate(server, {"renew": True})


def settings(server: Server) -> dict[str, Any]:
    server.settle()
    server.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    return {}


def first_revocation(server: Server) -> dict[str, Any]:
    server.settle()
    server.options["crls"] = lists("client", 4711)
    return {}


def rules(server: Server) -> dict[str, Any]:
    server.settle(plaintext="allow", hba="host all app all scram-sha-256\n")
    return dict(MAPPED_RULES)


def recovery(server: Server) -> dict[str, Any]:
    """Leave what a run left that was killed right before its end: it is undone first, and then done."""
    server.settle()
    options = with_certificate(server, {"renew": True, **MAPPED_RULES})
    with faults.dying():
        server.converge(**options)
    return options


def with_certificate(server: Server, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the second call, which installs what was asked for in the first."""
    request = server.converge(**options).request
    assert request is not None
    return {**options, "certificate": sign(request, ["localhost", "127.0.0.1"])}


# Each brings a server to the state before a change, and returns the options of the call that makes the change.
SCENARIOS: dict[str, Callable[[Server], dict[str, Any]]] = {
    "first set-up": first_set_up,
    "renewal": renewal,
    "settings": settings,
    "first revocation": first_revocation,
    "rules": rules,
    "recovery": recovery,
}


class State(NamedTuple):
    """What counts: the certificate that is shown, what a connection without TLS gets, files in use, configuration."""

    served: str
    plaintext: str
    used: tuple[tuple[str, bytes], ...]
    configuration: tuple[bytes, ...]


class Stage:
    """A server before one change, which it can be put back to, and the call that makes the change."""

    kind: type[transaction.Transaction] = transaction.Transaction

    def __init__(self, server: Server, options: dict[str, Any]) -> None:
        self.server = server
        self.options = options
        self.said = ""
        self.saved = faults.everything(server.directory)
        self.saved_configuration = self._saved_configuration()
        self.start = self.state()
        self.recover()
        self.before = self.state()
        self.change()
        self.after = self.state()
        assert self.before != self.after
        self.reset()

    def change(self) -> None:
        try:
            self.server.converge(kind=self.kind, **self.options)
        except TlsError as error:
            self.said = error.message
            raise

    def check(self, fault: faults.Fault, tried: int) -> None:
        """Check what a fault has left, and that the message tells no other story."""
        if "Nothing was changed" in self.said:
            expected = self.before if "an interrupted run was undone" in self.said else self.start
            assert self.state() == expected, f"something was changed, but the message says: {self.said}"
        certificates = [self.before.served, self.after.served]
        assert self._served() in certificates, "another certificate is served"
        if not (fault.is_death or fault.is_lasting or self.start != self.before):
            assert not self.is_open(), "an open journal, though somebody was left to undo it"
        if not self.is_open():
            assert self.state() in (self.before, self.after), "not the whole old or new state, and no journal tells"
        if tried % RESTARTS == 0:
            self.server.restart()
            assert self._served() in certificates, "another certificate after a restart"
        if self.is_open():
            self.recover()
            assert self.state() in (self.before, self.after), "not the whole old or new state after the recovery"
        elif self.is_untouched():
            return
        self.converges()

    def state(self) -> State:
        """Return what is in use now."""
        used = tuple(self.server.used().items())
        configuration = tuple(path.read_bytes() for path in self._configuration())
        return State(self._served(), self._plaintext(), used, configuration)

    def reset(self) -> None:
        """Put everything back to what was before the change."""
        self.said = ""
        if self.is_untouched():
            return
        faults.put_back(self.server.directory, self.saved)
        if self.server.configuration:
            faults.put_back(self.server.configuration, self.saved_configuration)
        else:
            for name, content in self.saved_configuration.items():
                self.server.cluster.write(name, content)
        self._reload()
        assert self.state() == self.start, "the test could not put everything back"

    def is_untouched(self) -> bool:
        """Return whether nothing differs from what was before the change, so that the next run does what that did."""
        on_disk = faults.everything(self.server.directory), self._saved_configuration()
        return on_disk == (self.saved, self.saved_configuration) and self.state() == self.start

    def is_open(self) -> bool:
        return (self.server.directory / "journal.json").exists()

    def recover(self) -> None:
        """Do what the next run does first."""
        cluster = self.server.cluster
        administrator = psql.locate(cluster.port, cluster.socket_directory, "postgres")
        wanted = target.read(self.server.all_options(**self.options))
        with directory.held(wanted.directory, administrator.account, check_mode=False):
            self.kind(wanted, administrator, TODAY)._recover(check_mode=False)

    def converges(self) -> None:
        """Check that the next run ends in the new state, and leaves nothing behind."""
        if self.state() == self.after:
            done = {**self.options, "renew": False, "certificate": None}
            assert self.server.converge(kind=self.kind, **done).changes == []
        else:
            self.change()
        assert self.state() == self.after
        assert self.left() == []
        with files.locked(str(self.server.directory), patience=0.0):
            pass  # nobody holds the lock any more
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

    def _served(self) -> str:
        try:
            return self.server.served()
        except TlsError:
            return ""

    def _plaintext(self) -> str:
        """Return what the rules that the server has loaded hold for a connection without TLS."""
        try:
            with wire.connected(wire.Endpoint("127.0.0.1", self.server.cluster.port)) as connection:
                return wire.log_in(connection, "app", "postgres")
        except wire.RefusedError as refusal:
            return refusal.message

    def _saved_configuration(self) -> dict[str, Any]:
        if self.server.configuration:
            return faults.everything(self.server.configuration)
        return {path.name: path.read_bytes() for path in self._configuration()}

    def _reload(self) -> None:
        """Reload by a signal, which the server handles before it takes the next connection."""
        process = int((self.server.cluster.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        os.kill(process, signal.SIGHUP)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the waiting time of thousands of points."""
    monkeypatch.setattr(proof, "_PATIENCE", RELOAD_PATIENCE)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_at_any_point_leaves_the_old_or_the_new_state(server: Server, scenario: str) -> None:
    fault_matrix.try_all(Stage(server, SCENARIOS[scenario](server)), "server", scenario)


# With files of root other files are written, in another way; commands and connections are the same.
@pytest.mark.parametrize("scenario", ["first set-up", "rules", "recovery"])
def test_a_fault_with_files_of_root_leaves_the_old_or_the_new_state(hardened: Server, scenario: str) -> None:
    stage = Stage(hardened, SCENARIOS[scenario](hardened))
    fault_matrix.try_all(stage, "server", f"{scenario}, files of root", FILE_FAULTS)
