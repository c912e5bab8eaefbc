# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends when, as a picture: days, months and years beside each other, so the axis is logarithmic."""

from __future__ import annotations

import math
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, headline, lists, svg

MOST = 40  # rows; with more, certificates that are alike are one row
WIDTH = 960
_LEFT, _RIGHT, _TOP, _ROW = 300, 808, 34, 22  # where the axis is, where the first row is, the height of a row
_LABEL = 40  # characters
_DATE = 10  # characters of a moment, which are its date
_TICKS = {
    0: "now", 7: "1 week", 30: "1 month", 90: "3 months", 365: "1 year", 1095: "3 years", 3650: "10 years",
    10950: "30 years",
}  # fmt: skip
ROOT, ISSUING, CRL, CERTIFICATE, KIT = "root", "issuing", "crl", "certificate", "kit"
WORDS = {
    CERTIFICATE: "certificate",
    KIT: "kit",
    CRL: "revocation list",
    ISSUING: "issuing CA",
    ROOT: "root",
}


class Item(NamedTuple):
    """Something that ends. ``renewal``: when runs renew it, '' if that is unknown. ``of``: what its group is called."""

    kind: str
    label: str
    end: str
    renewal: str
    is_late: bool
    cluster: str | None
    of: str = ""


def items(data: Mapping[str, Any]) -> list[Item]:
    """Return what ends, the first to end at the head; of a large fleet, what is alike together."""
    now = clock.seconds(data["time"])
    single = [*_certificates(data, now), *_authorities(data, now)]
    ways: tuple[Callable[[Item], str], ...] = (lambda one: one.end[:_DATE], lambda _one: "")
    found = single
    for when in ways:
        if len(found) > MOST:
            found = _grouped(single, when)
    return sorted(found, key=lambda one: (one.end, one.label))


def _grouped(single: Sequence[Item], when: Callable[[Item], str]) -> list[Item]:
    """Return one item for those of one kind and cluster that end at the same time: the first of them to end."""
    groups: dict[tuple[object, ...], list[Item]] = {}
    for one in single:
        groups.setdefault((one.kind, one.of, one.cluster, one.is_late, when(one)), []).append(one)
    found = []
    for group in groups.values():
        first = min(group)._replace(end=min(one.end for one in group))
        renewal = min((one.renewal for one in group if one.renewal), default="")
        label = f"{len(group)} {first.of}" + (f" of {first.cluster}" if first.cluster else "")
        found.append(first if len(group) == 1 else first._replace(label=label, renewal=renewal))
    return found


def _certificates(data: Mapping[str, Any], now: int) -> Iterator[Item]:
    for one in facts.certificates(data):
        if one["not_after"]:
            kind = KIT if one["kind"] == KIT else CERTIFICATE
            label = f"{'kit ' if kind == KIT else ''}{one['host']} {one['id']}".strip()
            cluster = facts.cluster(one) if one["kind"] == "server" else None
            late = headline.is_late(one, now)
            yield Item(kind, label, one["not_after"], one["renewal"] or "", late, cluster, f"{one['kind']}s")


def _authorities(data: Mapping[str, Any], now: int) -> Iterator[Item]:
    for name, authority in data["authorities"].items():
        for one in authority["certificates"]:
            is_late = facts.days_left(one["not_after"], now) < headline.SOON
            yield _of_authority(one["kind"], name, one["not_after"], is_late=is_late)
        for one in authority["crls"]:
            yield _of_authority(CRL, name, one["next_update"], is_late=lists.is_late(one, now))


def _of_authority(kind: str, name: str, end: str, *, is_late: bool) -> Item:
    return Item(kind, f"{WORDS[kind]} of the {name} CA", end, "", is_late, None, f"{WORDS[kind]}s")


def drawn(data: Mapping[str, Any], mark: Callable[[str | None], str | None] = lambda _cluster: None) -> str:
    """Return the picture, '' if nothing ends. ``mark`` returns what a filter finds the rows of a cluster by."""
    found = items(data)
    shown = found[:MOST]
    if not shown:
        return ""
    now = clock.seconds(data["time"])
    scale = _Scale(max(facts.days_left(one.end, now) for one in shown))
    height = _TOP + _ROW * (len(shown) + (len(found) > len(shown))) + 8
    rows = [_row(one, number, scale, now, mark(one.cluster)) for number, one in enumerate(shown)]
    if len(found) > len(shown):
        more = f"And {len(found) - len(shown)} more that end later, see below."
        rows.append(svg.text(0, _TOP + _ROW * len(shown) + 15, more, class_="dim"))
    return svg.picture(WIDTH, height, "What ends when", [*scale.lines(height), *rows], class_="timeline")


class _Scale:
    """Days from now as places on the axis."""

    def __init__(self, days: int) -> None:
        self._ticks = {day: word for day, word in _TICKS.items() if day <= max(days, 7)}
        self._most = math.log1p(max(days, 7))

    def at(self, days: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * min(math.log1p(max(days, 0)) / self._most, 1)

    def lines(self, height: int) -> Iterator[str]:
        """Yield a line across all rows for each tick, and its name."""
        for day, word in self._ticks.items():
            x = round(self.at(day))
            yield svg.element("line", x1=x, x2=x, y1=_TOP - 8, y2=height - 4, class_="tick")
            yield svg.text(x, _TOP - 14, word, class_="dim", text_anchor="middle")


def _row(one: Item, number: int, scale: _Scale, now: int, mark: str | None) -> str:
    y = _TOP + _ROW * number + _ROW // 2
    days = facts.days_left(one.end, now)
    x = round(scale.at(days))
    state = "late" if one.is_late else one.kind
    parts = [
        svg.text(0, y + 4, one.label, most=_LABEL, class_="label"),
        svg.element("rect", x=_LEFT, y=y - 3, width=max(x - _LEFT, 1), height=6, class_=f"bar {state}"),
        _end(one.kind, x, y, state),
        svg.text(WIDTH, y + 4, _said(one, days), class_="late" if one.is_late else "dim", text_anchor="end"),
    ]
    if one.renewal and not one.is_late:
        renewal = round(scale.at(facts.days_left(one.renewal, now)))
        tip = svg.element("title", svg.escaped(f"renewed from {one.renewal[:_DATE]}"))
        parts.insert(2, svg.element("path", tip, d=f"M{renewal} {y - 8}v16", class_="renewal"))
    whole = svg.element("title", svg.escaped(f"{one.label}: {WORDS[one.kind]}, ends {one.end}"))
    return svg.element("g", whole, *parts, data_c=mark)


def _said(one: Item, days: int) -> str:
    return f"{one.end[:_DATE]} ({days} d)" if days >= 0 else f"ended {one.end[:_DATE]}"


def _end(kind: str, x: int, y: int, state: str) -> str:
    """Return the mark of an end; kinds differ by shape, because not everybody tells colors apart."""
    shapes = {
        CERTIFICATE: f"M{x - 5} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
        KIT: f"M{x} {y - 6}l6 11h-12z",
        CRL: f"M{x - 5} {y - 5}h10v10h-10z",
        ISSUING: f"M{x} {y - 6}l6 6l-6 6l-6 -6z",
        ROOT: f"M{x} {y - 7}l7 7l-7 7l-7 -7z",
    }
    return svg.element("path", d=shapes[kind], class_=f"end {state}")


def legend(kinds: Sequence[str]) -> str:
    """Return what each mark means, as far as it is in the picture."""
    shown = [kind for kind in WORDS if kind in kinds]
    marks = [
        svg.picture(16, 16, "", [_end(kind, 8, 8, kind)], class_="key") + svg.escaped(WORDS[kind]) for kind in shown
    ]
    line = svg.element("path", d="M8 0v16", class_="renewal")
    marks.append(svg.picture(16, 16, "", [line], class_="key") + "renewed from here on")
    return svg.element("p", " ".join(svg.element("span", one) for one in marks), class_="legend")
