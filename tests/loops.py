# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that use or disturb a server while a test changes it. Each ends when its block does, or by itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.verification import attempts, libpq
from ansible_collections.pgops.tls.tests import clients
from cryptography.hazmat.primitives import serialization

LONGEST_WAIT = 600.0  # seconds after which a loop ends although nobody stopped it
_PAUSE = 0.01  # seconds between two connections of a loop: the server is to have time for something else
_FORK = multiprocessing.get_context("fork")
GoesOn = Callable[[], bool]
Work = Callable[[GoesOn], "Counter[str]"]


@contextlib.contextmanager
def beside(*works: Work) -> Iterator[list[Counter[str]]]:
    """Run each of ``works`` in a process of its own; what they counted is in the list once the block is left."""
    stop, found = _FORK.Event(), _FORK.SimpleQueue()
    deadline = time.monotonic() + LONGEST_WAIT

    def goes_on() -> bool:
        return not stop.is_set() and time.monotonic() < deadline

    started = [_FORK.Process(target=lambda one=one: found.put(one(goes_on)), daemon=True) for one in works]
    counted: list[Counter[str]] = []
    try:
        for process in started:
            process.start()
        yield counted
        stop.set()
        for process in started:
            process.join(60)
            assert process.exitcode == 0, "a loop did not end well"
            counted.append(found.get())
    finally:
        for process in started:
            process.kill()
            process.join()


@contextlib.contextmanager
def none_fails(work: Work, number: int = 4) -> Iterator[None]:
    """Run ``work`` in several processes beside the block: '' is what each has to count, and nothing else."""
    with beside(*[work] * number) as counted:
        yield
    assert len(counted) == number
    assert all(set(one) == {""} for one in counted), counted


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each of ``works`` in a process of its own, all from the same moment on; return what each returned."""
    together, found = _FORK.Barrier(len(works)), [_FORK.SimpleQueue() for _one in works]

    def run(work: Callable[[], Any], into: Any) -> None:
        together.wait(60)
        into.put(work())

    started = [_FORK.Process(target=run, args=pair, daemon=True) for pair in zip(works, found)]
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(120)
        assert [process.exitcode for process in started] == [0] * len(works), "see what they wrote to standard error"
        return [one.get() for one in found]
    finally:
        for process in started:
            process.kill()
            process.join()


@contextlib.contextmanager
def stuck(action: Callable[[Callable[[], None]], Any]) -> Iterator[int]:
    """Run ``action(stop)`` in a process that stays where it calls ``stop``, and is killed after the block.

    Gives its process id once it is there.
    """
    there = _FORK.Event()

    def stop() -> None:
        there.set()
        signal.pause()

    process = _FORK.Process(target=action, args=(stop,), daemon=True)
    process.start()
    try:
        assert there.wait(60), "it never came there"
        yield int(process.pid or 0)
    finally:
        process.kill()
        process.join()


def connecting(parameters: dict[str, str], goes_on: GoesOn) -> Counter[str]:
    """Connect again and again with libpq; count how that ended: '' is a session over TLS, else libpq's message."""
    ended: Counter[str] = Counter()

    def note(sent: Any) -> None:
        if sent is not None:
            _number, session, message, *_of_the_server = sent
            ended["" if session else message or "no session"] += 1

    clock = attempts.Clock()
    client = attempts.Client(libpq.load(), clock, 20.0)
    job = attempts.Job(processes.account_of(os.geteuid()), parameters)
    while goes_on():
        attempts.Loop(clock, note).run([(0, client.converse(job))])
        time.sleep(_PAUSE)
    return ended


def by_psql(site: Any, target: str) -> Work:
    """Return what connects as the first OS user of a site again and again; '' is well, anything else psql's message."""

    def work(goes_on: GoesOn) -> Counter[str]:
        ended: Counter[str] = Counter()
        while goes_on():
            ended[site.connect(0, target).stderr] += 1
            time.sleep(0.05)
        return ended

    return work


def signalling(pid: int, seed: int, goes_on: GoesOn) -> Counter[str]:
    """Send SIGHUP to a server's main process after random pauses of up to 20 ms, often several within a millisecond."""
    moments, sent = random.Random(seed), 0  # noqa: S311 (no secret)
    while goes_on():
        for _one in range(moments.choice((1, 1, 1, 10))):
            os.kill(pid, signal.SIGHUP)
            sent += 1
            time.sleep(moments.random() / 2000)
        time.sleep(moments.random() / 50)
    return Counter(signals=sent)


def credentials(
    folder: Path, port: int, server: issuing.Authority, client: issuing.Authority, role: str = "app"
) -> dict[str, str]:
    """Make a client certificate of a role in ``folder``; return libpq's parameters for verify-full with it."""
    key = clients.new_key()
    public = serialization.load_pem_private_key(key, None).public_key()
    contents = {
        "sslrootcert": server.root.pem.encode(),
        "sslcert": clients.sign(public, role, authority=client).encode(),
        "sslkey": key,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return {
        "host": "localhost",
        "hostaddr": "127.0.0.1",
        "port": str(port),
        "user": role,
        "dbname": "postgres",
        "sslmode": "verify-full",
        **{name: str(folder / name) for name in contents},
    }


@contextlib.contextmanager
def session(folder: Path, port: int, server: issuing.Authority, client: issuing.Authority) -> Iterator[None]:
    """Hold a session of role app with a certificate of an authority open, as a program does that keeps its own."""
    found = credentials(folder, port, server, client)
    with staying(["psql", "-XAtq", " ".join(f"{name}={value}" for name, value in found.items())]):
        yield


@contextlib.contextmanager
def staying(command: list[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """Hold a session open: ``command`` is psql, which waits for its next statement. ``settings`` are Popen's."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\\echo here\n")  # a connection for replication answers no SELECT
        process.stdin.flush()
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.communicate()  # the end of its input ends it
