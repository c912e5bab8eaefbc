# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph of who connects where, as a picture: holders on the left, poolers between, clusters on the right.

Of each kind at most so many are drawn that a person can follow the lines; the table below the picture has all of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.report import connections, svg
from ansible_collections.pgops.tls.plugins.module_utils.report.connections import Edge, Holder, Target

WIDTH = 960
MOST = 40  # nodes of a column
_LONE = 8  # servers in no cluster that have a node each
_HOSTS = 6  # of a cluster, by name
_GAP, _PAD, _LINE, _PORT = 14, 8, 17, 20  # pixels: between nodes; in a node; a line of it; between the ends of edges
_LEFT, _MIDDLE, _RIGHT = (4, 260), (400, 190), (690, 266)  # x and width of the columns
_LABEL = 34  # characters of a line
_LEGEND = 30  # its height
REST = "servers in no cluster"  # as one node
_MARKS = {  # of 14 by 14 pixels around the origin: proofs differ by shape, because not everybody tells colors apart
    connections.PLAINTEXT: "M0 -8L8 6H-8Z",
    connections.OLD: "M0 -8L8 0L0 8L-8 0Z",
    connections.ENCRYPTED: "M-6 -6H6V6H-6Z",
    connections.VERIFIED: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0Z",
    connections.NEVER: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z",
    connections.UNKNOWN: "M-5 -5H5V5H-5Z",
}
_SIGNS = {
    connections.PLAINTEXT: "M0 -3v4M0 3v1",
    connections.OLD: "M0 -4v4l3 2",
    connections.VERIFIED: "M-3 0l2 3l4 -6",
}


class _Node(NamedTuple):
    """A box: its title, its other lines, what draws it, and the clusters that a filter finds it by."""

    key: object
    title: str
    lines: tuple[str, ...]
    style: str
    targets: tuple[Target, ...]


class _Line(NamedTuple):
    """What is drawn between two nodes: the worst proof of the edges that it stands for."""

    source: object
    target: object
    edge: Edge


def drawn(
    data: Mapping[str, Any],
    edges: Sequence[Edge],
    mark: Callable[[Iterable[Target]], str | None] = lambda _targets: None,
) -> str:
    """Return the picture, '' if nobody connects. ``mark`` returns what a filter finds a node or line by."""
    if not edges:
        return ""
    right, aliases = _targets(data, edges)
    left, sources = _holders(edges, [node.key for node in right], aliases)
    poolers = [node for node in right if node.style == connections.POOLER]
    right = [node for node in right if node.style != connections.POOLER]
    lines = _lines(edges, sources, aliases)
    layout = _Layout(left, poolers, right, lines)
    parts = [_drawn_line(one, layout, mark([one.edge.target])) for one in layout.lines]
    parts += [_box(node, layout, mark(node.targets)) for node in (*left, *poolers, *right)]
    parts += _legend(lines, layout.height + 16)
    return svg.picture(WIDTH, layout.height + _LEGEND, "Who connects where", parts, class_="graph")


def _targets(data: Mapping[str, Any], edges: Sequence[Edge]) -> tuple[list[_Node], dict[Target, object]]:
    """Return the nodes of targets, and the node of each target; servers in no cluster are one node if they are many."""
    wanted = {one.target for one in edges}
    wanted |= {one.holder.itself for one in edges if one.holder.itself}
    members = {target: hosts for target, hosts in connections.members(data).items() if target in wanted}
    lone = [target for target in members if target.kind == connections.SERVER]
    aliases: dict[Target, object] = {target: target for target in members}
    nodes = []
    for target, hosts in members.items():
        if target.kind != connections.SERVER or len(lone) <= _LONE:
            names = tuple(hosts[:_HOSTS]) if target.kind == connections.CLUSTER else (target.kind,)
            more = (f"and {len(hosts) - _HOSTS} more",) if len(hosts) > _HOSTS else ()
            nodes.append(_Node(target, target.name, (*names, *more), target.kind, (target,)))
    if len(lone) > _LONE:
        aliases.update(dict.fromkeys(lone, REST))
        nodes.append(_Node(REST, f"{len(lone)} {REST}", (), connections.SERVER, tuple(lone)))
    shown = []
    for is_pooler in (False, True):  # a column each
        column = [node for node in nodes if (node.style == connections.POOLER) == is_pooler]
        shown += column[:MOST]
        aliases.update(dict.fromkeys(target for node in column[MOST:] for target in node.targets))
    return shown, aliases


def _holders(
    edges: Sequence[Edge], order: Sequence[object], aliases: Mapping[Target, object]
) -> tuple[list[_Node], dict[Holder, object]]:
    """Return the nodes of holders, those for the first targets first, and the node of each holder.

    If there are too many, those with the same targets are one node.
    """
    holders = list(dict.fromkeys(one.holder for one in edges))
    own = [one for one in holders if one.kind != connections.POOLER]
    groups: dict[object, list[Holder]] = {}
    for one in own:
        groups.setdefault(one if len(own) <= MOST else (one.kind, one.targets), []).append(one)
    places = {key: number for number, key in enumerate(order)}

    def place(group: list[Holder]) -> tuple[Any, ...]:
        targets = group[0].targets
        through = all(one.kind == connections.POOLER for one in targets)
        return through, group[0].kind == connections.OTHER, min(places.get(one, len(order)) for one in targets)

    shown = sorted(groups.items(), key=lambda one: place(one[1]))[:MOST]
    sources: dict[Holder, object] = {one: key for key, group in shown for one in group}
    sources.update({one: aliases.get(one.itself) for one in holders if one.itself})
    return [_holder(key, group) for key, group in shown], sources


def _holder(key: object, group: Sequence[Holder]) -> _Node:
    hosts = [host for one in group for host in one.hosts]
    title = group[0].role if len(group) == 1 else f"{len(group)} roles"
    who = ", ".join(hosts) if len(hosts) <= 3 else f"{len(hosts)} hosts"
    if group[0].kind == connections.OTHER:
        who = "not in the inventory"
    if group[0].kind == connections.KIT:
        who = f"kit {who}" if len(hosts) == 1 else f"{len(hosts)} kits"
    return _Node(key, title, (who,), group[0].kind, group[0].targets)


def _lines(edges: Sequence[Edge], sources: Mapping[Holder, object], aliases: Mapping[Target, object]) -> list[_Line]:
    """Return a line for each pair of nodes that edges connect."""
    found: dict[tuple[object, object], Edge] = {}
    for one in edges:
        pair = sources.get(one.holder), aliases.get(one.target)
        if None not in pair:
            found[pair] = min(found.get(pair, one), one, key=lambda edge: connections.PROOFS.index(edge.proof))
    return [_Line(*pair, one) for pair, one in found.items()]


class _Layout:
    """Where everything is. Poolers are below all lines that pass them by, so that none crosses their boxes."""

    def __init__(
        self, left: Sequence[_Node], middle: Sequence[_Node], right: Sequence[_Node], lines: Sequence[_Line]
    ) -> None:
        self._out = Counter(one.source for one in lines)
        self._in = Counter(one.target for one in lines)
        self._boxes: dict[object, tuple[int, int, int, int]] = {}
        bottom = max(self._column(left, _LEFT, 4), self._column(right, _RIGHT, 4))
        through = {node.key for node in middle}
        passing = [one for one in lines if one.source not in through and one.target not in through]
        ends = [sum(self._boxes[key][1::2]) for one in passing for key in (one.source, one.target)]
        self.height = max(bottom, self._column(middle, _MIDDLE, max(ends, default=0) + _GAP if middle else 4))
        place = {key: number for number, key in enumerate(self._boxes)}
        self.lines = sorted(lines, key=lambda one: (place[one.source], place[one.target]))
        self._starts = self._ports(self.lines, lambda one: one.source, lambda one: self.box(one.target)[1])
        self._ends = self._ports(self.lines, lambda one: one.target, lambda one: self.box(one.source)[1])

    def box(self, key: object) -> tuple[int, int, int, int]:
        """Return x, y, width and height of a node."""
        return self._boxes[key]

    def ends(self, line: _Line) -> tuple[int, int, int, int]:
        """Return where a line begins and ends: x and y of both."""
        source, target = self.box(line.source), self.box(line.target)
        return source[0] + source[2], self._starts[line], target[0], self._ends[line]

    def _column(self, nodes: Sequence[_Node], place: tuple[int, int], y: int) -> int:
        for node in nodes:
            height = 2 * _PAD + _LINE * (1 + len(node.lines))
            height = max(height, _PORT * max(self._in[node.key], self._out[node.key]))
            self._boxes[node.key] = (place[0], y, place[1], height)
            y += height + _GAP
        return y

    def _ports(
        self, lines: Sequence[_Line], of: Callable[[_Line], object], beside: Callable[[_Line], int]
    ) -> dict[_Line, int]:
        """Return the height at which each line leaves, or reaches, its node: those from above come first."""
        at: dict[object, list[_Line]] = {}
        for one in lines:
            at.setdefault(of(one), []).append(one)
        found = {}
        for key, own in at.items():
            _x, y, _width, height = self.box(key)
            for number, one in enumerate(sorted(own, key=beside)):
                found[one] = y + round(height * (number + 0.5) / len(own))
        return found


def _drawn_line(line: _Line, layout: _Layout, mark: str | None) -> str:
    x, y, to_x, to_y = layout.ends(line)
    bend = (to_x - x) // 2
    proof = line.edge.proof
    path = f"M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x - 20} {to_y}h20"
    who = f"{line.edge.holder.role} to {line.edge.target.name}: {connections.WORDS[proof]}"
    seen = f", last seen {line.edge.last_seen}" if line.edge.last_seen else ""
    title = svg.element("title", svg.escaped(who + seen))
    curve = svg.element("path", d=path, class_="line")
    return svg.element("g", title, curve, _mark(proof, to_x - 13, to_y), class_=f"edge {proof}", data_c=mark)


def _mark(proof: str, x: int, y: int) -> str:
    sign = _SIGNS.get(proof)
    parts = [svg.element("path", d=_MARKS[proof], class_="mark")]
    parts += [svg.element("path", d=sign, class_="sign")] if sign else []
    return svg.element("g", *parts, transform=f"translate({x} {y})")


def _box(node: _Node, layout: _Layout, mark: str | None) -> str:
    x, y, width, height = layout.box(node.key)
    most = _LABEL * width // _LEFT[1]
    middle = y + (height - _LINE * (1 + len(node.lines))) // 2 + 13
    parts = [
        svg.element("rect", x=x, y=y, width=width, height=height, rx=7),
        svg.text(x + 12, middle, node.title, most=most - 4, class_="title"),
    ]
    parts += [
        svg.text(x + 12, middle + _LINE * number, line, most=most, class_="dim")
        for number, line in enumerate(node.lines, 1)
    ]
    return svg.element("g", *parts, class_=f"node {node.style}", data_c=mark)


def _legend(lines: Sequence[_Line], y: int) -> list[str]:
    """Return what each mark means, as far as it is in the picture."""
    shown = [proof for proof in connections.PROOFS if any(one.edge.proof == proof for one in lines)]
    parts = []
    for number, proof in enumerate(shown):
        x = 4 + number * WIDTH // len(connections.PROOFS)
        line = svg.element("path", d=f"M{x} {y}h26", class_="line")
        parts.append(svg.element("g", line, _mark(proof, x + 13, y), class_=f"edge {proof}"))
        parts.append(svg.text(x + 34, y + 4, connections.WORDS[proof], class_="dim"))
    return parts
