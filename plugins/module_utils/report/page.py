# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one page of HTML that needs nothing else. Every value is escaped: clients choose their names."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    connections,
    facts,
    fleet_graph,
    headline,
    markup,
    sections,
    style,
    timeline,
)
from ansible_collections.pgops.tls.plugins.module_utils.report.connections import Edge, Reach
from ansible_collections.pgops.tls.plugins.module_utils.report.filters import Clusters
from ansible_collections.pgops.tls.plugins.module_utils.report.svg import element, escaped

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>TLS of PostgreSQL</title>
<style>{}</style>
</head>
<body>
"""
_NUMBERED = {"clients": "client hosts"}
_MOST = 500  # lines of a note; report.json has all


def text(data: Mapping[str, Any]) -> str:
    """Return a report as HTML."""
    edges, reach, clusters = connections.edges(data), Reach(data), Clusters(data)
    tables = [(one, list(one.rows)) for one in sections.of(data, edges, reach)]
    parts = [
        _HEAD.format(style.PAGE + clusters.rules()),
        "<h1>TLS of PostgreSQL</h1>\n",
        _first(headline.of(data)),
        _as_of(data),
        clusters.choice(),
        "<main>\n",
        _numbers(data),
        _note("The replacement of a root", data["waiting"]),
        _note("The next run of pgops.tls.site would", data["authority_changes"]),
        _timeline(data, clusters),
        _graph(data, edges, reach, clusters),
        *(_section(one, rows, clusters) for one, rows in tables if rows),
        _empty([one.title for one, rows in tables if not rows]),
        "</main>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _first(said: headline.Headline) -> str:
    mark = {True: " good", False: " bad", None: ""}[said.is_well]
    return f'<p class="headline{mark}">{escaped(said.text)}</p>\n'


def _as_of(data: Mapping[str, Any]) -> str:
    complete = data.get("last_complete")
    last = f"Every host answered last at {complete}." if complete else "No report has an answer of every host yet."
    run = data.get("last_successful_run")
    ended = f"Last run of pgops.tls.site without a failure: {run or 'none since the first report'}."
    return element("p", escaped(f"As of {data['time']}. {last} {ended} All times are UTC."), class_="note") + "\n"


def _numbers(data: Mapping[str, Any]) -> str:
    """Return how much there is of everything, for a first look."""
    known = facts.certificates(data)
    servers = data["servers"].values()
    old = sum(any(why != "plaintext" for why in session["findings"]) for one in servers for session in one["sessions"])
    numbers = {
        **{_NUMBERED.get(kind, kind): len(data[kind]) for kind in answers.KINDS if data[kind]},
        "certificates": len(known),
        "due": sum(bool(one["reasons"]) for one in known),
        "plaintext sessions": sum(one["counts"].get("plaintext", 0) for one in servers),
        "sessions on old certificates": old,
    }
    inside = [
        element("div", element("dt", escaped(name)), element("dd", str(count))) for name, count in numbers.items()
    ]
    return element("dl", *inside, class_="numbers") + "\n"


def _timeline(data: Mapping[str, Any], clusters: Clusters) -> str:
    drawn = timeline.drawn(data, lambda cluster: None if cluster is None else clusters.mark([cluster]))
    kinds = [one.kind for one in timeline.items(data)]
    return _picture("What ends when", drawn, timeline.legend(kinds)) if drawn else ""


def _graph(data: Mapping[str, Any], edges: Sequence[Edge], reach: Reach, clusters: Clusters) -> str:
    drawn = fleet_graph.drawn(data, edges, lambda targets: clusters.of_targets(targets, reach))
    return _picture("Who connects where", drawn, "") if drawn else ""


def _picture(title: str, drawn: str, legend: str) -> str:
    figure = element("figure", drawn, tabindex=0)
    return f"<h2>{escaped(title)}</h2>\n{figure}\n{legend}\n"


def _section(table: markup.Table, rows: Sequence[Sequence[markup.Cell]], clusters: Clusters) -> str:
    note = element("p", escaped(table.note), class_="note") + "\n" if table.note else ""
    return f"<h2>{escaped(table.title)}</h2>\n{markup.table(rows, table.headings, clusters)}{note}"


def _empty(titles: Sequence[str]) -> str:
    """Return what there is nothing of, which is good to know."""
    return element("p", escaped(f"None: {'; '.join(titles)}."), class_="note") + "\n" if titles else ""


def _note(about: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escaped(one)}</li>\n" for one in lines[:_MOST])
    return f"<p>{escaped(about)}:</p>\n<ul>\n{items}</ul>\n" if items else ""
