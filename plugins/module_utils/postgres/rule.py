# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of pg_hba.conf, taken apart as PostgreSQL's parse_hba_line does it, versions 13 to 19.

An address has a mask, behind a slash or in a field of its own, so it decides where the method is. What the C library
of the server takes for an address is one, such as 10.1 for 10.0.0.1; any other word is the name of a host.
"""

from __future__ import annotations

import re
import socket
from typing import Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import TYPES, Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

ALL = Token("all", quoted=False)
ADDRESS_WORDS = ("all", "samehost", "samenet")
NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")  # as C's strtol reads it
_LONGEST_ZONE = 15  # IFNAMSIZ - 1


class Network(NamedTuple):
    """Addresses of ``size`` bits that are as ``start`` where ``mask`` has its bits; a mask may have gaps."""

    size: int
    start: int
    mask: int

    def holds(self, packed: bytes) -> bool:
        """Return whether an address is in the network; IPv4 and IPv6 never meet."""
        return len(packed) * 8 == self.size and (_number(packed) ^ self.start) & self.mask == 0

    def has_all(self, other: Network) -> bool | None:
        """Return whether all addresses of another network are in this one; None: only some are, or may be."""
        if self.size != other.size or (self.start ^ other.start) & self.mask & other.mask:
            return False
        return True if self.mask & ~other.mask == 0 else None


class Rule(NamedTuple):
    """A line taken apart; for a line that the server refuses, as far as it can be read.

    ``address`` is None on the socket. It is a word (``ADDRESS_WORDS``), or stands for a ``network`` or a ``host``;
    without any of them its mask is missing or wrong. ``method_at``: the index of the method's field. ``is_sound``:
    nothing up to the method is missing or too much; whether the server knows the method and its options is not told.
    """

    file: str
    line: Line
    kind: str
    databases: Sequence[Token]
    users: Sequence[Token]
    address: Token | None
    network: Network | None
    host: str | None
    method_at: int
    method: str
    options: Mapping[str, str]
    is_sound: bool

    @property
    def clientcert(self) -> str:
        """What it demands of the client's certificate: verify-full, verify-ca, or '' for nothing."""
        if self.method == "cert":
            return "verify-full"
        value = self.options.get("clientcert", "")
        return {"1": "verify-ca", "0": "", "no-verify": ""}.get(value, value)  # the spellings of versions up to 13


def read(line: Line, file: str = "pg_hba.conf", *, elsewhere: bool = False) -> Rule:
    """Return the rule of a line.

    ``elsewhere``: for a server whose network interfaces are not those of this host. A zone (fe80::1%eth0) that could
    be one there counts as one where nothing else makes a rule of the line.
    """
    fields = line.fields
    kind = fields[0][0].text if fields else ""
    is_local = kind == "local"
    address = None if is_local or len(fields) < 4 else fields[3][0]
    mask = fields[4][0].text if len(fields) > 4 else ""
    network, host, at = (None, None, 3) if is_local else _place(address, mask, elsewhere)
    has_place = is_local or network is not None or host is not None or is_word(address)
    parts = [*fields[:1], *fields[3 : at + 1]]  # which take one word
    return Rule(
        file,
        line,
        kind,
        databases=fields[1] if len(fields) > 1 else (),
        users=fields[2] if len(fields) > 2 else (),
        address=address,
        network=network,
        host=host,
        method_at=at,
        method=fields[at][0].text if len(fields) > at else "",
        options=_options(fields[at + 1 :]),
        is_sound=not line.error
        and kind in TYPES
        and has_place
        and len(fields) > at
        and all(len(field) == 1 for field in parts),
    )


def read_all(lines: Iterable[Line]) -> Iterator[Rule]:
    """Yield the rules of a text that is for any host."""
    return (read(line, elsewhere=True) for line in lines)


def is_word(address: Token | None) -> bool:
    """Return whether an address is a word with a meaning, and neither a network nor a host."""
    return address is not None and not address.quoted and address.text in ADDRESS_WORDS


def numeric(text: str) -> bytes | None:
    """Return the bytes of what the C library of this host takes for an address, None for a name."""
    if not (":" in text or text[:1].isdigit()):  # most names: nobody needs to be asked
        return None
    packed = packed_address(text)
    if packed is not None:
        return packed
    name = text.encode("utf-8", "surrogateescape")
    try:
        found = socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return None
    return without_zone(str(found[0][4][0]))


def without_zone(text: str) -> bytes | None:
    """Return the bytes of an address whose zone does not count, None for what is no address."""
    return packed_address(text.partition("%")[0])


def network(text: str) -> Network | None:
    """Return what ADDRESS/BITS stands for, None for what the server does not take."""
    start, _slash, bits = text.partition("/")
    packed = numeric(start)
    return None if packed is None else _network(packed, _mask_of(bits, len(packed) * 8))


def _place(address: Token | None, mask: str, elsewhere: bool) -> tuple[Network | None, str | None, int]:
    """Return what an address stands for, as network or as host, and where the method is.

    ``mask`` is the first word of the field behind it.
    """
    if address is None or is_word(address):
        return None, None, 4
    start, slash, bits = address.text.partition("/")
    packed = numeric(start)
    if packed is None and elsewhere and (slash or numeric(mask) is not None):
        packed = _with_zone(start)
    if packed is None:
        return None, None if slash else start, 4
    if slash:
        return _network(packed, _mask_of(bits, len(packed) * 8)), None, 4
    packed_mask = numeric(mask)
    fits = packed_mask is not None and len(packed_mask) == len(packed)
    return _network(packed, _number(packed_mask) if packed_mask and fits else None), None, 5


def _with_zone(text: str) -> bytes | None:
    """Return the bytes of an address that has a name behind a %: only link-local ones can have one."""
    packed, zone = without_zone(text), text.partition("%")[2]
    if packed is None or len(packed) != 16 or not 0 < len(zone) <= _LONGEST_ZONE:
        return None
    is_unicast, is_multicast = packed[0] == 0xFE and packed[1] >> 6 == 2, packed[0] == 0xFF and packed[1] & 15 == 2
    return packed if is_unicast or is_multicast else None


def _mask_of(bits: str, size: int) -> int | None:
    found = NUMBER.fullmatch(bits)
    length = int(found.group(1)[:30]) if found else -1
    return ((1 << size) - 1) ^ ((1 << (size - length)) - 1) if 0 <= length <= size else None


def _network(packed: bytes, mask: int | None) -> Network | None:
    return None if mask is None else Network(len(packed) * 8, _number(packed) & mask, mask)


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "big")


def _options(fields: Iterable[Sequence[Token]]) -> dict[str, str]:
    words = (token.text.partition("=") for field in fields for token in field)
    return {name: value for name, _equals, value in words}
