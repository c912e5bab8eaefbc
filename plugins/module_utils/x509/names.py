# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that a server's certificate carries: DNS names and IP addresses."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

# Bytes of all names of a certificate: OpenSSL's clients take no chain of more than 100 KiB
_LARGEST = 64 * 1024
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
LONGEST_COMMON_NAME = 64  # characters (RFC 5280, ub-common-name)
_NAMED = 3  # names that a warning lists


class Name(NamedTuple):
    """One subject alternative name: ``kind`` is ``dns`` or ``ip``, ``value`` its canonical text."""

    kind: str
    value: str


def common_name(found: Sequence[Name]) -> str:
    """Return the common name for a server's names: the first that it can hold (64 characters, RFC 5280), '' for none.

    Clients read the alternative names, and people this one. Of a server that has only addresses for names it is more:
    libpq before 15 compares an address with the common name and nothing else. It never is a name beside the others.
    """
    return next((name.value for name in found if len(name.value) <= LONGEST_COMMON_NAME), "")


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


def covers(found: Sequence[Name], wanted: Name) -> bool:
    """Return whether a certificate's names cover a name; a wildcard stands for exactly one label."""
    _label, _dot, parent = wanted.value.partition(".")
    return wanted in found or (wanted.kind == "dns" and Name("dns", f"*.{parent}") in found)


def covers_host(found: Sequence[Name], host: str) -> bool:
    """Return whether a certificate's names cover a host as a client writes it: a name or an address."""
    packed = packed_address(host)
    if packed is not None:
        return covers(found, Name("ip", unpacked_address(packed)))
    return covers(found, Name("dns", host.lower().rstrip(".")))


def parse(text: object, option: str) -> Name:
    """Return the name that ``text`` writes: lower case, without a closing dot; addresses in canonical form.

    A leading ``*.`` is a wildcard for exactly one label, as libpq matches it. Labels may have underscores, which RFC
    1123 does not know, but libpq and OpenSSL take: see ``underscored``. Raises TlsError, naming ``option``, for
    anything else that is neither a DNS name nor an IP address.
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
            f"{option}: {shown(text)} is neither a DNS name nor an IP address. Expected labels of up to 63 letters, "
            "digits, hyphens and underscores joined by dots (internationalised names in their xn-- form), or an "
            "address.",
            code="server_name_invalid",
        )
    if "_" in value and checked is not labels:
        raise TlsError(
            f"{option}: {shown(text)} is a wildcard with an underscore. OpenSSL matches it with no name.",
            remedy="List the names themselves.",
            code="wildcard_with_underscore",
        )
    return Name("dns", value)


def underscored(names: Sequence[Name], option: str) -> list[str]:
    """Return a warning of the names with an underscore among ``names``, which some programs refuse.

    ``option`` is where other names can be added.
    """
    found = [name.value for name in names if "_" in name.value]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    warning = (
        f"{', '.join(found[:_NAMED])}{more}: host names have no underscores (RFC 1123). libpq, pgjdbc and "
        "OpenSSL accept them. Java's own check of host names refuses them, and public CAs issue no certificate for "
        f"them. If a program refuses such a name, add another one to {option} and connect by that."
    )
    return [warning] if found else []


def refuse_port(port: int, option: str) -> None:
    """Raise TlsError, naming ``option``, for a number that is no TCP port."""
    if not 1 <= port <= 65535:
        raise TlsError(f"{option}: found {shown(port)}, expected a TCP port, 1 to 65535.", code="port_out_of_range")


def parse_all(texts: object, option: str) -> list[Name]:
    """Return the names of a list in its order, without duplicates.

    Raises TlsError when it is empty or no list, or too long for one certificate.
    """
    if not isinstance(texts, (list, tuple)) or not texts:
        raise TlsError(
            f"{option}: no names were given. A server's certificate needs at least one DNS name or IP address.",
            code="names_missing",
        )
    found = list(dict.fromkeys(parse(text, option) for text in texts))
    size = sum(len(name.value) for name in found)
    if size > _LARGEST:
        raise TlsError(
            f"{option}: {len(found)} names with {size} characters in total do not fit into one certificate; expected "
            f"at most {_LARGEST} characters, or clients would refuse it as too long.",
            remedy="Leave some out, or use a wildcard.",
            code="names_too_long",
        )
    return found
