# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that come in a later run, since people sign them: who waits, and what is said of it."""

from __future__ import annotations

from typing import Iterable, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Hostvars, Variables

NO_SERVER = "the server waits for its first certificate"
NO_CLIENT = "the identity waits for its first certificate"
REASONS = frozenset((NO_SERVER, NO_CLIENT))
_SHOWN = 10  # requests that have a line of their own
_WHAT_TO_DO = "Have them signed, put each certificate beside its .csr file if it has one, then rerun."


def lines(hostvars: Hostvars, hosts: Iterable[str]) -> list[str]:
    """Return what there is to have signed after a run on ``hosts``; nothing if nothing waits."""
    found: dict[str, str] = {}
    for host in hosts:
        found.update(hostvars[host].get("postgres_ca_waiting") or {})
    if not found:
        return []
    listed = [f"{id_}: {text}" for id_, text in sorted(found.items())]
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return [
        f"Certificates that wait to be signed: {len(found)}. Their hosts go on as they are.",
        *listed[:_SHOWN],
        *more,
        _WHAT_TO_DO,
    ]


def has_none(variables: Variables, step: str, known: Mapping[str, object]) -> bool:
    """Return whether a server or pooler waits for its first certificate. ``known`` is what this run knows of one."""
    return results.is_waiting(variables, step) and not known.get("serial")


def identities(variables: Variables) -> frozenset[str]:
    """Return the ids of the identities of a client host that wait for their first certificate."""
    asked = {str(one["id"]) for one in results.converged(variables, "client").get("requests") or () if one.get("csr")}
    if not asked or results.failed(variables, "client"):
        return frozenset()
    known = results.last(variables, "client").get("identities") or ()
    return frozenset(asked.difference(str(one["id"]) for one in known if one.get("serial")))


def logins(variables: Variables) -> frozenset[tuple[str, str]]:
    """Return role and OS user of the identities of a client host that wait for their first certificate."""
    waiting = identities(variables)
    known = results.converged(variables, "client").get("identities") or ()
    return frozenset((str(one["role"]), str(one["os_user"])) for one in known if one.get("id") in waiting)
