# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as data: what this run learned, and what was known before about hosts that it learned nothing about."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    connections,
    endpoints,
    history,
    lists,
    replication,
)
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate

VERSION = 1  # of the form of the data
DAY = 86400


class Learned(NamedTuple):
    """What a run has learned: results of modules by host, the authorities, and what a run would change of them.

    ``clusters`` are those of servers, as the inventory has them.
    ``waiting`` are lines on hosts that the replacement of a root waits for.
    ``replication``: what the inventory says of connections by host and name, see replication.py.
    ``pooler_authorities``: the client authority that each pooler trusts. ``logins``: results of logins at servers that
    are not managed, by the names that they have in the report.
    ``kits``: those of people and applications outside the inventory by name, each with its certificate.
    ``connections``: who connects where as the inventory has it, see connections.py.
    """

    servers: Mapping[str, Mapping[str, Any]]
    clients: Mapping[str, Mapping[str, Any]]
    authorities: Mapping[str, Mapping[str, Any]]
    authority_changes: list[str]
    clusters: Mapping[str, str] = {}
    waiting: Sequence[str] = ()
    poolers: Mapping[str, Mapping[str, Any]] = {}
    replication: Mapping[str, Mapping[str, Any]] = {}
    pooler_authorities: Mapping[str, str] = {}
    logins: Mapping[str, Mapping[str, Any]] = {}
    kits: Mapping[str, Mapping[str, Any]] = {}
    connections: Sequence[Mapping[str, Any]] = ()


def report(learned: Learned, before: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return the report. ``before`` is the last one, or empty; ``now`` is in Unix seconds. Raises TlsError.

    Hosts that are no longer in the inventory are forgotten.
    """
    twice = sorted(learned.logins.keys() & learned.servers.keys())
    if twice:
        raise TlsError(
            f"logins: found {shown(twice[0])}, which is the name of a managed server. The report shows each under its "
            "name.",
            remedy="Give the login another name, or remove it.",
            code="login_name_taken",
        )
    learned = learned._replace(servers={**learned.servers, **learned.logins})
    hosts = {
        kind: {
            host: _looked(kind, one, before.get(kind, {}).get(host, {}), now)
            for host, one in getattr(learned, kind).items()
        }
        for kind in answers.KINDS
    }
    _complete_servers(hosts["servers"], before.get("servers", {}), learned, now)
    for host, one in hosts["poolers"].items():
        authority = str(learned.pooler_authorities.get(host) or "")
        revoked = learned.authorities.get(authority, {}).get("revoked") or ()
        one["accepted_revoked"] = [answers.text(serial) for serial in revoked]
    return {
        "version": VERSION,
        "time": clock.instant(now),
        "authorities": {name: _authority(found) for name, found in learned.authorities.items()},
        "authority_changes": [answers.text(one) for one in learned.authority_changes],
        "waiting": [answers.text(one) for one in learned.waiting],
        "connections": connections.read(learned.connections),
        "last_complete": _last_complete(hosts, before, now),
        **hosts,
    }


def _last_complete(hosts: Mapping[str, Mapping[str, Any]], before: Mapping[str, Any], now: int) -> str | None:
    """Return when every host answered last, None if that never was. One that was not asked says nothing."""
    is_complete = all(one["status"] == answers.OK for kind in answers.KINDS for one in hosts[kind].values())
    return clock.instant(now) if is_complete else before.get("last_complete")


def _looked(kind: str, result: Mapping[str, Any], before: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return what is known of a host: what it answered, else what it answered at the last look that succeeded."""
    answer = answers.of(kind, result)
    is_new = answer.status == answers.OK
    forgotten = _OF_THIS_LOOK if answer.status == answers.NOT_ASKED else (*_OF_THIS_LOOK, *_OF_LAST_ANSWER)
    facts = answer.facts if is_new else {key: value for key, value in before.items() if key not in forgotten}
    return {
        **facts,
        "status": answer.status,
        "message": answer.message,
        "last_look": clock.instant(now) if is_new else before.get("last_look"),
    }


# Who was connected at the last look is not who is now
_OF_THIS_LOOK = ("status", "message", "last_look", "sessions", "senders", "counts", "plaintext")
# What stays as it was found until somebody looks again: a host that fails is a problem itself, one left out is none
_OF_LAST_ANSWER = ("replication", "endpoints")


def _complete_servers(
    servers: dict[str, dict[str, Any]], before: Mapping[str, Any], learned: Learned, now: int
) -> None:
    """Add to servers what their own answer does not say."""
    senders = {host: one["senders"] for host, one in servers.items() if one["status"] == answers.OK}
    for host, one in servers.items():
        known_before = before.get(host, {})
        past = known_before.get("plaintext", {})
        if one["status"] == answers.OK:
            one["applications"] = history.applications(known_before.get("applications", ()), one["applications"], now)
            plain = [session for session in one["sessions"] if "plaintext" in session["findings"]]
            past = history.after_look(past, plain, now)
            known = learned.replication.get(host) or {}
            one["replication"] = [
                replication.completed(own, known.get(own["name"]) or {}, senders) for own in one["replication"]
            ]
        one.update(plaintext=past, cluster=str(learned.clusters.get(host) or ""))
        one["is_managed"] = host not in learned.logins
        one.setdefault("applications", [])
        one.setdefault("replication", [])
        one.setdefault("sessions", [])
        one.setdefault("counts", {})


def _authority(found: Mapping[str, Any]) -> dict[str, Any]:
    roots = [("root", one) for one in certificate.read_pem(found["roots"], "authorities")]
    names = {root.subject for _kind, root in roots}  # a new root that the old one has signed is listed once
    between = certificate.read_pem(found["issuing"], "authorities")
    issuing = [("issuing", one) for one in between if one.subject not in names]
    return {
        "phase": str(found.get("phase") or ""),
        "certificates": [
            {"kind": kind, "name": one.common_name, "not_after": clock.instant(one.not_after)}
            for kind, one in [*roots, *issuing]
        ],
        "source": str(found.get("source") or OWN),
        "crls": lists.read(found),
        "revoked": len(found.get("revoked") or ()),
    }


def days_left(moment: str, now: int) -> int:
    """Return the whole days from ``now`` (Unix seconds) to a moment, negative ones if it is past."""
    return (clock.seconds(moment) - now) // DAY


def certificates(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all certificates of hosts in a report, those that end first at the head; one that is missing first of all.

    Each has the host, its kind and, for a server, the cluster, for a client, the identity, for a pooler, which of both
    it is.
    """
    found = [
        {
            "host": host,
            "kind": kind[:-1],
            "cluster": cluster(one),
            "last_look": one["last_look"],
            "is_managed": one.get("is_managed", True),
            **own,
        }
        for kind in answers.KINDS
        for host, one in data[kind].items()
        for own in answers.certificates(kind, one)
    ]
    return sorted(found, key=lambda one: (one["not_after"] or "", one["host"], one["id"]))


def cluster(one: Mapping[str, Any]) -> str:
    """Return the cluster of a host in a report, or of a certificate; '' for a client host, and where there is none."""
    return str(one.get("cluster") or "")


def not_looked_at(data: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return kind, host and what is known of each host that was not looked at in this run."""
    return [
        (kind[:-1], host, one)
        for kind in answers.KINDS
        for host, one in data[kind].items()
        if one["status"] != answers.OK
    ]


def summary(data: Mapping[str, Any]) -> list[str]:
    """Return what matters of a report in a few lines."""
    now = clock.seconds(data["time"])
    known = certificates(data)
    due = [one for one in known if one["reasons"]]
    ends = [one for one in known if one["not_after"]]
    lines = [
        f"{len(known)} certificates, {len(due)} due to be renewed"
        + (f", next to end: {_end(ends[0], now)}" if ends else "")
    ]
    for name, one in data["authorities"].items():
        first = min(one["certificates"], key=lambda found: str(found["not_after"]))
        lines.append(
            f"{name} CA: {one['phase'] or 'steady'}; {first['name']} ends in {days_left(first['not_after'], now)} days"
        )
        if lists.unenforced(one):
            lines.append(f"{name} CA: no revocation list that can be used: {lists.unenforced_in_words(one)}")
    for host, one in data["servers"].items():
        if one["status"] == answers.OK:
            old = sum(any(finding != "plaintext" for finding in session["findings"]) for session in one["sessions"])
            lines.append(
                f"{host}: plaintext: {history.in_words(one['plaintext'])}; sessions on old certificates: {old}"
            )
    lines += [
        f"{host}: {one['name']} from {replication.leads_to(one)}: {', '.join(one['findings'])}"
        for host, _server, one in replication.of(data)
        if one["findings"]
    ]
    lines += [
        f"{host}: accepts revoked certificates: {len(one['accepted_revoked'])}"
        for host, one in data["poolers"].items()
        if one["accepted_revoked"]
    ]
    lines += endpoints.lines(data)
    lines += data["waiting"]
    lines += [f"{host} ({kind}): {one['status']}: {one['message']}" for kind, host, one in not_looked_at(data)]
    return lines


def _end(one: Mapping[str, Any], now: int) -> str:
    kit = "kit " if one["kind"] == "kit" else ""
    what = f"{kit}{one['host']} {one['id']}".strip()
    return f"{what} in {days_left(one['not_after'], now)} days"
