# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs at once, each a process of its own: one waits for the other, or says who is in its way; the dead are in none."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, ledger, location, signing, store
from ansible_collections.pgops.tls.plugins.module_utils.client import transaction as client_transaction
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import proof
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import clients, loops, servers
from ansible_collections.pgops.tls.tests.clients import Clients, User
from ansible_collections.pgops.tls.tests.servers import TODAY, Server
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

ROUNDS = 20 if IS_THOROUGH else 4
SERVER_NAMES = ["localhost", "127.0.0.1"]
HELD = r"another run has held the lock of this directory for over \d+ s: process {} \(.+\)\. Wait for that run to end"


class Authorities:
    """The directory of the tests' authorities, so that what runs at once are issued is in one ledger."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "ca"
        location.make(str(self.directory))
        store.create(str(self.directory), servers.AUTHORITIES["server"], None)
        store.create(str(self.directory), servers.AUTHORITIES["client"], None)

    def sign(self, authority: str, requests: list[dict[str, Any]]) -> dict[str, str]:
        order = signing.Order(str(self.directory), None, authority, requests, "90d")
        return signing.sign(order, TODAY, is_dry=False).certificates

    def ledger(self) -> list[str]:
        path = self.directory / ledger.FILE
        return [json.loads(line)["sha256"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities(tmp_path)


def leaf_in(path: Path) -> str:
    return certificate.read_pem(path.read_text(), path.name)[0].sha256


def server_run(server: Server, authorities: Authorities, **options: Any) -> str:
    """Do what the role does; return the fingerprint of the certificate that this run ends with."""
    outcome = server.converge(**options)
    if outcome.request is not None:
        request = {"id": "db1", "csr": outcome.request, "names": SERVER_NAMES, "reasons": outcome.plan.reasons}
        outcome = server.converge(**options, certificate=authorities.sign("server", [request])["db1"])
    return outcome.leaf.sha256 if outcome.leaf else ""


def client_run(user: Clients, authorities: Authorities, **options: Any) -> str:
    """Do what the role does; return the fingerprint of the certificate that this run ends with."""
    result = user.call(**options)
    if result["requests"]:
        result = user.call(**options, certificates=authorities.sign("client", result["requests"]))
    return str(result["identities"][0]["sha256"])


@pytest.mark.parametrize("options", [{}, {"renew": True}], ids=["first", "renewal"])
def test_two_runs_at_once_on_a_server_both_end_well(
    server: Server, authorities: Authorities, options: dict[str, Any]
) -> None:
    if options:
        server_run(server, authorities)
    run = functools.partial(server_run, server, authorities, **options)
    for _round in range(ROUNDS if options else 1):
        before = len(authorities.ledger())
        ended = loops.at_once(run, run)
        issued = authorities.ledger()[before:]
        assert set(ended) <= set(issued)
        assert len(issued) == 2 if options else issued
        assert server.served() == leaf_in(server.directory / "current/server.crt")
        assert server.served() in ended
    assert server.converge().changes == []
    server.restart()
    assert server.converge().changes == []
    assert sorted(path.name for path in server.directory.iterdir()) == ["current", "generations", "pending"]
    assert list((server.directory / "pending").iterdir()) == []


@pytest.mark.parametrize("options", [{}, {"renew": True}], ids=["first", "renewal"])
def test_two_runs_at_once_on_a_client_both_end_well(
    users: list[User], clients: Clients, authorities: Authorities, options: dict[str, Any]
) -> None:
    if options:
        client_run(clients, authorities)
    run = functools.partial(client_run, clients, authorities, **options)
    for _round in range(ROUNDS if options else 1):
        before = len(authorities.ledger())
        ended = loops.at_once(run, run)
        issued = authorities.ledger()[before:]
        assert set(ended) <= set(issued)
        assert len(issued) == 2 if options else issued
        assert leaf_in(users[0].default / "postgresql.crt") in ended
    assert clients.call()["changed"] is False
    assert list((users[0].store / "pending").iterdir()) == []


def test_runs_at_once_make_one_pair_of_authorities_and_lose_no_line_of_the_ledger(tmp_path: Path) -> None:
    csr, orders = signing_request(clients.new_key()), 10

    def work(directory: str, number: int) -> tuple[str, str]:
        kept = keeping.keep(keeping.Wish(directory, "P-256", None), TODAY, is_dry=False)
        for order in range(orders):
            request = {"id": f"{number}/{order}", "csr": csr, "names": SERVER_NAMES, "reasons": []}
            signing.sign(signing.Order(directory, None, "server", [request], "90d"), TODAY, is_dry=False)
        return kept.authorities["server"].root.sha256, kept.authorities["client"].root.sha256

    for one in range(ROUNDS):
        directory = tmp_path / str(one)
        found = loops.at_once(*(functools.partial(work, str(directory), number) for number in range(4)))
        assert len(set(found)) == 1
        lines = [json.loads(line) for line in (directory / ledger.FILE).read_text().splitlines()]
        assert sorted(line["id"] for line in lines) == sorted(f"{n}/{o}" for n in range(4) for o in range(orders))
        assert len({line["serial"] for line in lines}) == len(lines)


def signing_request(key: bytes) -> str:
    private: Any = serialization.load_pem_private_key(key, None)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def test_runs_at_once_that_make_a_directory_have_one_lock(tmp_path: Path) -> None:
    def work(directory: Path) -> int:
        files.make_directory(str(directory), 0o755)
        with files.locked(str(directory)):
            counter = directory / "counter"
            seen = int(counter.read_text()) if counter.exists() else 0
            time.sleep(0.001)
            counter.write_text(str(seen + 1))
        return seen

    for one in range(ROUNDS * 10):
        found = loops.at_once(*[functools.partial(work, tmp_path / str(one))] * 4)
        assert sorted(found) == [0, 1, 2, 3], f"round {one}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait longer than a second for a lock."""
    monkeypatch.setattr(files, "locked", functools.partial(files.locked, patience=1.0))


def stops_at(holder: Any, name: str, work: Callable[[], Any], stop: Callable[[], None]) -> None:
    """Do ``work``, but stop where it would call the function ``name`` of ``holder``."""
    setattr(holder, name, lambda *_arguments, **_options: stop())
    work()


def taken_over(stuck_at: Callable[[Callable[[], None]], Any], run: Callable[[], Any]) -> None:
    """Check that a run names the process that is in its way, and does not wait for it once it is killed."""
    with loops.stuck(stuck_at) as holder:
        with pytest.raises(TlsError) as failure:
            run()
        assert re.search(HELD.format(holder), str(failure.value)), str(failure.value)
    run()  # would raise after a second


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_killed_run_on_a_server_is_taken_over(server: Server, authorities: Authorities) -> None:
    server_run(server, authorities)
    served = server.served()
    renewal = functools.partial(server_run, server, authorities, renew=True)
    stuck_at = functools.partial(stops_at, proof.Prover, "tls", renewal)
    taken_over(stuck_at, functools.partial(server_run, server, authorities))
    assert server.served() == served == leaf_in(server.directory / "current/server.crt")
    assert not (server.directory / "journal.json").exists()


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_killed_run_on_a_client_is_taken_over(
    alice: User, clients: Clients, authorities: Authorities
) -> None:
    client_run(clients, authorities)
    used = leaf_in(alice.default / "postgresql.crt")
    renewal = functools.partial(client_run, clients, authorities, renew=True)
    stuck_at = functools.partial(stops_at, client_transaction.Transaction, "_switch", renewal)
    taken_over(stuck_at, functools.partial(client_run, clients, authorities))
    assert leaf_in(alice.default / "postgresql.crt") == used
    assert not (alice.store / "journal.json").exists()


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_killed_run_on_the_authorities_is_taken_over(authorities: Authorities) -> None:
    request = {"id": "db1", "csr": signing_request(clients.new_key()), "names": SERVER_NAMES, "reasons": []}
    sign = functools.partial(authorities.sign, "server", [request])
    keep = functools.partial(keeping.keep, keeping.Wish(str(authorities.directory), "P-256", None), TODAY, is_dry=False)
    for run in (sign, keep):
        taken_over(functools.partial(stops_at, ledger, "append", sign), run)
    assert len(authorities.ledger()) == 1
