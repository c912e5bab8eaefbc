# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that hang, addresses that are silent, processes that die: what module connection_info says then."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.verification import (
    attempts,
    checks,
    expectation,
    libpq,
    preparation,
)
from ansible_collections.pgops.tls.tests.checkers import Checker

# Takes anybody in, sends a notice, and answers no query
MUTE = """
import socket, struct
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    peer = listener.accept()[0]
    peer.recv(1000)
    notice = b"SWARNING\\0VWARNING\\0C01000\\0Mthis is a notice\\0\\0"
    peer.sendall(b"R" + struct.pack("!ii", 8, 0) + b"N" + struct.pack("!i", len(notice) + 4) + notice)
    peer.sendall(b"Z" + struct.pack("!i", 5) + b"I")
    while peer.recv(1000):
        pass
"""


class Altered:
    """The functions of a libpq, some of them replaced."""

    def __init__(self, library: libpq.Library, **changes: Callable[..., Any]) -> None:
        self._functions = library.functions
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)


@pytest.fixture
def client(client: Any) -> Checker:
    """Return the client of a server that wants certificates."""
    return Checker(client)


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let every name have these addresses."""
    return lambda *wanted: monkeypatch.setattr(attempts, "_resolve", lambda _name: (list(wanted), ""))


@pytest.fixture
def mute() -> Iterator[int]:
    """Run a server that answers no query; return its port."""
    with subprocess.Popen([sys.executable, "-c", MUTE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def note(path: Path, text: str) -> None:
    """Write from a child process, which may be unable to import a codec: Python's files are not for everybody here."""
    with path.open("ab") as stream:
        stream.write(text.encode())


def test_a_server_that_never_answers_is_given_up_and_holds_nobody_up(client: Checker) -> None:
    client.connect_timeout = 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = {"host": "127.0.0.1", "port": silent.getsockname()[1]}
        found = client.verify(client.expect(**given), *[client.expect()] * 20, client.refuse("plaintext", **given))
    assert [one["status"] for one in found] == ["deviation", *["ok"] * 20, "unproven"]
    assert found[0]["reason"] == "was refused: timeout expired (1 s)"
    assert found[-1]["message"] == "timeout expired (1 s)"


def test_what_has_ended_is_told_at_once_and_waiting_gives_signs_of_life(client: Checker) -> None:
    account = checks.processes.account(client.name, "test")
    own = preparation._files(expectation.read(client.expect(), "test"), account)
    files = {
        "sslcert": own.certificate,
        "sslkey": own.key,
        "sslrootcert": own.roots,
        "sslmode": "verify-full",
        "dbname": "postgres",
    }
    sent: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = [silent.getsockname()[1], client.cluster.port, client.cluster.port]
        jobs = {
            number: attempts.Job(account, {**files, "host": "localhost", "port": str(port), "user": user}, resolved)
            for number, (port, user, resolved) in enumerate(zip(ports, ["app", "app", "other"], ["127.0.0.1"] * 3))
        }
        with acting_as(account):  # in this process, where the measurement of coverage sees it
            attempts._attempt_own(client.library, jobs, 1.5, sent.append)
    assert sent[-2:] == [None, [0, None, "timeout expired (1.5 s)", "", False, False, *[""] * 4]]
    ended = {number: (session, message) for number, session, message, *_others in filter(None, sent[:-1])}
    assert (ended[1][0].client_dn, ended[1][1]) == ("/CN=app", "")
    assert 'certificate authentication failed for user "other"' in ended[2][1]


def test_a_server_that_answers_no_query_is_given_up_and_its_notice_is_printed_nowhere(
    client: Checker, mute: int, capfd: pytest.CaptureFixture[str]
) -> None:
    client.connect_timeout = 1
    (found,) = client.verify(client.refuse("plaintext", port=mute))
    assert found["reason"] == "failed for another reason: let in, but the query was not answered within 1 s"
    assert capfd.readouterr() == ("", "")


def test_a_silent_address_is_passed_by_after_its_time(client: Checker, addresses: Callable[..., None]) -> None:
    client.connect_timeout = 1
    addresses("127.0.0.2", "127.0.0.3", "127.0.0.1")  # the second one has no listener at all
    with socket.create_server(("127.0.0.2", client.cluster.port)):
        found = client.verify(client.expect(), client.refuse("wrong_name"))
    assert [one["status"] for one in found] == ["ok", "ok"]


def test_all_addresses_are_named_when_none_is_of_use(client: Checker, addresses: Callable[..., None]) -> None:
    client.connect_timeout = 1
    addresses("127.0.0.2", "127.0.0.3")
    with socket.create_server(("127.0.0.2", client.cluster.port)):
        (found,) = client.verify(client.expect())
    assert found["reason"] == "was refused: timeout expired (1 s); Connection refused"


def test_an_address_whose_server_refuses_is_the_last_one(client: Checker, addresses: Callable[..., None]) -> None:
    addresses("127.0.0.1", "127.0.0.1")
    found = client.verify(client.expect(), client.refuse("plaintext"), client.refuse("foreign_root"))
    assert [one["status"] for one in found] == ["ok"] * 3
    assert client.cluster.log().count("pg_hba.conf rejects connection") == 1
    assert client.cluster.log().count("could not accept SSL connection") == 1


def test_a_name_is_resolved_once(client: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, seen = attempts._resolve, client.give(client.home / "resolved", b"")

    def noted(name: str) -> Any:
        note(seen, f"{name}\n")
        return resolve(name)

    monkeypatch.setattr(attempts, "_resolve", noted)
    given = {"host": "127.0.0.1", "hostaddr": "127.0.0.1"}  # has nothing to resolve
    client.verify(client.expect(), client.refuse("plaintext"), client.expect(host="x.invalid"), client.expect(**given))
    assert seen.read_text() == "localhost\nx.invalid\n"


def test_no_more_connections_than_promised_are_under_way(client: Checker) -> None:
    seen, under_way = client.give(client.home / "under-way", b""), []
    real = client.library.functions

    def start(conninfo: bytes) -> int:
        under_way.append(1)
        note(seen, f"{len(under_way)}\n")
        return int(real.PQconnectStart(conninfo))

    def finish(connection: int) -> None:
        under_way.pop()
        real.PQfinish(connection)

    client.library = libpq.Library(Altered(client.library, PQconnectStart=start, PQfinish=finish))
    found = client.verify(*[client.expect(), client.refuse("plaintext")] * 20)
    assert {one["status"] for one in found} == {"ok"}, found
    assert max(int(line) for line in seen.read_text().split()) == attempts.AT_ONCE == 8


def test_every_os_user_connects_for_itself_and_results_stay_in_their_order(client: Checker, tmp_path: Path) -> None:
    current = client.home / ".postgresql" / "pgops" / "current"
    shutil.copytree(current, tmp_path / ".postgresql" / "pgops" / "current")
    for path in (tmp_path / ".postgresql").rglob("*"):
        os.chown(path, 0, 0)
    tmp_path.chmod(0o700)  # what root has nobody else can read
    root = {"os_user": "root", "home": str(tmp_path)}
    found = client.verify(client.expect(**root), client.expect(), client.refuse("plaintext", **root), client.expect())
    assert [one["status"] for one in found] == ["ok"] * 4
    assert [one["os_user"] for one in found] == ["root", client.name, "root", client.name]


def test_the_process_of_a_user_is_that_user(client: Checker) -> None:
    seen, real = client.give(client.home / "ids", b""), client.library.functions

    def start(conninfo: bytes) -> int:
        note(seen, f"{os.getresuid()} {os.getresgid()} {os.environ} {conninfo.decode()}")
        return int(real.PQconnectStart(conninfo))

    client.library = libpq.Library(Altered(client.library, PQconnectStart=start))
    (found,) = client.verify(client.expect())
    entry = pwd.getpwnam(client.name)
    assert found["status"] == "ok", found
    assert seen.read_text().startswith(f"{(entry.pw_uid,) * 3} {(entry.pw_gid,) * 3} ")
    assert f"'HOME': '{client.home}'" in seen.read_text()
    assert "gssencmode='disable'" in seen.read_text(), "an encrypted GSSAPI connection would win over any sslmode"


def test_a_process_that_dies_spoils_what_it_has_not_told(client: Checker) -> None:
    real, sent = client.library.functions, []

    def query(connection: int, sql: bytes) -> int:
        sent.append(1)
        if len(sent) > attempts.AT_ONCE:
            os.kill(os.getpid(), signal.SIGSEGV)
        return int(real.PQsendQuery(connection, sql))

    client.library = libpq.Library(Altered(client.library, PQsendQuery=query))
    found = client.verify(*[client.expect()] * 20)
    told = [one["reason"] for one in found if one["status"] == "deviation"]
    assert 0 < len(told) < 20
    said = f"was refused: the process that connects as OS user {client.name} was killed by signal 11 (SIGSEGV)"
    assert set(told) == {said}


def test_a_process_that_hangs_is_stopped(client: Checker) -> None:
    os.mkfifo(client.home / ".pg_service.conf", 0o666)  # libpq waits for somebody to write into it
    account = checks.processes.account(client.name, "test")
    job = attempts.Job(account, {"service": "app", "host": "localhost", "port": str(client.cluster.port)})
    (found,) = attempts.attempt_all(client.library, [job], 0.2, silence=0.3)
    assert found.message.endswith("gave no sign of life for 0.5 s and was stopped")


def test_a_pipe_in_place_of_a_key_or_roots_is_no_trap(client: Checker) -> None:
    pipe = client.home / "pipe"
    os.mkfifo(pipe, 0o666)
    found = client.verify(client.expect(sslkey=str(pipe)), client.expect(sslrootcert=str(pipe)), client.expect())
    assert [one["status"] for one in found] == ["deviation", "deviation", "ok"]
    assert found[0]["reason"] == found[1]["reason"] == f"was not tried: {pipe} cannot be read: expected a regular file"
