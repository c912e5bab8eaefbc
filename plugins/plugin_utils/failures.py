# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed in a run of the playbook, host by host, and the summary that a person reads of it.

Only messages are read, never whole results: those may hold what is none of a reader's business.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.verification import report
from ansible_collections.pgops.tls.plugins.plugin_utils import gaps, results
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

VERIFICATION = "verification"
# The step that a host failed in, and what the names of its results begin with (postgres_...)
_STEPS = {
    **{kind.step: kind.step for kind in KINDS},
    "replication": "server_replication",
    "patroni": "server_patroni",
    VERIFICATION: "verify",
}
_ENDPOINTS = [kind.step for kind in KINDS if kind.is_endpoint]
_LONGEST = 1500  # characters of a message; the whole of it is where the task failed


class Failure(NamedTuple):
    """A host that failed, in which step, and why."""

    host: str
    step: str
    message: str


def failures(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> list[Failure]:
    """Return what failed on ``hosts``, in their order. ``hostvars`` are the variables of all hosts."""
    return [failure for host in hosts for failure in _of_host(host, hostvars[host])]


def _of_host(host: str, variables: Mapping[str, Any]) -> Iterator[Failure]:
    for step, role in _STEPS.items():
        message = results.failed(variables, role) or _unreachable(_of_modules(variables, role))
        if message:
            yield Failure(host, step, _as_line(message))


def of_endpoints(found: Iterable[Failure]) -> list[str]:
    """Return the hosts that failed in a way that clients notice."""
    return [failure.host for failure in found if failure.step in _ENDPOINTS]


def away(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> list[str]:
    """Return which of ``hosts`` could not be reached by a run, or by a report: the others go on without them."""
    return [host for host in hosts if any(_unreachable(_answers(hostvars[host], step)) for step in _STEPS.values())]


def _answers(variables: Mapping[str, Any], step: str) -> list[Mapping[str, Any]]:
    return [*_of_modules(variables, step), results.looked_up(variables, step)]


def _of_modules(variables: Mapping[str, Any], step: str) -> list[Mapping[str, Any]]:
    return [results.converged(variables, step), results.installed(variables, step)]


def _unreachable(found: Sequence[Mapping[str, Any]]) -> str:
    """Return why a host could not be reached, '' if it could; the playbook continues without it."""
    messages = [str(one.get("msg")) for one in found if one.get("unreachable")]
    return f"could not be reached: {messages[0].replace('Task failed: ', '', 1)}" if messages else ""


def _as_line(message: Any) -> str:
    line = " ".join(str(message).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def summary(
    hostvars: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    is_verified: bool = True,
) -> list[str]:
    """Return the summary of a run on ``hosts``: each cause with all that have it, and what is not verified.

    It is empty where none failed and some connection was verified. ``groups`` are those of the inventory, without them
    only failures count; ``is_verified``: the run was to try connections.
    """
    found = failures(hostvars, hosts)
    unverified = gaps.nothing_verified(hostvars, groups, hosts, is_tried=is_verified and not found) if groups else []
    if not found:
        return unverified
    by_cause: dict[str, list[Failure]] = {}
    for failure in found:
        by_cause.setdefault(failure.message, []).append(failure)
    lines = [f"{_whose(alike)}: {message}" for message, alike in by_cause.items()]
    consequence = _unverified(hostvars, hosts, of_endpoints(found))
    return [
        *lines,
        *consequence,
        *unverified,
        _counts(hostvars, hosts, {failure.host for failure in found}),
        _WHAT_TO_DO,
    ]


def _whose(alike: Iterable[Failure]) -> str:
    """Return the hosts and steps of failures, such as ``db1, db2 (server); db3 (server, client)``."""
    steps: dict[str, list[str]] = {}
    for failure in alike:
        steps.setdefault(failure.host, []).append(failure.step)
    hosts: dict[str, list[str]] = {}
    for host, in_steps in steps.items():
        hosts.setdefault(", ".join(in_steps), []).append(host)
    return "; ".join(f"{', '.join(having)} ({in_steps})" for in_steps, having in hosts.items())


_WHAT_TO_DO = "Fix what is named, then rerun. Nothing needs to be cleaned up first."


def _unverified(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str], behind: Iterable[str]) -> list[str]:
    """Return a line on the servers that failed and show it in the verification: one cause is named once."""
    checks = [one for host in hosts for one in results.verified(hostvars[host]).get("checks", ())]
    faults = [server for one in checks if report.is_fault(one) for server in one["servers"]]
    counts = [f"{server} ({faults.count(server)} connections)" for server in behind if server in faults]
    return [f"Not verified, because the server failed above: {', '.join(counts)}."] if counts else []


def _counts(hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], failed: set[str]) -> str:
    sound = [hostvars[host] for host in hosts if host not in failed]
    modules = [[one for step in _STEPS.values() for one in _of_modules(variables, step)] for variables in sound]
    changed = sum(any(one.get("changed") for one in own) for own in modules)
    return f"Hosts: {len(failed)} failed, {changed} changed, {len(sound) - changed} unchanged."
