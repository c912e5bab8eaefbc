# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of connections in the output of a run."""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """The cells of a line of the table that are looked at; ``name`` has a port."""

    client: str
    role: str
    server: str
    name: str
    wanted: str
    result: str
    reason: str

    @property
    def host(self) -> str:
        """Return the name alone."""
        return self.name.rpartition(":")[0]


class Table(NamedTuple):
    """A table with its closing line: how many connections there were, and how many ended how, by its words."""

    rows: list[Row]
    total: int
    counts: dict[str, int]


def rows(output: str) -> list[Row]:
    """Return the table in Ansible's output; the tables, where there are several."""
    cells = [re.split(r" {2,}", line) for line in _lines(output) if re.match(r"\S+ .*:\d+ +(accepted|refused)", line)]
    return [Row._make([*one[:6], one[7]]) for one in cells]


def tables(output: str) -> list[Table]:
    """Return each table in Ansible's output."""
    found, before = [], ""
    for line in _lines(output):
        closing = re.match(r"(\d+) connections from \d+ client hosts: (.*)", line)
        if not closing:
            before += f"{line}\n"
            continue
        counts = {words: int(number) for number, words in re.findall(r"(\d+) ([a-z ]+)", closing[2])}
        found.append(Table(rows(before), int(closing[1]), counts))
        before = ""
    return found


def _lines(output: str) -> list[str]:
    return [line.strip().strip('",') for line in output.splitlines()]
