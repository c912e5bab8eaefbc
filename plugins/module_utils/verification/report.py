# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a verification: an aligned table, and a sentence for everything that is wrong."""

from __future__ import annotations

import re
from typing import Any, Container, Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.verification import refusal_messages, verdicts

_UNRESOLVED = "could not translate host name"
# What to look at, by libpq's reason
HINTS = {
    "Connection refused": "Check that the server is running, that this is its port, that listen_addresses covers this "
    "address, and that no firewall rejects it.",
    "timeout expired|No route to host|Network is unreachable": (
        "Check that this is its address, and that no firewall drops the connection."
    ),
    _UNRESOLVED: "The client host must know this name (DNS, /etc/hosts).",
}
_UNUSED = "If no client uses the name, remove it there. If only some do, list them in from of the name."
HEADINGS = ("CLIENT", "ROLE", "SERVER", "NAME", "EXPECTED", "RESULT", "PROTOCOL", "CIPHER OR REASON")


def as_result(check: Any) -> dict[str, Any]:
    """Return a check of module_utils.verification.checks as module connection_info returns it."""
    expectation, attempt, verdict = check
    session = attempt.session if attempt is not None else None
    if session is not None and expectation.pooler:  # pg_stat_ssl shows the connection of the pooler
        session = session._replace(protocol=attempt.protocol, cipher=attempt.cipher, client_dn="")
    return {
        "status": verdict.status,
        "reason": verdict.reason,
        "wanted": expectation.wanted,
        "expect": expectation.expect,
        "server": expectation.server,
        "servers": list(expectation.servers),
        "answered_by": verdict.answered_by,
        "note": verdict.note,
        "host": expectation.host,
        "port": expectation.port,
        "os_user": expectation.os_user,
        "role": expectation.role,
        "identity": expectation.identity,
        "protocol": session.protocol if session else "",
        "cipher": session.cipher if session else "",
        "group": attempt.group if session else "",
        "client_dn": session.client_dn if session else "",
        "message": refusal_messages.readable(attempt.message) if attempt is not None and attempt.message else "",
    }


def is_fault(check: Mapping[str, Any]) -> bool:
    """Tell whether a check makes the verification fail."""
    return check["status"] not in (verdicts.OK, verdicts.PROMPT, verdicts.SKIPPED)


def sentence(check: Mapping[str, Any]) -> str:
    """Return what was expected of a connection and what happened."""
    return (
        f"OS user {check['os_user']} as role {check['role']} to server {check['server']} "
        f"by name {check['host']}, port {check['port']}: expected {check['wanted']}; it {check['reason']}."
    )


def causes(checks: Iterable[Mapping[str, Any]], origins: Mapping[tuple[str, str], str] | None = None) -> list[str]:
    """Return a sentence for each cause of faults, and not for what follows from it: a server that is down is one.

    ``origins`` are the variables that the names of servers come from, see ``fleet.origins``.
    """
    faults = [one for one in checks if is_fault(one)]
    broken = {one["server"] for one in faults if one["status"] == verdicts.DEVIATION}
    by_cause: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    unproven: dict[str, int] = {}
    for one in faults:
        if one["status"] == verdicts.UNPROVEN and one["server"] in broken:
            unproven[one["server"]] = unproven.get(one["server"], 0) + 1
        else:
            by_cause.setdefault((one["server"], one["reason"]), []).append(one)
    found = {key: _cause(alike, origins or {}) for key, alike in by_cause.items()}
    for server, count in unproven.items():
        last = [key for key in found if key[0] == server][-1]
        found[last] += f" For that, {count} refusals are unproven."
    return list(found.values())


def _cause(alike: Sequence[Mapping[str, Any]], origins: Mapping[tuple[str, str], str]) -> str:
    """Return what is wrong with connections to one server that failed for one reason."""
    first, more = alike[0], len(alike) - 1
    others = f" The same with {more} more of its connections to this server." if more else ""
    hints = [hint for pattern, hint in HINTS.items() if re.search(pattern, first["reason"])][:1]
    if _UNRESOLVED in first["reason"]:
        sources = {one: origins[one, first["host"]] for one in first["servers"] if (one, first["host"]) in origins}
        hints += [f"It comes from {source} of {server}." for server, source in sources.items()]
        hints += [_UNUSED] if sources else []
    return " ".join([f"{sentence(first)}{others}", *hints])


def deviations(
    results: Mapping[str, Mapping[str, Any]],
    behind: Container[str] = (),
    origins: Mapping[tuple[str, str], str] | None = None,
) -> list[str]:
    """Return a sentence for each cause of what is wrong on any client host.

    ``results`` are those of module connection_info by client host; one without checks is a fault of its own, unless it
    was skipped. ``behind`` are servers whose own run failed: what is wrong with them is known. ``origins`` is that of
    ``causes``.
    """
    found = []
    for client, result in results.items():
        if "checks" not in result and not result.get("skipped"):
            found.append(f"Client {client}: nothing was verified: {_why_not(result)}")
        checks = [one for one in result.get("checks", ()) if not any(server in behind for server in one["servers"])]
        found += [f"Client {client}, {cause}" for cause in causes(checks, origins)]
    return found


def table(results: Mapping[str, Mapping[str, Any]], show: str = "all", notes: Sequence[str] = ()) -> list[str]:
    """Return the lines of an aligned table of all checks (or, with ``show`` = problems, of those not ok), and a sum.

    ``notes`` are lines below it, on what was not verified.
    """
    rows = [row for client, result in results.items() for row in _rows(client, result, show)]
    return [*(_aligned([HEADINGS, *rows]) if rows else []), summary(results), *notes]


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many checks ended how, in one line."""
    statuses = [one["status"] for result in results.values() for one in result.get("checks", ())]
    counts = [
        f"{statuses.count(status)} {words}"
        for status, words in (
            (verdicts.OK, "as expected"),
            (verdicts.PROMPT, "up to the password prompt"),
            (verdicts.SKIPPED, "skipped"),
            (verdicts.UNPROVEN, "unproven"),
            (verdicts.DEVIATION, "not as expected"),
        )
        if status in statuses
    ]
    unknown = sum(is_of_unknown_server(one) for result in results.values() for one in result.get("checks", ()))
    if unknown:
        counts.append(f"{unknown} of these answered by a server that this run cannot identify")
    silent = [client for client, result in results.items() if "checks" not in result]
    if silent:
        counts.append(f"nothing verified on {', '.join(silent)}")
    return f"{len(statuses)} connections from {len(results)} client hosts: {', '.join(counts) or 'none'}"


def _rows(client: str, result: Mapping[str, Any], show: str) -> Iterable[Sequence[str]]:
    if "checks" not in result:
        yield (client, "-", "-", "-", "-", "NOTHING VERIFIED", "-", _why_not(result))
    for one in result.get("checks", ()):
        if show == "all" or one["status"] != verdicts.OK:
            is_shown = one["status"] == verdicts.OK and one["cipher"]
            keys = ", ".join(filter(None, (one["cipher"], one["group"])))
            yield (
                client,
                one["role"],
                one["answered_by"] or one["server"],
                f"{one['host']}:{one['port']}",
                one["wanted"],
                one["status"] if not is_fault(one) else one["status"].upper(),
                one["protocol"] or "-",
                "; ".join([keys if is_shown else one["reason"], *_of_server(one)]),
            )


def is_of_unknown_server(check: Mapping[str, Any]) -> bool:
    """Tell whether a check is as expected, but does not show which server it was."""
    is_right = check["status"] in (verdicts.OK, verdicts.PROMPT)
    return is_right and check["expect"] == "accepted" and bool(check["note"]) and not check["answered_by"]


def _of_server(check: Mapping[str, Any]) -> Iterable[str]:
    """Say more of which server answered, where its name is not the whole of it."""
    if is_fault(check) or check["status"] == verdicts.SKIPPED:
        return
    if check["answered_by"] and len(check["servers"]) > 1:
        yield f"this name is shared by {check['server']}"
    if check["note"]:
        yield check["note"]


def _why_not(result: Mapping[str, Any]) -> str:
    if result.get("skipped"):
        return "this host failed before"
    return str(result.get("msg") or "the host gave no result")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns of one width; double quotes would come out escaped in Ansible's output."""
    plain = [[" ".join(str(cell).split()).replace('"', "'") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in plain) for column in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in plain]
