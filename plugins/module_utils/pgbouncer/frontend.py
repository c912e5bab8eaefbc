# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer as its clients see it: the certificate that it shows at each of its TCP addresses."""

from __future__ import annotations

import socket
from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

_ANY = {"*": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104 (nothing listens here)
_LOOPBACK = ("127.", "::1")
_DISCARD = 9  # any port


class Frontend:
    """Connects to one PgBouncer as clients do.

    It may listen at an address that moves between hosts. While that is at another host, the PgBouncer there answers, so
    an address counts only where it is an address of this host.
    """

    def __init__(self, config: Mapping[str, str], port: int, pair: tuple[str, str]) -> None:
        """Take a client's certificate and key (paths): a mode may demand one of whoever wants to look."""
        self.port = port
        self.pair = pair
        said = [one.strip() for one in config.get("listen_addr", "").split(",") if one.strip()]
        found = [address for one in said for address in _ANY.get(one) or _own(one)]
        self.listening = sorted(dict.fromkeys(found), key=lambda address: not address.startswith(_LOOPBACK))

    def served(self) -> str:
        """Return the fingerprint of the leaf that clients see, '' where none of its addresses offers TLS."""
        return next((leaf for leaf in map(self.shown, self.listening) if leaf is not None), "")

    def is_silent(self) -> bool:
        """Return whether none of its addresses answers, so nobody can see what clients are shown."""
        return all(self.shown(address) is None for address in self.listening)

    def addresses(self, names: Sequence[Name]) -> list[str]:
        """Return where it listens, and the addresses of this host that names lead to: by them it can reach itself."""
        found = list(self.listening)
        for name in names:
            found += [] if name.value.startswith("*") else _own(name.value)
        return list(dict.fromkeys(found))

    def shown(self, address: str) -> str | None:
        """Return the fingerprint of the leaf at an address, '' without TLS, None where nobody answers."""
        context = wire.observing_context(*self.pair)
        try:
            return wire.observe(wire.Endpoint(address, self.port), context).leaf.sha256
        except TlsError as error:
            return None if error.code == "connection_failed" else ""


def is_of_this_host(address: str) -> bool:
    """Return whether an IP address is one of this host now; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as bound, socket.socket(family, socket.SOCK_DGRAM) as free:
            bound.bind((address, 0))
            # With ip_nonlocal_bind any address can be bound. Then IPv4 refuses this, and IPv6 takes another source. The
            # source of IPv4 says nothing: for a second address of a network it is the first one.
            bound.connect((address, _DISCARD))
            free.connect((address, _DISCARD))
            return family == socket.AF_INET or _bare(free.getsockname()[0]) == _bare(address)
    except OSError:
        return False


def _own(host: str) -> list[str]:
    """Return the addresses of this host that a name or an address leads to."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [address for address in (str(info[4][0]) for info in infos) if is_of_this_host(address)]


def _bare(address: str) -> str:
    return address.partition("%")[0]
