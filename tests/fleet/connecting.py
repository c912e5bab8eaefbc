# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects again and again from a container, by libpq and as whoever runs this, for as long as there is the file GO.

Run by ``python3 - GO CONNINFO...``: for each connection string a process with a loop of new connections, and one
session that stays. Prints a line of JSON for each: what it was, how often each outcome was seen ('' is success), the
numbers of the first attempt that failed and of the last one that did not, and the longest time in seconds from one
success to the next.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

LONGEST_WATCH = 1500.0  # seconds, should nobody remove the file
# Connections of each loop, also where the file is gone before
LEAST_CONNECTIONS = int(os.environ.get("LEAST_CONNECTIONS", "560"))
PAUSE = 0.6  # seconds between two connections: the fleet runs on few cores
OK, TUPLES_OK = 0, 2  # of libpq's ConnStatusType and ExecStatusType


class Libpq:
    """What is needed of libpq."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libpq.so.5")
        for name in ("PQconnectdb", "PQexec"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.library.PQerrorMessage.restype = ctypes.c_char_p

    def connect(self, conninfo: str) -> tuple[ctypes.c_void_p, str]:
        """Return a connection, and why it does not stand ('': it does)."""
        connection = ctypes.c_void_p(self.library.PQconnectdb(conninfo.encode()))
        return connection, "" if self.library.PQstatus(connection) == OK else self.error(connection)

    def ask(self, connection: ctypes.c_void_p) -> str:
        """Return why a query was not answered, '' when it was."""
        result = ctypes.c_void_p(self.library.PQexec(connection, b"SELECT 1"))
        is_answered = self.library.PQresultStatus(result) == TUPLES_OK
        self.library.PQclear(result)
        return "" if is_answered else self.error(connection) or "no answer"

    def error(self, connection: ctypes.c_void_p) -> str:
        message: bytes = self.library.PQerrorMessage(connection)
        return message.decode("utf-8", "replace").strip()


class Seen:
    """What became of the attempts of one loop."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first_fault = self.last_success = 0
        self.longest_gap, self._succeeded_at = 0.0, time.monotonic()

    def note(self, fault: str) -> None:
        """Count an attempt."""
        self.counts[fault] = self.counts.get(fault, 0) + 1
        number = sum(self.counts.values())
        if not fault:
            self.last_success = number
            now = time.monotonic()
            self.longest_gap, self._succeeded_at = max(self.longest_gap, now - self._succeeded_at), now
        elif not self.first_fault:
            self.first_fault = number


def again_and_again(libpq: Libpq, conninfo: str, go: str) -> Seen:
    """Make a new connection each time."""
    seen = Seen()
    while goes_on(go) or sum(seen.counts.values()) < LEAST_CONNECTIONS:
        connection, fault = libpq.connect(conninfo)
        seen.note(fault or libpq.ask(connection))
        libpq.library.PQfinish(connection)
        time.sleep(PAUSE)
    return seen


def for_long(libpq: Libpq, conninfo: str, go: str) -> Seen:
    """Keep one session and use it until it ends."""
    seen = Seen()
    connection, fault = libpq.connect(conninfo)
    while goes_on(go) and not fault:
        fault = libpq.ask(connection)
        seen.note(fault)
        time.sleep(0.5)
    if fault and not seen.counts:
        seen.note(fault)
    return seen


def goes_on(go: str) -> bool:
    return os.path.exists(go) and time.monotonic() - BEGAN < LONGEST_WATCH


BEGAN = time.monotonic()


def main(go: str, *conninfos: str) -> None:
    """Run all loops, each in a process of its own."""
    libpq, children = Libpq(), []
    for conninfo in conninfos:
        for kind, work in (("loop", again_and_again), ("session", for_long)):
            child = os.fork()
            if child == 0:
                line = {"kind": kind, "conninfo": conninfo, **vars(work(libpq, conninfo, go))}
                os.write(1, (json.dumps(line) + "\n").encode())  # whole: others write, too
                os._exit(0)
            children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
