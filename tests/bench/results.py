"""The results of the benchmark as the documentation shows them: a table, and a plot as SVG."""

from __future__ import annotations

import datetime
import os
import re
from typing import TYPE_CHECKING

from bench.fleet import CLIENTS, ROOT, Cost

if TYPE_CHECKING:
    from bench.authority import Costs
    from bench.benchmark import Measured

PERFORMANCE_PAGE = ROOT / "docs" / "docsite" / "rst" / "guide_performance.rst"
PLOT = ROOT / "docs" / "docsite" / "images" / "performance.svg"
MARKS = (".. begin of what the benchmark writes", ".. end of what the benchmark writes")
HEADINGS = ("Servers", "Run", "Executions: server, client host", "CPU of the controller", "CPU of the targets",
            "CPU in all", "Floor", "Ratio", "Wall time")  # fmt: skip
COLOURS = {"controller": "#4477aa", "targets": "#ee8866", "floor": "#999999"}
SCALE, LEFT_MARGIN, TOP, BAR, GAP = 26.0, 330, 40, 16, 14  # pixels: a second; margins; a bar and the space after a pair


def pairs(one: Measured) -> list[tuple[str, Cost, Cost]]:
    """Return the runs on a fleet with their names and floors."""
    return [
        ("first run", one.first, one.renewal_floor),
        ("changes nothing, without the verification", one.converged, one.converged_floor),
        ("changes nothing", one.no_op, one.no_op_floor),
        ("renews everything", one.renewal, one.renewal_floor),
    ]


def cells(one: Measured, name: str, run: Cost, floor: Cost) -> list[str]:
    """Return the cells of a line of the table."""
    servers = {count for host, count in run.executions.items() if host not in CLIENTS}
    clients = {count for host, count in run.executions.items() if host in CLIENTS}
    executions = ", ".join("/".join(map(str, sorted(counts))) for counts in (servers, clients))
    seconds = [f"{value:.1f} s" for value in (run.controller, run.targets, run.cpu, floor.cpu)]
    return [str(one.servers), name, executions, *seconds, f"{run.cpu / floor.cpu:.2f}", f"{run.wall:.1f} s"]


def rows(fleets: list[Measured]) -> list[str]:
    """Return the lines of the table for a terminal."""
    return [" | ".join(cells(one, *pair)) for one in fleets for pair in pairs(one)]


def sentences(costs: Costs) -> list[str]:
    """Return what the authority costs, in words."""
    signing = f"{costs.rate:,.0f} P-256 certificates a second and core, with {costs.signing.memory:.0f} MB of memory"
    ledger = f"with {costs.ledger:,} certificates in the ledger: {costs.no_op.cpu:.2f} s of CPU"
    return [
        f"Signing 10,000 requests in one task, ledger included: {signing}.",
        f"A run of the authority that changes nothing, {ledger}.",
    ]


def write(fleets: list[Measured], costs: Costs) -> None:
    """Write table and plot into the documentation."""
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(plot(fleets), encoding="utf-8")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = [MARKS[0], "", f"Measured on {today}, on a machine with {os.cpu_count()} cores.", "", ".. list-table::"]
    lines += ["   :header-rows: 1", ""]
    table = [list(HEADINGS), *(cells(one, *pair) for one in fleets for pair in pairs(one))]
    for line in table:
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(line)]
    lines += ["", ".. image:: images/performance.svg", "   :alt: The same figures as bars", ""]
    lines += [*(f"- {sentence}" for sentence in sentences(costs)), "", MARKS[1]]
    between = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    PERFORMANCE_PAGE.write_text(
        between.sub("\n".join(lines), PERFORMANCE_PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )


def plot(fleets: list[Measured]) -> str:
    """Return bars of seconds of CPU: each run, controller and targets end to end, above its floor."""
    parts, y = [], TOP
    for one in fleets:
        for name, run, floor in pairs(one):
            label = f"{one.servers} server{'s' if one.servers > 1 else ''}, {name}"
            parts.append(_text(LEFT_MARGIN - 8, y + BAR, label, "end"))
            parts += [_bar(0, y, run.controller, "controller"), _bar(run.controller, y, run.targets, "targets")]
            parts.append(_text(LEFT_MARGIN + run.cpu * SCALE + 6, y + BAR - 3, f"{run.cpu:.1f} s"))
            parts.append(_bar(0, y + BAR, floor.cpu, "floor"))
            parts.append(_text(LEFT_MARGIN + floor.cpu * SCALE + 6, y + 2 * BAR - 3, f"{floor.cpu:.1f} s"))
            y += 2 * BAR + GAP
    for number, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="{LEFT_MARGIN + 130 * number}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(LEFT_MARGIN + 130 * number + 18, 22, f"CPU: {name}"))
    width = LEFT_MARGIN + 80 + max(cost.cpu for one in fleets for _name, *both in pairs(one) for cost in both) * SCALE
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y}" font-family="sans-serif" '
    return frame + 'font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"


def _bar(start: float, y: int, length: float, kind: str) -> str:
    x, width = LEFT_MARGIN + start * SCALE, length * SCALE
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[kind]}"/>'


def _text(x: float, y: int, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'
