# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that a server's certificate carries: DNS names and IP addresses."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

# Bytes of all names of a certificate: OpenSSL's clients take no chain of more than 100 KiB
_LARGEST = 64 * 1024
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Name(NamedTuple):
    """One subject alternative name: ``kind`` is ``dns`` or ``ip``, ``value`` its canonical text."""

    kind: str
    value: str


def packed_address(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an IP address or None when ``text`` is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return None


def unpacked_address(packed: bytes) -> str:
    """Return the canonical text of 4 or 16 address bytes."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def parse(text: object, option: str) -> Name:
    """Return the name that ``text`` writes: lower case, without a closing dot; addresses in canonical form.

    A leading ``*.`` is a wildcard for exactly one label, as libpq matches it. Raises TlsError, naming ``option``,
    for anything that is neither a DNS name (RFC 1123) nor an IP address.
    """
    written = text if isinstance(text, str) else ""
    packed = packed_address(written)
    if packed is not None:
        return Name("ip", unpacked_address(packed))
    value = written.lower()
    value = value[:-1] if value.endswith(".") else value
    labels = value.split(".")
    checked = labels[1:] if labels[0] == "*" and len(labels) > 2 else labels
    all_digits = labels[-1].isdigit()  # such a name would be read as a (wrong) IPv4 address
    # Lower case makes ASCII letters of some others, such as the sign for kelvin.
    if not written.isascii() or len(value) > 253 or all_digits or not all(_LABEL.fullmatch(label) for label in checked):
        raise TlsError(
            f"{option}: {shown(text)} is neither a DNS name nor an IP address. Expected labels of up to 63 "
            "letters, digits and hyphens joined by dots (internationalised names in their xn-- form), or an address."
        )
    return Name("dns", value)


def refuse_port(port: int, option: str) -> None:
    """Raise TlsError, naming ``option``, for a number that is no TCP port."""
    if not 1 <= port <= 65535:
        raise TlsError(f"{option}: found {shown(port)}, expected a TCP port, 1 to 65535.")


def parse_all(texts: object, option: str) -> list[Name]:
    """Return the names of a list in its order, without duplicates.

    Raises TlsError when it is empty or no list, or too long for one certificate.
    """
    if not isinstance(texts, (list, tuple)) or not texts:
        raise TlsError(
            f"{option}: no names were given. A server's certificate needs at least one DNS name or IP address."
        )
    found = list(dict.fromkeys(parse(text, option) for text in texts))
    size = sum(len(name.value) for name in found)
    if size > _LARGEST:
        raise TlsError(
            f"{option}: {len(found)} names of together {size} characters do not fit into one certificate; expected at "
            f"most {_LARGEST} characters, or clients would refuse it as too long. Leave some out, or use a wildcard."
        )
    return found
