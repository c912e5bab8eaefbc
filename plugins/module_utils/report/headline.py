# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says first: whether all is well, or what to do first."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import (
    answers,
    endpoints,
    facts,
    history,
    lists,
    replication,
)
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN

SOON = 14  # days before the end of what runs renew much earlier
_DATE = 10  # characters of a moment, which are its date


class Headline(NamedTuple):
    """One line, and whether it says that all is well (None: nothing was looked at)."""

    is_well: bool | None
    text: str


def of(data: Mapping[str, Any]) -> Headline:
    """Return the headline of a report."""
    problems = list(_problems(data))
    if problems:
        others = f" {_counted(len(problems) - 1, 'more problem')} below." if len(problems) > 1 else ""
        return Headline(False, f"First {problems[0]}.{others}")
    counts = {kind: sum(one["status"] == answers.OK for one in data[kind].values()) for kind in answers.KINDS}
    if not any(counts.values()):
        return Headline(None, "Nothing is known: no host was looked at. Run pgops.tls.report without --limit.")
    poolers = f"{_counted(counts['poolers'], 'pooler')}, " if data["poolers"] else ""
    clients = _counted(counts["clients"], "client host")
    looked_at = f"{_counted(counts['servers'], 'server')}, {poolers}{clients} checked"
    left_out = len(facts.not_looked_at(data))
    others = f" ({_counted(left_out, 'host')} not asked)" if left_out else ""
    following = min(_following(data), default=None)
    when = f", next {following[1]} on {following[0]}" if following else ""
    return Headline(True, f"All is well: {looked_at}{others}{when}.")


def _problems(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong as what to do and why, the most urgent first."""
    now = clock.seconds(data["time"])
    known = facts.certificates(data)
    late = [one for one in known if is_late(one, now)]
    yield from (f"{_remedy(one)}: {_fate(one, now)}" for one in late)
    for kind, host, silent in facts.not_looked_at(data):
        if silent["status"] != answers.NOT_ASKED:
            yield f"find out why {kind} {host} gave no answer: {silent['status']}"
    yield from replication.urgent(data)
    yield from endpoints.urgent(data)
    yield from _of_authorities(data, now)
    if data.get("waiting"):
        yield "bring back the hosts that the replacement of a root waits for, see below"
    yield from _of_revoked(data)
    yield from (
        f"run {_playbook(one)}: the certificate of {_name(one)} is due"
        for one in known
        if one["reasons"] and one not in late
    )
    yield from (f"run pgops.tls.site: it would {change}" for change in data["authority_changes"])
    yield from _of_plaintext(data)
    yield from replication.later(data)
    yield from endpoints.later(data)
    yield from _of_poolers(data)


def _of_authorities(data: Mapping[str, Any], now: int) -> Iterator[str]:
    for name, authority in data["authorities"].items():
        accepted = lists.unenforced_in_words(authority)
        if accepted:
            yield f"have the {name} CA make new revocation lists: without them {accepted}"
    for name, authority in data["authorities"].items():
        for one in authority["certificates"]:
            if facts.days_left(one["not_after"], now) < SOON:
                what = f"the {one['kind']} {one['name']} of the {name} CA {_ended(one['not_after'], now)}"
                yield f"{_successor(name, authority['source'], one['kind'])}: {what}"
        yield from lists.late(name, authority, now)


def _successor(name: str, source: str, kind: str) -> str:
    """Return what brings another root or issuing CA."""
    if source != OWN:
        return f"ask who manages the {name} CA for a new {kind}"
    return "run pgops.tls.rotate_ca" if kind == "root" else "run pgops.tls.site"


def _of_revoked(data: Mapping[str, Any]) -> Iterator[str]:
    for host, one in data["servers"].items():
        count = sum("revoked_certificate" in session["findings"] for session in one["sessions"])
        if count:
            yield f"end {_counted(count, 'session')} on {host} (pg_terminate_backend): the certificate is revoked"


def _of_plaintext(data: Mapping[str, Any]) -> Iterator[str]:
    for host, one in data["servers"].items():
        count = one["counts"].get("plaintext", 0)
        if count:
            yield f"move the clients of {host} to TLS: {_counted(count, 'session')} without it"
        elif one["status"] == answers.NOT_ASKED and history.has_seen(one["plaintext"]):
            yield f"move the clients of {host} to TLS: its last look saw sessions without it"


def _of_poolers(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the poolers that cannot refuse a revoked certificate. Nothing says whether its role is shut out there."""
    for host, one in data["poolers"].items():
        if one["accepted_revoked"]:
            count = _counted(len(one["accepted_revoked"]), "revoked certificate")
            yield f"check that the roles of {count} cannot log in to pooler {host}, which accepts them"


def _ends(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield authority, kind, name and end of whatever ends of the authorities."""
    for name, authority in data["authorities"].items():
        for one in authority["certificates"]:
            yield name, one["kind"], one["name"], one["not_after"]
        for one in authority["crls"]:
            yield name, "revocation list", one["name"], one["next_update"]


def _following(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dates of what comes next, and what it is."""
    for one in facts.certificates(data):
        moment, what = (one["renewal"], "renewal") if one["renewal"] else (one["not_after"], "expiry")
        yield moment[:_DATE], f"{what} ({_name(one)})"
    for name, kind, _common_name, end in _ends(data):
        yield end[:_DATE], f"expiry ({kind} of the {name} CA)"


def is_late(one: Mapping[str, Any], now: int) -> bool:
    """Return whether a certificate is missing, has ended, or ends soon without a renewal that is still to come."""
    if one["not_after"] is None:
        return True
    is_to_come = one["renewal"] is not None and clock.seconds(one["renewal"]) > now
    return facts.days_left(one["not_after"], now) < (0 if is_to_come else SOON)


def _remedy(one: Mapping[str, Any]) -> str:
    """Return what renews a certificate."""
    return f"run {_playbook(one)}" if one["is_managed"] else "ask who manages the server for a new certificate"


def _fate(one: Mapping[str, Any], now: int) -> str:
    if one["not_after"] is None:
        return f"{_name(one)} has no certificate"
    return f"the certificate of {_name(one)} {_ended(one['not_after'], now)}"


def _ended(end: str, now: int) -> str:
    return f"{'ends' if clock.seconds(end) > now else 'ended'} on {end[:_DATE]}"


def _playbook(one: Mapping[str, Any]) -> str:
    """Return the playbook that renews a certificate."""
    return "pgops.tls.client_kit" if one["kind"] == "kit" else "pgops.tls.site"


def _name(one: Mapping[str, Any]) -> str:
    kit = "kit " if one["kind"] == "kit" else ""
    return f"{kit}{one['host']} {one['id']}".strip()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
