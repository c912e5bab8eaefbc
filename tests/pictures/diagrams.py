# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagrams of the guide on how it works, drawn from tables: who does what in a run, and a server's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.report import svg

WIDTH = 900
STYLE = """
.head rect { fill: var(--blue) } .head text { fill: var(--paper); font-weight: 600 }
.life { stroke: var(--line); stroke-width: 2 }
.band { fill: var(--panel) }
.arrow { fill: none; stroke: var(--text); stroke-width: 1.5 }
.tip { fill: var(--text) }
.step rect { fill: var(--paper); stroke: var(--blue); stroke-width: 1.5 }
.proof rect { fill: var(--good); stroke: var(--good) } .proof text { fill: var(--paper); font-weight: 700 }
.end rect { fill: var(--panel); stroke: var(--dim); stroke-dasharray: 4 3 }
.fail .arrow { stroke: var(--bad); stroke-dasharray: 5 4 } .fail .tip { fill: var(--bad) }
.fail rect { stroke: var(--bad) }
.on { fill: var(--paper) }
"""

# A run: the columns, and for each play its lines. A line goes from one column to another, or stays in one
CONTROLLER, CA, SERVER, CLIENT = COLUMNS = ("controller", "CA host", "each server", "each client host")
RUN = (
    (
        "1. Input and authorities",
        (
            (CONTROLLER, CONTROLLER, "check the input of all hosts"),
            (CONTROLLER, CA, "keep the authorities"),
            (CA, CONTROLLER, "roots to trust"),
        ),
    ),
    (
        "2. Servers",
        (
            (CONTROLLER, SERVER, "the whole desired state"),
            (SERVER, CONTROLLER, "nothing to do, or a CSR (the key stays)"),
            (CONTROLLER, CA, "all CSRs, in one task"),
            (CA, CONTROLLER, "chains"),
            (CONTROLLER, SERVER, "chain"),
            (SERVER, SERVER, "rehearse, switch, reload"),
            (SERVER, CONTROLLER, "proven, or restored"),
        ),
    ),
    (
        "3. Clients",
        (
            (CONTROLLER, CLIENT, "the whole desired state"),
            (CLIENT, CONTROLLER, "nothing to do, or CSRs (the keys stay)"),
            (CONTROLLER, CA, "all CSRs, in one task"),
            (CA, CONTROLLER, "chains"),
            (CONTROLLER, CLIENT, "chains"),
            (CLIENT, CLIENT, "rehearse, switch"),
        ),
    ),
    (
        "4. Verification",
        (
            (CONTROLLER, CLIENT, "what must work, and what must fail"),
            (CLIENT, SERVER, "verify-full by every name"),
            (CLIENT, CONTROLLER, "table"),
        ),
    ),
)
_AT = {name: 110 + 227 * number for number, name in enumerate(COLUMNS)}
_ROW, _HEAD, _TITLE, _GAP = 30, 44, 26, 10


def flow_of_a_run() -> str:
    """Return who does what in a run, in the order of time."""
    parts, y = [], _HEAD + 12
    for _title, lines in RUN:
        height = _TITLE + _ROW * len(lines) + 6
        parts.append(svg.element("rect", x=0, y=y, width=WIDTH, height=height, rx=6, class_="band"))
        y += height + _GAP
    bottom = y
    parts += [svg.element("line", x1=x, x2=x, y1=_HEAD, y2=bottom - 4, class_="life") for x in _AT.values()]
    parts += [_box(name, x, 22, 150, "head") for name, x in _AT.items()]
    y = _HEAD + 12
    for title, lines in RUN:
        parts.append(svg.element("rect", x=8, y=y + 5, width=8 * len(title) + 8, height=18, class_="band"))
        parts.append(svg.text(12, y + 18, title, font_weight="bold"))
        for number, line in enumerate(lines):
            parts.append(_message(*line, y + _TITLE + _ROW * number + 22))
        y += _TITLE + _ROW * len(lines) + 6 + _GAP
    return svg.picture(WIDTH, bottom, "Who does what in a run", parts)


def _message(source: str, target: str, words: str, y: int) -> str:
    x, to_x = _AT[source], _AT[target]
    if source == target:
        return _label(words, x, y - 2, behind=True)
    step = 1 if to_x > x else -1
    return _arrow([(x, y), (to_x, y)]) + _label(words, (x + to_x) // 2, y - 5, behind=abs(to_x - x) > 300 or step > 1)


def _label(words: str, x: int, y: int, *, behind: bool) -> str:
    """Return centered words; what is ``behind`` them is covered."""
    width = round(6.9 * len(words)) + 8
    cover = svg.element("rect", x=x - width // 2, y=y - 12, width=width, height=15, rx=3, class_="band")
    return (cover if behind else "") + svg.text(x, y, words, text_anchor="middle", font_size=12)


class Step(NamedTuple):
    """A step of the transaction: a word, its place, its width and what it is."""

    words: str
    x: int
    y: int
    width: int = 84
    kind: str = "step"


# The transaction of a server: rows of steps, each row from left to right, and what leads elsewhere
LOOK = [Step("lock", 55, 40), Step("recover", 165, 40), Step("inspect", 275, 40), Step("plan", 385, 40)]
ENDS = [
    Step("nothing to do", 560, 40, 130, "end"),
    Step("refused, with a reason", 580, 84, 170, "end"),
    Step("CSR: the new key waits", 580, 128, 170, "end"),
]
WROTE = ("nothing was written", "nothing was written", "the server is as it was")
TRY = [Step("stage", 55, 192), Step("rehearse", 165, 192)]
REFUSED = Step("refused: staged files are removed", 385, 192, 240, "end")
CHANGE = [
    Step(words, 58 + 98 * number, 278, 76, "proof" if words == "PROVE" else "step")
    for number, words in enumerate(
        ("include", "rename", "reload", "PROVE", "rules", "ask", "reload", "PROVE", "commit")
    )
]
RESTORE = [
    Step("restore every file", 352, 372, 150),
    Step("reload", 500, 372, 76),
    Step("PROVE", 600, 372, 76, "proof"),
]
JOURNAL = "the journal is open: a run that is killed here is undone by the next one"


def transaction() -> str:
    """Return the steps of a server's transaction."""
    parts = [svg.element("rect", x=4, y=236, width=WIDTH - 8, height=80, rx=6, class_="band")]
    parts.append(svg.text(110, 254, JOURNAL, class_="dim"))
    for row in (LOOK, TRY, CHANGE, RESTORE):
        parts += [_arrow([_right(one), _left(other)]) for one, other in zip(row, row[1:])]
    plan = LOOK[-1]
    parts += [_arrow([_right(plan), (455, plan.y), (455, end.y), _left(end)]) for end in ENDS]
    parts.append(_arrow([(plan.x, plan.y + 14), (plan.x, 158), (55, 158), (55, 178)]))
    parts.append(svg.text(220, 153, "with the certificate", class_="dim", text_anchor="middle"))
    parts.append(_arrow([_right(TRY[-1]), _left(REFUSED)]))
    parts.append(_arrow([(165, 206), (165, 226), (58, 226), (58, 264)]))
    fails = [
        _arrow([(one.x, one.y + 14), (one.x, 340), (352, 340), (352, 358)]) for one in CHANGE if one.kind == "proof"
    ]
    fails.append(svg.text(545, 335, "any failure", class_="late", text_anchor="middle"))
    parts.append(svg.element("g", *fails, class_="fail"))
    for row in (LOOK, ENDS, TRY, [REFUSED], CHANGE, RESTORE):
        parts += [_box(one.words, one.x, one.y, one.width, one.kind) for one in row]
    parts += [svg.text(680, end.y + 4, words, class_="dim") for end, words in zip(ENDS, WROTE)]
    parts.append(svg.text(650, 376, "what was served before", class_="dim"))
    return svg.picture(WIDTH, 400, "The steps of a server's transaction", parts)


def _box(words: str, x: int, y: int, width: int, kind: str) -> str:
    box = svg.element("rect", x=x - width // 2, y=y - 14, width=width, height=28, rx=6)
    return svg.element("g", box, svg.text(x, y + 4, words, text_anchor="middle"), class_=kind)


def _left(one: Step) -> tuple[int, int]:
    return one.x - one.width // 2, one.y


def _right(one: Step) -> tuple[int, int]:
    return one.x + one.width // 2, one.y


def _arrow(points: Sequence[tuple[int, int]]) -> str:
    """Return a line along points with a tip at the last one."""
    (x, y), (from_x, from_y) = points[-1], points[-2]
    path = "M" + "L".join(f"{one} {other}" for one, other in points)
    tip = "".join(_tip(x, y, x - from_x, y - from_y))
    return svg.element("path", d=path, class_="arrow") + svg.element("path", d=tip, class_="tip")


def _tip(x: int, y: int, right: int, down: int) -> Iterator[str]:
    yield f"M{x} {y}"
    if down:
        step = 7 if down < 0 else -7
        yield f"l-4 {step}h8Z"
    else:
        step = 7 if right < 0 else -7
        yield f"l{step} -4v8Z"
