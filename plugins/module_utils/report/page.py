# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one page of HTML that needs nothing else. Every value is escaped: clients choose their names."""

from __future__ import annotations

import html
import re
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    endpoints,
    facts,
    headline,
    history,
    replication,
    tables,
)
from ansible_collections.pgops.tls.plugins.module_utils.report.tables import printable

_WHOLE = ("name", "when")  # classes of cells that stay on one line
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")
_SHORT = 16  # characters of a word that stays whole: an IPv4 address is one
_BEHIND_SEPARATOR = re.compile(r"(?<=[_:/=,.])(?!$)")
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
.headline { font-size: 1.2em; padding: .5em .8em; border-left: .3em solid; background: #f6f6f6 }
div { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; border-bottom: 1px solid #eee }
td { overflow-wrap: break-word }
.id { font: .85em/1.6 monospace; min-width: 20ch; overflow-wrap: anywhere }
.name, .when { white-space: nowrap }
.bad { color: #b00020; font-weight: 600 }
.good { color: #1b5e20 }
@media (max-width: 64em) {
  thead { display: none }
  .name { white-space: normal }
  table, tbody, tr, td { display: block }
  tr { border-bottom: 1px solid #ccc; padding: .5em 0 }
  td { border: 0; padding: .1rem 0 .1rem 8.5rem }
  td:empty { display: none }
  td::before { content: attr(data-of); float: left; width: 8rem; margin-left: -8.5rem }
  td::before { font: 600 15px/1.4 system-ui, sans-serif; color: #222 }
}
</style>
</head>
<body>
"""


class Cell:
    """A value, and the classes that mark it."""

    def __init__(self, value: object, mark: str = "") -> None:
        self.value = value
        self.mark = mark

    def as_html(self, heading: str) -> str:
        """Return the cell of a column escaped."""
        mark = f' class="{self.mark}"' if self.mark else ""
        return f'<td{mark} data-of="{escaped(heading)}">{self._text()}</td>'

    def _text(self) -> str:
        """Return the value escaped: a long word may end a line behind a separator, a date and a name may not."""
        if self.mark in _WHOLE:
            return escaped(self.value)
        return " ".join(_word(one) for one in printable(self.value).split(" "))


def _word(word: str) -> str:
    if _MOMENT.fullmatch(word):
        return f'<span class="when">{word}</span>'
    parts = _BEHIND_SEPARATOR.split(word) if len(word) > _SHORT else [word]
    return "<wbr>".join(html.escape(part, quote=True) for part in parts)


def escaped(value: object) -> str:
    """Return a value as text of HTML, with letters that cannot be seen as escapes."""
    return html.escape(printable(value), quote=True)


def text(data: Mapping[str, Any]) -> str:
    """Return a report as HTML."""
    now = clock.seconds(data["time"])
    parts = [
        _HEAD,
        "<h1>TLS of PostgreSQL</h1>\n",
        _first(headline.of(data)),
        f"<p>As of {escaped(data['time'])}. All times are UTC.</p>\n",
        _section("Hosts that were not looked at", _silent(data), _SILENT),
        _section("Plaintext", _plaintext(data), _PLAINTEXT),
        _section("Who was seen in plaintext", _seen(data), _SEEN),
        _section("Which applications use TLS", _applications(data), _APPLICATIONS),
        f"<p>{escaped(_UNSEEN)}</p>\n",
        _section("Sessions on old certificates", _old(data), _OLD),
        _section("Replication", _replication(data, now), _REPLICATION),
        _section("Servers outside the inventory", _endpoints(data, now), _ENDPOINTS),
        _section("Revoked certificates that poolers accept", _accepted(data), ("pooler", "serial numbers")),
        _section("Certificates", _certificates(data, now), _CERTIFICATES),
        _section("Authorities", _authorities(data, now), ("authority", "what", "name", "ends", "days left", "phase")),
        _note("The replacement of a root", data["waiting"]),
        _note("The next run of site.yml would", data["authority_changes"]),
        "</body>\n</html>\n",
    ]
    return "".join(parts)


_SILENT = ("host", "cluster", "as", "status", "why", "last look")
_PLAINTEXT = ("server", "cluster", "now", "looks", "is reject safe?")
_SEEN = ("server", "cluster", "role", "database", "address", "application", "first seen", "last seen", "looks")
_APPLICATIONS = ("server", "cluster", *tables.NAMES, "sessions", *tables.SECURITY, "last seen")
_UNSEEN = (
    "A server cannot see whether a client verifies it. Without TLS nothing is verified. A client certificate proves "
    "that the client is configured for TLS, not that it verifies the server."
)
_OLD = ("server", "cluster", "role", "database", "address", "application", "since", "certificate", "why")
_REPLICATION = (
    "server", "cluster", "connection", "from", "TLS", "certificate", "in use", "ends", "days left", "managed",
    "needs attention",
)  # fmt: skip
_ENDPOINTS = (
    "host", "identity", "server", "verify-full", "root", "root ends", "roots in file", "certificate ends", "days left",
    "needs attention",
)  # fmt: skip
_CERTIFICATES = ("host", "cluster", "as", "identity", "serial", "ends", "days left", "renewed from", "due because")


def _first(said: headline.Headline) -> str:
    mark = {True: " good", False: " bad", None: ""}[said.is_well]
    return f'<p class="headline{mark}">{escaped(said.text)}</p>\n'


def _section(title: str, rows: Iterable[Sequence[Cell]], headings: Sequence[str]) -> str:
    """Return a table; the column of clusters is left out where there are none."""
    found = list(rows)
    columns = [
        number for number, one in enumerate(headings) if one != "cluster" or any(row[number].value for row in found)
    ]
    headings = [headings[number] for number in columns]
    cells = ["".join(row[number].as_html(one) for number, one in zip(columns, headings)) for row in found]
    heading = f"<h2>{escaped(title)}</h2>\n"
    if not cells:
        return f"{heading}<p>None.</p>\n"
    lines = "\n".join(f"<tr>{row}</tr>" for row in cells[:_MOST])
    more = f"<p>And {len(cells) - _MOST} more, see report.json.</p>\n" if len(cells) > _MOST else ""
    head = "".join(f"<th>{escaped(one)}</th>" for one in headings)
    return f"{heading}<div><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>\n{more}"


def _silent(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for kind, host, one in facts.not_looked_at(data):
        is_bad = one["status"] != answers.NOT_ASKED
        yield (
            Cell(host, "name"),
            _cluster(one),
            Cell(kind),
            Cell(one["status"].replace("_", " "), "bad" if is_bad else ""),
            Cell(one["message"]),
            _when(one["last_look"], "never"),
        )


def _plaintext(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["servers"].items():
        known = one["plaintext"]
        count = one["counts"].get("plaintext", 0) if one["status"] == answers.OK else "not looked at"
        mark = "good" if known.get("looks") else "bad" if known.get("all_looks") else ""
        looks = f"{known.get('all_looks', 0)} since {known.get('first_look') or '-'}"
        answer = Cell(history.in_words(known), mark)
        yield Cell(host, "name"), _cluster(one), Cell(count, "bad" if count else ""), Cell(looks), answer


def _seen(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    names = ("role", "database", "address", "application")
    for host, one in data["servers"].items():
        for seen in one["plaintext"].get("seen", ()):
            days = (_when(seen["first_seen"]), _when(seen["last_seen"]))
            yield (Cell(host, "name"), _cluster(one), *(Cell(seen[name]) for name in names), *days, Cell(seen["looks"]))


def _applications(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["servers"].items():
        for seen in one["applications"]:
            marks = {"TLS": "" if seen["tls"] == "all" else "bad", "client certificate": "id", "issued by": "id"}
            yield (
                Cell(host, "name"),
                _cluster(one),
                *(Cell(seen[name]) for name in (*tables.NAMES, "sessions")),
                *(Cell(text, marks.get(name, "")) for name, text in zip(tables.SECURITY, tables.security(seen))),
                _when(seen["last_seen"]),
            )


def _old(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["servers"].items():
        for session in one["sessions"]:
            why = [finding.replace("_", " ") for finding in session["findings"] if finding != "plaintext"]
            if why:
                names = ("role", "database", "address", "application")
                yield (
                    Cell(host, "name"),
                    _cluster(one),
                    *(Cell(session[name]) for name in names),
                    _when(session["since"]),
                    Cell(f"{session['subject']} {session['serial']}".strip(), "id"),
                    Cell(", ".join(why), "bad" if "revoked certificate" in why else ""),
                )


def _replication(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for host, server, one in replication.of(data):
        security = replication.security(one)
        yield (
            Cell(host, "name"),
            _cluster(server),
            Cell(one["name"]),
            Cell(replication.leads_to(one)),
            Cell(security, "bad" if security == "plaintext" else ""),
            Cell(one["serial"] or "none", "id"),
            Cell(_in_use(one), "id"),
            _when(one["not_after"]),
            _days(one["not_after"], now) if one["not_after"] else Cell("-"),
            Cell("yes" if one["is_managed"] else "no"),
            Cell(", ".join(one["findings"]).replace("_", " "), "bad"),
        )


def _endpoints(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for host, one in endpoints.of(data):
        verdict = endpoints.verdict(one)
        yield (
            Cell(host, "name"),
            Cell(one["id"]),
            Cell(endpoints.place(one)),
            Cell(verdict, {"works": "good", "fails": "bad"}.get(verdict, "")),
            Cell(one["root"] or "-", "id"),
            _when(one["root_not_after"]),
            Cell(one["roots"] or "-"),
            _when(one["not_after"]),
            _days(one["not_after"], now) if one["not_after"] else Cell("-"),
            Cell(one["problem"] or ", ".join(one["findings"]).replace("_", " "), "bad"),
        )


def _in_use(one: Mapping[str, Any]) -> str:
    serial = one["serial_in_use"]
    return "unknown" if serial is None else serial or "none"


def _accepted(data: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    for host, one in data["poolers"].items():
        if one["accepted_revoked"]:
            yield Cell(host, "name"), Cell(", ".join(one["accepted_revoked"]), "id")


def _certificates(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for one in facts.certificates(data):
        yield (
            Cell(one["host"], "name"),
            _cluster(one),
            Cell(one["kind"]),
            Cell(one["id"]),
            Cell(one["serial"] or "none", "id"),
            _when(one["not_after"]),
            _days(one["not_after"], now),
            _when(one["renewal"]),
            Cell(", ".join(one["reasons"])),
        )


def _authorities(data: Mapping[str, Any], now: int) -> Iterator[Sequence[Cell]]:
    for name, authority in data["authorities"].items():
        ends = [(one["kind"], one["name"], one["not_after"]) for one in authority["certificates"]]
        ends += [("revocation list", one["name"], one["next_update"]) for one in authority["crls"]]
        for kind, common_name, end in ends:
            yield Cell(name), Cell(kind), Cell(common_name), _when(end), _days(end, now), Cell(authority["phase"])


def _cluster(one: Mapping[str, Any]) -> Cell:
    return Cell(facts.cluster(one), "name")


def _when(moment: str | None, otherwise: str = "-") -> Cell:
    """Return a moment for a person, to the minute."""
    return Cell(moment[:16].replace("T", " ") if moment else otherwise, "when")


def _days(moment: str | None, now: int) -> Cell:
    if moment is None:
        return Cell("-", "bad")
    days = facts.days_left(moment, now)
    return Cell(days, "bad" if days < headline.SOON else "")


def _note(about: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escaped(one)}</li>\n" for one in lines)
    return f"<p>{escaped(about)}:</p>\n<ul>\n{items}</ul>\n" if items else ""
