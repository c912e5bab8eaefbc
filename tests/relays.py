# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An address that leads to one server after the other, as an alias or a virtual address does that moves."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Forwards connections to the first of ``targets``, and behind ``moves_after`` connections to the second."""

    def __init__(self, targets: list[tuple[str, int]], address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.targets = targets
        self.moves_after: int | None = None
        self.led_to: list[int] = []
        self._listener = socket.create_server(address)

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self._listener.getsockname()[1])

    @contextlib.contextmanager
    def leading(self) -> Iterator[Relay]:
        """Forward connections for as long as the context lasts."""
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = self._listener.accept()
                node = int(self.moves_after is not None and len(self.led_to) >= self.moves_after)
                self.led_to.append(node)
                threading.Thread(target=_forward, args=(peer, self.targets[node]), daemon=True).start()


def _forward(peer: socket.socket, target: tuple[str, int]) -> None:
    with peer, socket.create_connection(target) as server, contextlib.suppress(OSError):
        ways = {peer: server, server: peer}
        while True:
            for one in select.select(list(ways), [], [])[0]:
                content = one.recv(65536)
                if not content:
                    return
                ways[one].sendall(content)
