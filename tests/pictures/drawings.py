# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the documentation: what draws each of them, and what a screenshot was taken of.

``make pictures`` draws them anew.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import zlib
from collections import Counter
from collections.abc import Callable

from ansible_collections.pgops.tls.plugins.module_utils.report import connections, fleet_graph, style, svg, timeline
from ansible_collections.pgops.tls.tests.pictures import diagrams, example
from ansible_collections.pgops.tls.tests.shared import ROOT

IMAGES = ROOT / "docs" / "docsite" / "images"
_HEAD = 33  # bytes of a PNG before its second part
_KEY = b"Source\0"


def with_source(picture: bytes, page: str) -> bytes:
    """Return a PNG that says which page it was taken of."""
    part = _part(b"tEXt", _KEY + hashlib.sha256(page.encode()).hexdigest().encode())
    return picture[:_HEAD] + part + picture[_HEAD:]


def small(picture: bytes) -> bytes:
    """Return a PNG of a screen (8 bits, RGB) with at most 256 colors, those that it has most of."""
    width = int.from_bytes(picture[16:20], "big")
    lines = _lines(picture, width * 3)
    pixels = [[bytes(line[at : at + 3]) for at in range(0, width * 3, 3)] for line in lines]
    palette = [color for color, _count in Counter(itertools.chain(*pixels)).most_common(256)]
    numbers = {color: number for number, color in enumerate(palette)}

    @functools.lru_cache(maxsize=None)
    def nearest(color: bytes) -> int:
        found = color if color in numbers else min(palette, key=lambda one: _distance(one, color))
        return numbers[found]

    rows = (b"\0" + bytes(map(nearest, line)) for line in pixels)
    head = picture[16:24] + bytes((8, 3, 0, 0, 0))
    parts = ((b"IHDR", head), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    return picture[:8] + b"".join(_part(name, inside) for name, inside in parts)


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other))


def _lines(picture: bytes, length: int) -> list[bytearray]:
    """Return the lines of a PNG (8 bits, RGB) without its filters."""
    assert picture[24:29] == bytes((8, 2, 0, 0, 0)), "it is not RGB"
    at, packed = 8, b""
    while at < len(picture):
        size, name = int.from_bytes(picture[at : at + 4], "big"), picture[at + 4 : at + 8]
        packed += picture[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += size + 12
    raw, found, before = zlib.decompress(packed), [], bytearray(length)
    for start in range(0, len(raw), length + 1):
        line = bytearray(raw[start + 1 : start + 1 + length])
        kind = raw[start]
        for number in range(length) if kind else ():
            left, corner = (line[number - 3], before[number - 3]) if number > 2 else (0, 0)
            line[number] = (line[number] + _predicted(kind, left, before[number], corner)) & 255
        found.append(line)
        before = line
    return found


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:  # Paeth's
        return min((left, up, corner), key=lambda one: abs(left + up - corner - one))
    return (0, left, up, (left + up) // 2)[kind]


def _part(name: bytes, inside: bytes) -> bytes:
    return len(inside).to_bytes(4, "big") + name + inside + zlib.crc32(name + inside).to_bytes(4, "big")


def source_of(picture: bytes) -> str:
    """Return what says which page a PNG was taken of, '' if nothing does."""
    _before, found, after = picture.partition(_KEY)
    return after[:64].decode("ascii") if found else ""


def graph() -> str:
    """Return the graph of the example's report."""
    data = example.data()
    return svg.as_file(fleet_graph.drawn(data, connections.edges(data)), style.FILE)


def ends() -> str:
    """Return the timeline of the example's report."""
    return svg.as_file(timeline.drawn(example.data()), style.FILE)


def run() -> str:
    """Return the flow of a run."""
    return svg.as_file(diagrams.flow_of_a_run(), style.FILE + diagrams.STYLE)


def transaction() -> str:
    """Return a server's transaction."""
    return svg.as_file(diagrams.transaction(), style.FILE + diagrams.STYLE)


PICTURES: dict[str, Callable[[], str]] = {
    "fleet.svg": graph,
    "timeline.svg": ends,
    "run.svg": run,
    "transaction.svg": transaction,
}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
