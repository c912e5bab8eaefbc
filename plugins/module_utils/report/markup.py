# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the page: cells whose words break at the right places, and serial numbers that are whole on demand."""

from __future__ import annotations

import html
import re
from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.report.filters import Clusters
from ansible_collections.pgops.tls.plugins.module_utils.report.svg import element, escaped
from ansible_collections.pgops.tls.plugins.module_utils.report.tables import printable

CLUSTER = "cluster"  # a column that is left out where there are no clusters
_WHOLE = ("name", "when")  # classes of cells that stay on one line
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")
_SERIAL = re.compile(r"([0-9a-f]{16,})(,?)")
_SHOWN = 8  # digits of a serial number that are enough to tell it from others
_SHORT = 16  # characters of a word that stays whole: an IPv4 address is one
_BEHIND_SEPARATOR = re.compile(r"(?<=[_:/=,.])(?!$)")
_MOST = 500  # rows of a table; report.json has all


class Cell:
    """A value, and the classes that mark it."""

    def __init__(self, value: object, mark: str = "") -> None:
        self.value = value
        self.mark = mark

    def as_html(self, heading: str) -> str:
        """Return the cell of a column escaped."""
        return element("td", self._text(), class_=self.mark or None, data_of=heading)

    def _text(self) -> str:
        """Return the value escaped: a long word may end a line behind a separator, a date and a name may not."""
        if self.mark in _WHOLE:
            return escaped(self.value)
        is_id = self.mark == "id"
        return " ".join(_word(one, is_id=is_id) for one in printable(self.value).split(" "))


class ClusterCell(Cell):
    """The clusters that a row is about: those of a filter, too."""

    def __init__(self, clusters: Iterable[str], value: str | None = None) -> None:
        self.clusters = sorted(set(clusters))
        super().__init__(", ".join(one for one in self.clusters if one) if value is None else value, "name")


class Table(NamedTuple):
    """A part of the page: its title, its rows, their headings, and what a person must know to read it."""

    title: str
    rows: Iterable[Sequence[Cell]]
    headings: Sequence[str]
    note: str = ""


def _word(word: str, *, is_id: bool) -> str:
    if _MOMENT.fullmatch(word):
        return f'<span class="when">{word}</span>'
    serial = _SERIAL.fullmatch(word) if is_id else None
    if serial:
        short = element("summary", f"{serial[1][:_SHOWN]}…{serial[2]}")
        return element("details", short, serial[1])
    parts = _BEHIND_SEPARATOR.split(word) if len(word) > _SHORT else [word]
    return "<wbr>".join(html.escape(part, quote=True) for part in parts)


def table(rows: Sequence[Sequence[Cell]], headings: Sequence[str], clusters: Clusters) -> str:
    """Return a table; the column of clusters is left out where there are none."""
    shown = [number for number, one in enumerate(headings) if one != CLUSTER or any(row[number].value for row in rows)]
    lines = []
    for row in rows[:_MOST]:
        cells = "".join(row[number].as_html(headings[number]) for number in shown)
        own = next((cell.clusters for cell in row if isinstance(cell, ClusterCell)), ())
        lines.append(element("tr", cells, data_c=clusters.mark(own)))
    body = "\n".join(lines)
    more = f"<p>And {len(rows) - _MOST} more, see report.json.</p>\n" if len(rows) > _MOST else ""
    head = "".join(f"<th>{escaped(headings[number])}</th>" for number in shown)
    inside = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="table">{inside}</div>\n{more}'
