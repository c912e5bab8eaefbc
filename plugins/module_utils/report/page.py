# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one page of HTML that needs nothing else. Every value is escaped: clients choose their names."""

from __future__ import annotations

import html
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import answers, facts, history
from ansible_collections.pgops.tls.plugins.module_utils.report.tables import printable

_SOON = 14  # days before its end from which on a certificate is shown in red: a run renews much earlier
_MOST = 500  # rows of a table; report.json has all
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>TLS of PostgreSQL</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222 }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; border-bottom: 1px solid #eee }
td { overflow-wrap: anywhere }
.bad { color: #b00020; font-weight: 600 }
.good { color: #1b5e20 }
</style>
</head>
<body>
"""


class Cell:
    """A value, and the class that marks it."""

    def __init__(self, value: object, mark: str = "") -> None:
        self.value = value
        self.mark = mark

    def as_html(self) -> str:
        """Return the cell escaped."""
        mark = f' class="{self.mark}"' if self.mark else ""
        return f"<td{mark}>{escaped(self.value)}</td>"


def escaped(value: object) -> str:
    """Return a value as text of HTML, with letters that cannot be seen as escapes."""
    return html.escape(printable(value), quote=True)


def text(data: Mapping[str, Any]) -> str:
    """Return a report as HTML."""
    now = clock.seconds(data["time"])
    parts = [
        _HEAD,
        f"<h1>TLS of PostgreSQL</h1>\n<p>As of {escaped(data['time'])}.</p>\n",
        _section("Hosts that were not looked at", _silent(data), ("host", "as", "status", "why", "last look")),
        _section("Plaintext", _plaintext(data), ("server", "now", "looks", "is reject safe?")),
        _section("Who was seen in plaintext", _seen(data), _SEEN),
        _section("Sessions on old certificates", _old(data), _OLD),
        _section("Certificates", _certificates(data, now), _CERTIFICATES),
        _section("Authorities", _authorities(data, now), ("authority", "what", "name", "ends", "days left", "phase")),
        _note(data["authority_changes"]),
        "</body>\n</html>\n",
    ]
    return "".join(parts)


_SEEN = ("server", "role", "database", "address", "application", "first seen", "last seen", "looks")
_OLD = ("server", "role", "database", "address", "application", "since", "certificate", "why")
_CERTIFICATES = ("host", "as", "identity", "serial", "ends", "days left", "renewed from", "due because")


def _section(title: str, rows: Iterable[Sequence[Cell]], headings: Sequence[str]) -> str:
    cells = ["".join(cell.as_html() for cell in row) for row in rows]
    heading = f"<h2>{escaped(title)}</h2>\n"
    if not cells:
        return f"{heading}<p>None.</p>\n"
    lines = "\n".join(f"<tr>{row}</tr>" for row in cells[:_MOST])
    more = f"<p>And {len(cells) - _MOST} more, see report.json.</p>\n" if len(cells) > _MOST else ""
    head = "".join(f"<th>{escaped(one)}</th>" for one in headings)
    return f"{heading}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n{more}"


def _silent(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for kind, host, one in facts.not_looked_at(data):
        is_bad = one["status"] != answers.NOT_ASKED
        yield (
            Cell(host),
            Cell(kind),
            Cell(one["status"].replace("_", " "), "bad" if is_bad else ""),
            Cell(one["message"]),
            Cell(one["last_look"] or "never"),
        )


def _plaintext(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["servers"].items():
        known = one["plaintext"]
        count = one["counts"].get("plaintext", 0) if one["status"] == answers.OK else "not looked at"
        mark = "good" if known.get("looks") else "bad" if known.get("all_looks") else ""
        looks = f"{known.get('all_looks', 0)} since {known.get('first_look') or '-'}"
        yield Cell(host), Cell(count, "bad" if count else ""), Cell(looks), Cell(history.in_words(known), mark)


def _seen(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    names = ("role", "database", "address", "application", "first_seen", "last_seen", "looks")
    for host, one in data["servers"].items():
        for seen in one["plaintext"].get("seen", ()):
            yield (Cell(host), *(Cell(seen[name]) for name in names))


def _old(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["servers"].items():
        for session in one["sessions"]:
            why = [finding.replace("_", " ") for finding in session["findings"] if finding != "plaintext"]
            if why:
                names = ("role", "database", "address", "application", "since")
                yield (
                    Cell(host),
                    *(Cell(session[name]) for name in names),
                    Cell(f"{session['subject']} {session['serial']}".strip()),
                    Cell(", ".join(why), "bad" if "revoked certificate" in why else ""),
                )


def _certificates(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for one in facts.certificates(data):
        yield (
            Cell(one["host"]),
            Cell(one["kind"]),
            Cell(one["id"]),
            Cell(one["serial"] or "none"),
            Cell(one["not_after"] or "-"),
            _days(one["not_after"], now),
            Cell(one["renewal"] or "-"),
            Cell(", ".join(one["reasons"])),
        )


def _authorities(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for name, authority in data["authorities"].items():
        ends = [(one["kind"], one["name"], one["not_after"]) for one in authority["certificates"]]
        ends += [("revocation list", one["name"], one["next_update"]) for one in authority["crls"]]
        for kind, common_name, end in ends:
            yield Cell(name), Cell(kind), Cell(common_name), Cell(end), _days(end, now), Cell(authority["phase"])


def _days(moment: str | None, now: int) -> Cell:
    if moment is None:
        return Cell("-", "bad")
    days = facts.days_left(moment, now)
    return Cell(days, "bad" if days < _SOON else "")


def _note(changes: Sequence[str]) -> str:
    items = "".join(f"<li>{escaped(one)}</li>\n" for one in changes)
    return f"<p>The next run of site.yml would:</p>\n<ul>\n{items}</ul>\n" if items else ""
