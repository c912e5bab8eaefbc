# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches while somebody else reloads the server all the time, and while clients connect all the time."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, location, signing, store
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.server import proof
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import faults, loops
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, HBA, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

SWITCHES = 200 if IS_THOROUGH else 40  # all of them take one or two minutes on two cores
SERVER_NAMES = ["localhost", "127.0.0.1"]
RESTARTS = 60 if IS_THOROUGH else 8
# What a client may be told while its server is restarted; nothing of it is about certificates
ABSENT = re.compile(
    r"Connection refused|starting up|shutting down|not yet accepting|in recovery mode|terminating connection"
    r"|server closed the connection unexpectedly|SSL connection has been closed unexpectedly"
    r"|Connection reset by peer|Broken pipe|EOF detected"
)
MAPPED = "hostssl all app all cert map=people\n" + HBA


class Storm:
    """A server that is changed again and again, its authorities' directory, and what its clients connect with."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.ca = folder / "ca"
        location.make(str(self.ca))
        store.create(str(self.ca), AUTHORITIES["server"], None)
        self.options: dict[str, Any] = {}
        self.settle()
        self.client = loops.credentials(folder, server.cluster.port, AUTHORITIES["server"], AUTHORITIES["client"])

    def settle(self, **changes: Any) -> None:
        """Converge as the roles do: the second call has what the authority issued and recorded."""
        wanted = {**self.options, **changes}
        outcome = self.server.converge(**wanted)
        if outcome.request is None:
            assert outcome.changes != []
            return
        request = {"id": "db1", "csr": outcome.request, "names": SERVER_NAMES, "reasons": outcome.plan.reasons}
        order = signing.Order(str(self.ca), None, "server", [request], "90d")
        self.server.converge(**wanted, certificate=signing.sign(order, TODAY, is_dry=False).certificates["db1"])

    def switch(self, number: int) -> None:
        """Make one of the changes that there are; each goes there and back in turn."""
        kind, is_there = number % 4, number // 4 % 2 == 0
        if kind in (0, 2):
            self.settle(renew=True)
        elif kind == 1:
            self.server.ssl = {"ssl_min_protocol_version": "TLSv1.3"} if is_there else {}
            self.settle()
        else:
            self.options = {"hba": MAPPED, "ident": "people app app\n"} if is_there else {}
            self.settle()

    def on_disk(self) -> str:
        chain = (self.server.directory / "current" / "server.crt").read_text()
        return certificate.read_pem(chain, "server.crt")[0].sha256

    def in_ledger(self) -> list[str]:
        lines = (self.ca / ledger.FILE).read_text().splitlines()
        return [json.loads(line)["sha256"] for line in lines]

    def check(self) -> None:
        """Check that the server shows what is on disk and was issued, also after a restart; the next run is content."""
        assert self.server.served() == self.on_disk()
        assert self.on_disk() in self.in_ledger()
        assert self.server.converge(**self.options).changes == []
        self.server.restart()
        assert self.server.served() == self.on_disk()
        assert self.server.converge(**self.options).changes == []
        assert not (self.server.directory / "journal.json").exists()

    def restarting(self, mode: str, seconds: float) -> subprocess.Popen[bytes]:
        """Restart the server, as somebody else would, after some seconds."""
        cluster = self.server.cluster
        command = ["runuser", "-u", cluster.account, "--"] if os.geteuid() == 0 else []
        command += [str(cluster.programs / "pg_ctl"), "-D", str(cluster.data), "-l", str(cluster.log_path), "-w"]
        command += ["-o", f"-p {cluster.port} -k {cluster.socket_directory}", "-m", mode, "restart"]
        return subprocess.Popen(
            ["sh", "-c", 'sleep "$0"; exec "$@"', str(seconds), *command], cwd="/", stdout=subprocess.DEVNULL
        )


def main_process(server: Server) -> int:
    return int((server.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])


def test_switches_in_a_storm_of_reloads_fail_no_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = Storm(server, tmp_path)
    attempts: list[list[str] | None] = []
    once = proof.Prover._reload_until

    def counted_attempt(prover: proof.Prover, fingerprint: str, *, is_new: bool) -> list[str] | None:
        attempts.append(once(prover, fingerprint, is_new=is_new))
        return attempts[-1]

    monkeypatch.setattr(proof.Prover, "_reload_until", counted_attempt)
    connecting = functools.partial(loops.connecting, storm.client)
    signalling = functools.partial(loops.signalling, main_process(server), 1)
    started = time.monotonic()
    with loops.beside(connecting, connecting, signalling) as counted:
        for number in range(SWITCHES):
            storm.switch(number)
    took = time.monotonic() - started
    ended = counted[0] + counted[1] + counted[2]
    signals, connected = ended.pop("signals"), ended.pop("")
    log = server.cluster.log()
    with capsys.disabled():
        print(
            f"\n{SWITCHES} switches in {took:.0f} s, {signals} SIGHUPs ({log.count('received SIGHUP')} reloads, "
            f"{log.count('SSL configuration was not reloaded')} refused), "
            f"{len([one for one in attempts if one is not None])} of {len(attempts)} proofs repeated; "
            f"{connected} connections, {sum(ended.values())} failed"
        )
    assert not ended
    assert connected > SWITCHES
    assert storm.on_disk() == storm.in_ledger()[-1]
    storm.check()


def test_a_restart_at_any_moment_of_a_switch_leaves_one_generation_whole(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = Storm(server, tmp_path)
    started = time.monotonic()
    storm.settle(renew=True)
    usual = time.monotonic() - started
    moments = random.Random(20)  # noqa: S311 (no secret)
    failures: Counter[str] = Counter()
    with loops.beside(functools.partial(loops.connecting, storm.client)) as counted:
        for number in range(RESTARTS):
            before = storm.on_disk()
            restart = storm.restarting(moments.choice(["fast", "immediate"]), moments.uniform(0, usual))
            try:
                storm.switch(number)
            except TlsError as error:
                failures[str(error)] += 1
            assert restart.wait(60) == 0, server.cluster.log()
            assert server.served() == storm.on_disk()
            assert server.served() in (before, storm.in_ledger()[-1])
            if server.converge(**storm.options).changes:
                server.converge(**storm.options)
            assert server.served() == storm.on_disk()
            assert server.converge(**storm.options).changes == []
    ended = counted[0]
    connected = ended.pop("")
    with capsys.disabled():
        print(
            f"\n{RESTARTS} restarts during switches: {sum(failures.values())} runs failed; {connected} connections, "
            f"{sum(ended.values())} found no server"
        )
    assert [message for message in ended if not ABSENT.search(message)] == []
    assert connected
    storm.check()


def test_what_the_server_reads_after_ssl_conf_is_of_the_same_generation(managed: Server) -> None:
    managed.settle(renew=True)
    for name, file in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")]:
        assert managed.cluster.psql(f"SHOW {name}") == f"{managed.directory}/generations/0002/{file}"


def test_a_new_certificate_is_proven_though_a_reload_was_faster_and_the_log_cannot_be_read(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.cluster.append("postgresql.conf", "log_destination = 'syslog'\n")
    managed.restart()
    managed.settle()
    switch = Journal.switch

    def reloaded_at_once(journal: Journal) -> None:
        before = managed.served()
        switch(journal)
        managed.cluster.psql("SELECT pg_reload_conf()")
        while managed.served() == before:
            pass

    monkeypatch.setattr(Journal, "switch", reloaded_at_once)
    managed.settle(renew=True)
    assert managed.converge().changes == []


@pytest.mark.parametrize("kind", ["server", "hardened"])
def test_another_map_is_undone_when_the_run_dies(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    server.settle(hba=MAPPED, ident="people app app\n")
    disk = server.disk()
    other = {"hba": MAPPED.replace("people", "staff"), "ident": "staff app app\n"}
    with faults.dying():
        server.converge(**other)
    assert server.converge(hba=MAPPED, ident="people app app\n").changes[0].startswith("recovery:")
    assert server.disk() == disk
    assert server.converge(**other).changes == ["pg_ident.conf: changed", "pg_hba.conf: changed"]
    assert [path for path in server.disk() if "pgops-" in path] == []
