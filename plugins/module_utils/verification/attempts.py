# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections: libpq, as the OS user that owns the files, with nothing of anybody's environment.

One process per OS user makes all its connections, several at a time. libpq does that without blocking, but for three
things that a connection does here instead: it resolves names, it tries addresses in turn, and it has a time limit.
"""

from __future__ import annotations

import functools
import re
import select
import socket
import time
from typing import Any, Generator, Iterable, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import children
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq, verdicts
from ansible_collections.pgops.tls.plugins.module_utils.verification.verdicts import Attempt

AT_ONCE = 8  # connections under way; each takes one of the server's max_connections
# Of those for replication: each takes one of max_wal_senders, 10 by default, which standbys need to connect again
REPLICATION_AT_ONCE = 1
SILENCE = 60.0  # seconds without a sign of life after which a process hangs; a resolver may take half of them
_SIGN_OF_LIFE = 1.0  # seconds between two of them
_COMMON = {
    "gssencmode": "disable",  # an encrypted GSSAPI connection would win over any sslmode
    "application_name": "pgops.tls",
}
# What physical replication takes in place of SQL: the server answers with one row
_REPLICATION_COMMAND = b"IDENTIFY_SYSTEM"
_EVENTS = {libpq.POLLING_READING: select.POLLIN, libpq.POLLING_WRITING: select.POLLOUT}


class Job(NamedTuple):
    """A connection to try: the OS user who tries it, and libpq's parameters.

    ``resolved`` is the name whose addresses it goes to; libpq itself finds them when it is ''. ``query`` replaces the
    question about the connection itself, and gives one value.
    """

    account: Account
    parameters: Mapping[str, str]
    resolved: str = ""
    query: str = ""


class Wait(NamedTuple):
    """What a connection waits for: its socket, an event of select.poll, and until when by the clock."""

    descriptor: int
    event: int
    deadline: float


# Told to begin (None), then whether what it waited for happened in time; ends with how the connection ended
Conversation = Generator[Wait, Optional[bool], Attempt]


class Clock:
    """The seconds that were spent waiting: while a name is resolved, nobody's time runs out."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, waits: Sequence[Wait], seconds: float) -> set[int]:
        """Return the sockets that are ready, after ``seconds`` or the first deadline at the latest."""
        poll = select.poll()
        for one in waits:
            poll.register(one.descriptor, one.event)
        until = min(self.now + seconds, *(one.deadline for one in waits))
        started = time.monotonic()
        ready = {descriptor for descriptor, _event in poll.poll(int(max(0.0, until - self.now) * 1000) + 1)}
        self.now += time.monotonic() - started
        return ready


class Loop:
    """The connections of one process: begins them, wakes those that are ready or late, sends how they ended."""

    def __init__(self, clock: Clock, send: children.Send, at_once: int = AT_ONCE) -> None:
        self.clock = clock
        self.send = send
        self.at_once = at_once
        self.running: dict[int, tuple[Conversation, Wait]] = {}

    def run(self, conversations: Iterable[tuple[int, Conversation]]) -> None:
        """Hold all conversations to their end; each is sent as its number and the fields of its Attempt."""
        upcoming = list(conversations)
        while upcoming or self.running:
            while upcoming and len(self.running) < self.at_once:
                self._advance(*upcoming.pop(0), None)
            if self.running:
                self._turn()

    def _turn(self) -> None:
        ready = self.clock.wait([wait for _conversation, wait in self.running.values()], _SIGN_OF_LIFE)
        if not ready:
            self.send(None)
        for number, (conversation, wait) in list(self.running.items()):
            if wait.descriptor in ready or wait.deadline <= self.clock.now:
                self._advance(number, conversation, wait.descriptor in ready)

    def _advance(self, number: int, conversation: Conversation, in_time: bool | None) -> None:
        try:
            self.running[number] = (conversation, conversation.send(in_time))
        except StopIteration as end:
            self.running.pop(number, None)
            self.send([number, *end.value])


class Client:
    """One process's use of libpq. ``seconds`` is the limit of a connection to one address, and of its query."""

    def __init__(self, library: libpq.Library, clock: Clock, seconds: float) -> None:
        self.library = library
        self.functions = library.functions
        self.clock = clock
        self.seconds = seconds
        self.resolve = functools.lru_cache(maxsize=None)(_resolve)  # most jobs have a name in common

    def converse(self, job: Job) -> Conversation:
        """Try the addresses of a job in turn, as libpq does, until a server answers."""
        targets: list[dict[str, str]] = [{}]
        if job.resolved:
            addresses, fault = self.resolve(job.resolved)
            if fault:
                return Attempt(None, f'could not translate host name "{job.resolved}" to address: {fault}')
            targets = [{"hostaddr": address} for address in addresses]
        messages: list[str] = []
        for target in targets:
            is_answer, attempt = yield from self._at({**job.parameters, **target, **_COMMON}, job.query)
            if is_answer:
                return attempt
            messages.append(attempt.message.rstrip("\n"))
        return Attempt(None, "\n".join(dict.fromkeys(messages)))

    def _at(self, parameters: Mapping[str, str], query: str) -> Generator[Wait, bool | None, tuple[bool, Attempt]]:
        """Try one address; return whether a server answered, and how it ended."""
        connection = self.functions.PQconnectStart(conninfo(parameters).encode("utf-8", "surrogateescape"))
        if connection is None:
            return True, Attempt(None, "libpq is out of memory")
        try:
            self.functions.PQsetErrorVerbosity(connection, libpq.ERRORS_VERBOSE)
            is_answer, fault = yield from self._connect(connection)
            attempt = Attempt(None, fault)
            if not fault:
                is_answer, attempt = True, (yield from self._ask(connection, "replication" in parameters, query))
            is_asked = bool(fault and self.functions.PQconnectionNeedsPassword(connection))
            has_answered = bool(self.functions.PQconnectionUsedPassword(connection))
            leaf, own = self.library.leaf(connection).hex(), self.library.session(connection)
            group = self.library.group(connection)
            attempt = attempt._replace(leaf=leaf, protocol=own.protocol, cipher=own.cipher, group=group)
            return is_answer, attempt._replace(wants_password=is_asked, used_password=has_answered)
        finally:
            self.functions.PQfinish(connection)

    def _connect(self, connection: int) -> Generator[Wait, bool | None, tuple[bool, str]]:
        """Return whether the address has a server that answers, and why the connection does not stand ('': it does)."""
        deadline = self.clock.now + self.seconds
        is_answer = False
        is_bad = self.functions.PQstatus(connection) == libpq.CONNECTION_BAD
        polled = libpq.POLLING_FAILED if is_bad else libpq.POLLING_WRITING
        while polled in _EVENTS:
            in_time = yield Wait(self.functions.PQsocket(connection), _EVENTS[polled], deadline)
            if not in_time:
                return False, f"timeout expired ({self.seconds:g} s)"
            polled = self.functions.PQconnectPoll(connection)
            is_answer = is_answer or self.functions.PQstatus(connection) == libpq.CONNECTION_MADE
        return is_answer, "" if polled == libpq.POLLING_OK else self.library.error(connection)

    def _ask(self, connection: int, is_replication: bool, query: str) -> Conversation:
        """Return what the server says of a connection that stands, or of one for replication what libpq says."""
        deadline = self.clock.now + self.seconds
        command = _REPLICATION_COMMAND if is_replication else (query or verdicts.QUERY).encode()
        is_sound = self.functions.PQsendQuery(connection, command)  # too short to wait
        while is_sound and self.functions.PQisBusy(connection):
            in_time = yield Wait(self.functions.PQsocket(connection), select.POLLIN, deadline)
            if not in_time:
                return Attempt(None, f"let in, but the query was not answered within {self.seconds:g} s")
            is_sound = self.functions.PQconsumeInput(connection)
        result = self.functions.PQgetResult(connection) if is_sound else None
        try:
            row = self.library.row(result) if result is not None else None
        finally:
            self.functions.PQclear(result)  # which does nothing for null
        if row and query:
            return Attempt(None, answer=row[0])
        session = self.library.session(connection) if row and is_replication else verdicts.read_session(row or ())
        return Attempt(session, "" if session else self.library.error(connection))


def _resolve(name: str) -> tuple[list[str], str]:
    """Return the addresses of a name as this host resolves it, and why there are none.

    The name goes through as bytes, as libpq does it: Python would turn other than ASCII letters into Punycode.
    """
    try:
        found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return [], error.strerror or str(error)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found)), ""


def conninfo(parameters: Mapping[str, str]) -> str:
    """Return libpq's connection string of parameters, every value quoted."""
    quoted = {key: re.sub(r"([\\'])", r"\\\1", value) for key, value in parameters.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def attempt_all(
    library: libpq.Library, jobs: Sequence[Job], connect_timeout: float, silence: float = SILENCE
) -> list[Attempt]:
    """Return how each connection ended, in the order of ``jobs``.

    ``connect_timeout`` are the seconds within which a connection to one address has to stand, and its query has to be
    answered. Raises TlsError when an OS user's process cannot be started.
    """
    found: dict[int, Attempt] = {}
    for account in dict.fromkeys(job.account for job in jobs):  # one after the other: AT_ONCE is for the host
        own = {number: job for number, job in enumerate(jobs) if job.account == account}
        work = functools.partial(_attempt_own, library, own, connect_timeout)
        ended = children.run_as(account, work, connect_timeout + silence)
        lost = f"the process that connects as OS user {account.name} {ended.fault or 'did not try it'}"
        found.update(dict.fromkeys(own, Attempt(None, lost)))
        found.update({number: _received(*attempt) for number, *attempt in ended.sent})
    return [found[number] for number in range(len(jobs))]


def _attempt_own(library: libpq.Library, jobs: Mapping[int, Job], seconds: float, send: children.Send) -> None:
    """Try the connections of one OS user; runs in its process."""
    clock = Clock()
    client = Client(library, clock, seconds)
    for is_replication, at_once in ((False, AT_ONCE), (True, REPLICATION_AT_ONCE)):
        own = [(number, job) for number, job in jobs.items() if ("replication" in job.parameters) == is_replication]
        Loop(clock, send, at_once).run((number, client.converse(job)) for number, job in own)


def _received(session: Sequence[Any] | None, *others: Any) -> Attempt:
    return Attempt(verdicts.Session(*session) if session is not None else None, *others)
