# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leads each connection to the leader of a Patroni cluster, as HAProxy does that asks Patroni which member that is.

Usage: relay.py MEMBER... Each second it asks every member; without a leader it closes connections at once. A leader
that gives no answer leads until another member does, or until it has given none several times: machines are slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

PORT, API_PORT = 5432, 8008
INTERVAL = 1.0  # seconds between two questions
PATIENCE = 2.0  # seconds for an answer
FALL = 5  # questions without an answer
UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE


class Relay:
    """Where connections are led to now, and those that stand."""

    def __init__(self, members: list[str]) -> None:
        self.members, self.leader, self.silent = members, "", 0

    async def follow(self) -> None:
        """Ask the members for ever."""
        while True:
            answers = dict(zip(self.members, await asyncio.gather(*map(_is_leader, self.members))))
            leaders = [one for one, leads in answers.items() if leads]
            self.silent = self.silent + 1 if answers.get(self.leader, False) is None else 0
            if leaders or not 0 < self.silent < FALL:
                self._move(leaders[0] if leaders else "")
            await asyncio.sleep(INTERVAL)

    def _move(self, leader: str) -> None:
        if leader != self.leader:
            print(f"from {self.leader or 'nobody'} to {leader or 'nobody'}", flush=True)
        self.leader = leader

    async def lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client with the leader, until one of them ends that."""
        with contextlib.suppress(OSError):
            if self.leader:
                there = await asyncio.open_connection(self.leader, PORT)
                ways = _pump(reader, there[1]), _pump(there[0], writer)
                await asyncio.wait([asyncio.ensure_future(one) for one in ways])
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    writer.close()


async def _is_leader(member: str) -> bool | None:
    """Return what the REST API of a member says, None for nothing. It may have a certificate, which nobody verifies."""
    for context in (None, UNVERIFIED):
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            answer = await asyncio.wait_for(_answer(member, context), PATIENCE)
            if answer:
                return answer.split()[1:2] == [b"200"]
    return None


async def _answer(member: str, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(member, API_PORT, ssl=context)
    try:
        writer.write(f"GET /primary HTTP/1.0\r\nHost: {member}\r\n\r\n".encode())
        return await reader.read()  # all of it, or Patroni's log tells of a broken pipe
    finally:
        writer.close()


async def main(members: list[str]) -> None:
    """Serve until somebody ends this."""
    relay = Relay(members)
    server = await asyncio.start_server(relay.lead, "0.0.0.0", PORT)  # noqa: S104 (a container)
    async with server:
        await relay.follow()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
