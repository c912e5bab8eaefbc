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


def rows(output: str) -> list[Row]:
    """Return the table in Ansible's output."""
    lines = (line.strip().strip('",') for line in output.splitlines())
    cells = [re.split(r" {2,}", line) for line in lines if re.match(r"\S+ .*:\d+ +(accepted|refused)", line)]
    return [Row(*one[:6], one[7]) for one in cells]
