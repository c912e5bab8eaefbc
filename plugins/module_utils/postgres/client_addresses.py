# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an identity may connect from: ``address`` of an identity, as rules of pg_hba.conf have it."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import rule
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address, unpacked_address

EVERYWHERE = "all"  # as a rule says it
_BOTH_FAMILIES = frozenset(("0.0.0.0/0", "::/0"))
SELF = "self"  # the client host: the controller replaces it by its address
SAME_HOST = "samehost"  # the machine of the server, as a rule says it; the controller alone sets it
_MAPPED = bytes(10) + b"\xff\xff"  # how IPv6 writes an IPv4 address


def written(identity: Mapping[str, Any], source: str, word: str = SELF) -> list[str]:
    """Return the networks that ``address`` of an identity names, none if it has no ``address``.

    ``word`` stays as it is. Raises TlsError, naming ``source``.
    """
    value = identity.get("address")
    otherwise = "Leave address out if the identity may connect from every address."
    return [] if value is None else listed(value, f"{source}.address", otherwise, word)


def listed(value: object, option: str, otherwise: str, word: str = SELF) -> list[str]:
    """Return the networks that a value names, one or a list. Raises TlsError, naming ``option``.

    ``otherwise`` is what to do about an empty list.
    """
    texts = list(value) if isinstance(value, (list, tuple)) else [value]
    if not texts:
        raise TlsError(
            f"{option}: found an empty list, expected {_FORMS}.", remedy=otherwise, code="client_address_invalid"
        )
    return list(dict.fromkeys(word if one == word else network(one, option) for one in texts))


def places(identity: Mapping[str, Any], source: str) -> list[str]:
    """Return where an identity may connect from, as rules say it, once nothing is ``self``. Raises TlsError."""
    return written(identity, source, SAME_HOST) or [EVERYWHERE]


_FORMS = f"{SELF}, an IP address, or a network such as 10.0.0.0/24"


def network(text: object, source: str) -> str:
    """Return an address or a network in canonical form, with its bits. Raises TlsError, naming ``source``."""
    start, slash, bits = text.partition("/") if isinstance(text, str) else ("", "", "")
    packed = packed_address(start)
    size = len(packed) * 8 if packed else 0
    length = (int(bits) if bits.isascii() and bits.isdigit() else -1) if slash else size
    if packed is None or not 0 <= length <= size:
        raise TlsError(f"{source}: found {shown(text)}, expected {_FORMS}.", code="client_address_invalid")
    if packed.startswith(_MAPPED) and len(packed) == 16 and length >= 96:
        raise TlsError(
            f"{source}: {shown(text)} is an IPv4 address in the form of IPv6. PostgreSQL never sees a client with it.",
            remedy=f"Write {unpacked_address(packed[12:])}/{length - 96}.",
            code="client_address_mapped",
        )
    number = int.from_bytes(packed, "big")
    rest = number & ((1 << (size - length)) - 1)
    first = unpacked_address((number - rest).to_bytes(size // 8, "big"))
    if rest:
        raise TlsError(
            f"{source}: {shown(text)} is no network, because {start} has bits beyond the first {length}.",
            remedy=f"Write {first}/{length} for the network, or {unpacked_address(packed)} for the address alone.",
            code="client_address_host_bits",
        )
    return f"{first}/{length}"


def in_order(networks: Iterable[str]) -> list[str]:
    """Return places, each once: everywhere first, then those of IPv4."""
    return sorted(set(networks), key=lambda one: (one != EVERYWHERE, one == SAME_HOST, ":" in one, one))


def needed(networks: Iterable[str], beside: Iterable[str] = ()) -> list[str]:
    """Return places in their order, without those that another one, or one of ``beside``, has in it."""
    own, others = in_order(networks), frozenset(beside)
    own = [EVERYWHERE] if _BOTH_FAMILIES.issubset(own) else own
    known = {one: rule.network(one) for one in (*own, *others)}
    wide = {one for one in known.values() if one is not None}
    masks = {(one.size, one.mask) for one in wide}  # few, where the networks may be thousands
    return [
        one
        for one in own
        if one not in others
        and (one == EVERYWHERE or EVERYWHERE not in known)
        and not any(around in wide for around in _around(known[one], masks))
    ]


def _around(inner: rule.Network | None, masks: Iterable[tuple[int, int]]) -> Iterator[rule.Network]:
    """Return the networks with one of these masks that have a network in them, without itself."""
    for size, mask in masks:
        if inner is not None and size == inner.size and mask != inner.mask and mask & ~inner.mask == 0:
            yield rule.Network(size, inner.start & mask, mask)
