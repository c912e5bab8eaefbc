# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the page, each as rows of cells."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    connections,
    endpoints,
    facts,
    headline,
    history,
    lists,
    replication,
    tables,
)
from ansible_collections.pgops.tls.plugins.module_utils.report.connections import Edge, Holder, Reach, Target
from ansible_collections.pgops.tls.plugins.module_utils.report.markup import Cell, ClusterCell, Table

_NAMED = 5  # hosts of a role
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
_CONNECTIONS = ("role", "held by", "to", "seen as", "last seen", "certificates in use")
_UNUSED = ("role", "held by", "to", "cluster", "seen as")
_NO_USE = (
    "No server has seen a session with these certificates, as far as reports remember. Their clients are gone, "
    "use an older certificate, or log in without one."
)
_ACCEPTED = ("pooler", "cluster", "serial numbers")
_AUTHORITIES = ("authority", "what", "name", "ends", "days left", "phase")
_CERTIFICATES = ("host", "cluster", "as", "identity", "serial", "ends", "days left", "renewed from", "due because")


def of(data: Mapping[str, Any], edges: Sequence[Edge], reach: Reach) -> list[Table]:
    """Return all tables of a report; ``reach`` says which clusters a row is about."""
    now = clock.seconds(data["time"])
    return [
        Table("Hosts that were not looked at", _silent(data, reach), _SILENT),
        Table("Connections", _connections(edges, reach), _CONNECTIONS),
        Table("Roles without a certificate in use", _unused(edges, reach), _UNUSED, _NO_USE),
        Table("Plaintext", _plaintext(data), _PLAINTEXT),
        Table("Who was seen in plaintext", _seen(data), _SEEN),
        Table("Which applications use TLS", _applications(data), _APPLICATIONS, _UNSEEN),
        Table("Sessions on old certificates", _old(data), _OLD),
        Table("Replication", _replication(data, now), _REPLICATION),
        Table("Servers outside the inventory", _endpoints(data, now), _ENDPOINTS),
        Table("Revoked certificates that poolers accept", _accepted(data, reach), _ACCEPTED),
        Table("Certificates", _certificates(data, now, reach), _CERTIFICATES),
        Table("Authorities", _authorities(data, now), _AUTHORITIES),
    ]


def _connections(edges: Sequence[Edge], reach: Reach) -> Iterator[Sequence[Cell]]:
    marks = {connections.PLAINTEXT: "bad", connections.OLD: "bad", connections.VERIFIED: "good"}
    for one in edges:
        yield (
            Cell(one.holder.role, "name"),
            Cell(_held_by(one.holder)),
            _to(one.target, reach),
            Cell(connections.WORDS[one.proof], marks.get(one.proof, "")),
            _when(one.last_seen, "-"),
            Cell(f"{one.in_use} of {one.of}" if one.of and one.proof != connections.UNKNOWN else "-"),
        )


def _unused(edges: Sequence[Edge], reach: Reach) -> Iterator[Sequence[Cell]]:
    for holder, own in connections.unused(edges):
        yield (
            Cell(holder.role, "name"),
            Cell(_held_by(holder)),
            Cell(", ".join(one.target.name for one in own)),
            ClusterCell(cluster for one in own for cluster in reach.of_target(one.target)),
            Cell(", ".join(sorted({connections.WORDS[one.proof] for one in own}))),
        )


def _held_by(holder: Holder) -> str:
    """Return who has a role's certificate; the first of many."""
    if holder.kind == connections.OTHER:
        return "not in the inventory"
    some = ", ".join(holder.hosts[:_NAMED])
    more = f" and {len(holder.hosts) - _NAMED} more" if len(holder.hosts) > _NAMED else ""
    return f"{'kit ' if holder.kind == connections.KIT else ''}{some}{more}"


def _to(target: Target, reach: Reach) -> Cell:
    kind = "" if target.kind == connections.CLUSTER else f"{target.kind} "
    return ClusterCell(reach.of_target(target), f"{kind}{target.name}")


def _silent(data: Mapping[str, Any], reach: Reach) -> Iterator[Sequence[Cell]]:
    for kind, host, one in facts.not_looked_at(data):
        is_bad = one["status"] != answers.NOT_ASKED
        yield (
            Cell(host, "name"),
            ClusterCell(reach.of(kind, host)),
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


def _accepted(data: Mapping[str, Any], reach: Reach) -> Iterator[Sequence[Cell]]:
    for host, one in data["poolers"].items():
        if one["accepted_revoked"]:
            clusters = ClusterCell(reach.of("pooler", host))
            yield Cell(host, "name"), clusters, Cell(", ".join(one["accepted_revoked"]), "id")


def _certificates(data: Mapping[str, Any], now: int, reach: Reach) -> Iterator[Sequence[Cell]]:
    for one in facts.certificates(data):
        yield (
            Cell(one["host"], "name"),
            ClusterCell(reach.of(one["kind"], one["host"], one["id"])),
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
        phase = Cell(authority["phase"])
        for one in authority["certificates"]:
            end = one["not_after"]
            yield Cell(name), Cell(one["kind"]), Cell(one["name"]), _when(end), _days(end, now), phase
        for one in authority["crls"]:
            end = one["next_update"]
            days = Cell(facts.days_left(end, now), "bad" if lists.is_late(one, now) else "")
            yield Cell(name), Cell("revocation list"), Cell(one["name"]), _when(end), days, phase
        if lists.unenforced(authority):
            none = Cell(f"none: {lists.unenforced_in_words(authority)}", "bad")
            yield Cell(name), Cell("revocation list"), none, Cell("-"), Cell("-"), phase


def _cluster(one: Mapping[str, Any]) -> Cell:
    return ClusterCell([facts.cluster(one)])


def _when(moment: str | None, otherwise: str = "-") -> Cell:
    """Return a moment for a person, to the minute."""
    return Cell(moment[:16].replace("T", " ") if moment else otherwise, "when")


def _days(moment: str | None, now: int) -> Cell:
    if moment is None:
        return Cell("-", "bad")
    days = facts.days_left(moment, now)
    return Cell(days, "bad" if days < headline.SOON else "")
