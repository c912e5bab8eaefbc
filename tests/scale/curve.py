# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs cost the controller on fleets of every size, beside the least that Ansible costs: part of "make bench".

    curve.py [SIZE...]

A size is a number of servers, with as many client hosts. Writes the table and the plot of the documentation, and fails
when a target is missed.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scale.fleet import ROOT, Cost, running

PAGE = ROOT / "docs" / "docsite" / "rst" / "guide_performance.rst"
PLOT = ROOT / "docs" / "docsite" / "images" / "scale.svg"
MARKS = (".. begin of what the scale test writes", ".. end of what the scale test writes")
SIZES = (10, 30, 100, 300, 1000)
ONCE = 300  # from here on each run is measured once: chance averages out over so many hosts
REPEATS = 2
RATIOS = {100: 2.0, 1000: 2.2}  # a run that changes nothing, to the floor
FIRST_RATIO = 3.0  # the first run, to its floor
GROWTH = ((100, 1000), 11.0)
MEMORY = 1000  # MB
HEADINGS = ("Hosts of each kind", "Run", "CPU of the controller", "Floor", "Ratio", "Memory", "Wall time")
COLOURS = {"first run": "#ee8866", "changes nothing": "#4477aa", "floor of a run that changes nothing": "#999999"}
LEFT, TOP, WIDTH, HEIGHT = 60, 30, 520, 300  # pixels


@dataclass
class Measured:
    """What the runs on a fleet cost, and their floors."""

    size: int
    first: Cost
    first_floor: Cost
    no_op: Cost
    no_op_floor: Cost

    @property
    def runs(self) -> list[tuple[str, Cost, Cost]]:
        """Return the runs with their names and floors."""
        return [("first run", self.first, self.first_floor), ("changes nothing", self.no_op, self.no_op_floor)]


def measure(size: int) -> Measured:
    """Set up a fleet, and measure; run and floor in turn, and the cheapest of each counts."""
    with running(size) as fleet:
        first = fleet.first()
        first_floor = fleet.floor(first.executions)
        pairs = []
        for _time in range(1 if size >= ONCE else REPEATS):
            run = fleet.site()
            pairs.append((run, fleet.floor(run.executions)))
    no_op, floor = (min(costs, key=lambda cost: cost.cpu) for costs in zip(*pairs))
    return Measured(size, first, first_floor, no_op, floor)


def misses(measured: list[Measured]) -> list[str]:
    """Return a sentence for each target that was missed."""
    found = []
    by_size = {one.size: one for one in measured}
    for one in measured:
        ratio, first = one.no_op.cpu / one.no_op_floor.cpu, one.first.cpu / one.first_floor.cpu
        if ratio > RATIOS.get(one.size, math.inf):
            found.append(f"{one.size} + {one.size} hosts: a run that changes nothing is {ratio:.2f} times the floor, "
                         f"not {RATIOS[one.size]}")  # fmt: skip
        if one.size in RATIOS and first > FIRST_RATIO:
            found.append(f"{one.size} + {one.size} hosts: the first run is {first:.2f} times the floor, "
                         f"not {FIRST_RATIO}")  # fmt: skip
        if max(one.first.memory, one.no_op.memory) > MEMORY:
            found.append(f"{one.size} + {one.size} hosts: a run takes more than {MEMORY} MB")
    (few, many), most = GROWTH
    if few in by_size and many in by_size:
        growth = by_size[many].no_op.cpu / by_size[few].no_op.cpu
        if growth > most:
            found.append(f"from {few} to {many} hosts a run that changes nothing grows {growth:.1f} times, not {most}")
    return found


def cells(one: Measured, name: str, run: Cost, floor: Cost) -> list[str]:
    """Return the cells of a line of the table."""
    seconds = [f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" for value in (run.cpu, floor.cpu, run.wall)]
    return [f"{one.size:,}", name, *seconds[:2], f"{run.cpu / floor.cpu:.2f}", f"{run.memory:.0f} MB", seconds[2]]


def write(measured: list[Measured]) -> None:
    """Write table and plot into the documentation."""
    PLOT.write_text(plot(measured), encoding="utf-8")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = [MARKS[0], "", f"Measured on {today}, on a machine with {os.cpu_count()} cores.", "", ".. list-table::"]
    lines += ["   :header-rows: 1", ""]
    for line in [list(HEADINGS), *(cells(one, *run) for one in measured for run in one.runs)]:
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(line)]
    lines += ["", ".. image:: images/scale.svg", "   :alt: The same figures as curves", "", MARKS[1]]
    between = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    PAGE.write_text(between.sub("\n".join(lines), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def plot(measured: list[Measured]) -> str:
    """Return seconds of CPU over hosts of each kind, both in powers of ten: what grows with the hosts is a line."""
    curves = {
        "first run": [(one.size, one.first.cpu) for one in measured],
        "changes nothing": [(one.size, one.no_op.cpu) for one in measured],
        "floor of a run that changes nothing": [(one.size, one.no_op_floor.cpu) for one in measured],
    }
    most = max(cpu for points in curves.values() for _size, cpu in points)
    x_scale = WIDTH / math.log10(measured[-1].size / measured[0].size)
    y_scale = HEIGHT / math.log10(most)

    def at(size: float, cpu: float) -> tuple[float, float]:
        return LEFT + math.log10(size / measured[0].size) * x_scale, TOP + HEIGHT - math.log10(max(cpu, 1)) * y_scale

    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>']
    for one in measured:
        x, _y = at(one.size, 1)
        parts.append(f'<text x="{x:.0f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{one.size:,}</text>')
    for power in range(int(math.log10(most)) + 1):
        _x, y = at(measured[0].size, 10**power)
        parts.append(f'<path d="M{LEFT} {y:.0f}h{WIDTH}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{10**power:,} s</text>')
    for number, (name, points) in enumerate(curves.items()):
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts.append(f'<rect x="{LEFT + 14}" y="{TOP + 12 + 20 * number}" width="12" height="12" '
                     f'fill="{COLOURS[name]}"/>')  # fmt: skip
        parts.append(f'<text x="{LEFT + 32}" y="{TOP + 22 + 20 * number}">CPU: {name}</text>')
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 40}" height="{TOP + HEIGHT + 40}" '
    return frame + 'font-family="sans-serif" font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"


def main(sizes: list[int]) -> int:
    """Measure everything, write the results down and name what was missed."""
    measured = []
    for size in sizes:
        measured.append(measure(size))
        print("\n".join(" | ".join(cells(measured[-1], *run)) for run in measured[-1].runs), flush=True)
    write(measured)
    missed = misses(measured)
    print("\n".join(f"MISSED: {miss}" for miss in missed) or "all targets were reached", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main([int(one) for one in sys.argv[1:]] or list(SIZES)))
