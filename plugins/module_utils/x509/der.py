# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DER of RFC 5280, as far as certificates and lists of revoked certificates have it in common.

What is written here is the little that a truststore needs.
"""

from __future__ import annotations

import calendar
import re
from typing import Iterator, NamedTuple, Sequence

AUTHORITY_KEY_ID = "2.5.29.35"
_COMMON_NAME = "2.5.4.3"
_SHORT = {_COMMON_NAME: "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU"}
_SHORT.update({"0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress"})


class Value(NamedTuple):
    """A value: its tag, what is in it, and all of its bytes."""

    tag: int
    body: bytes
    whole: bytes


def read(data: bytes, start: int = 0) -> tuple[Value, int]:
    """Return the DER value at ``start`` and the position behind it. Raises ValueError or IndexError."""
    tag, length, at = data[start], data[start + 1], start + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("length not in DER")
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    end = at + length
    if end > len(data):
        raise ValueError("truncated")
    return Value(tag, data[at:end], data[start:end]), end


def read_all(body: bytes) -> Iterator[Value]:
    """Return the values that stand one after the other in ``body``. Raises ValueError or IndexError."""
    at = 0
    while at < len(body):
        value, at = read(body, at)
        yield value


def value(tag: int, *parts: bytes) -> bytes:
    """Return the DER value of a tag and what is in it."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def object_identifier(dotted: str) -> bytes:
    """Return the DER value of an object identifier in dotted form."""
    first, second, *rest = map(int, dotted.split("."))
    body: list[int] = []
    for number in (40 * first + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        body += reversed(digits)
    return value(0x06, bytes(body))


def oid(body: bytes) -> str:
    """Return an object identifier in dotted form."""
    numbers, number = [], 0
    for byte in body:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(part) for part in [first, numbers[0] - 40 * first, *numbers[1:]])


def moment(value: Value) -> int:
    """Return Unix seconds of a UTCTime (two-digit years, RFC 5280: 1950 to 2049) or GeneralizedTime."""
    text = value.body.decode("ascii")
    if value.tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    if not re.fullmatch(r"[0-9]{14}Z", text):
        raise ValueError("time not in UTC")
    year, rest = int(text[:4]), [int(text[at : at + 2]) for at in range(4, 14, 2)]
    return calendar.timegm((year, *rest, 0, 0, 0))


def common_name(name: bytes) -> str:
    """Return the common name in a distinguished name, '' when it has none."""
    for relative in read_all(read(name)[0].body):
        for attribute in read_all(relative.body):
            kind, text = read_all(attribute.body)
            if oid(kind.body) == _COMMON_NAME:
                return text.body.decode("utf-16-be" if text.tag == 0x1E else "utf-8")
    return ""


def in_words(name: bytes) -> str:
    """Return a distinguished name as OpenSSL writes it, its most general part first, for people to read."""
    parts = []
    for relative in read_all(read(name)[0].body):
        for attribute in read_all(relative.body):
            kind, text = read_all(attribute.body)
            value = text.body.decode("utf-16-be" if text.tag == 0x1E else "utf-8", "replace")
            parts.append(f"{_SHORT.get(oid(kind.body), oid(kind.body))}={value}")
    return ", ".join(parts)


def extensions(fields: Sequence[Value], tag: int) -> dict[str, bytes]:
    """Return the extensions among ``fields``, which stand in the one with ``tag``, by their object identifiers."""
    found = {}
    for field in fields:
        if field.tag == tag:
            for extension in read_all(read(field.body)[0].body):
                parts = list(read_all(extension.body))
                found[oid(parts[0].body)] = parts[-1].body
    return found


def authority_key_id(extension: bytes | None) -> str:
    """Return the key identifier of an issuer in hexadecimal, '' when there is none."""
    for value in read_all(read(extension)[0].body) if extension else ():
        if value.tag == 0x80:
            return value.body.hex()
    return ""
