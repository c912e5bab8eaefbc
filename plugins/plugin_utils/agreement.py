# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the authorities: a run reads them from its first host, so all hosts must have the same values.

What only some hosts have would count for all of them or for none: with --limit, another host is the first.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import remembered, unresolved
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    POOLERS,
    SERVERS,
    Groups,
    Hostvars,
    Variables,
)


def broken(hostvars: Hostvars, groups: Groups, defaults: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a sentence for each variable that hosts have another value of than the first one, with these hosts.

    ``defaults`` are those of the variables. Templates take long, and are filled only where two hosts have not written
    the same. No sentence shows a value, which may be a secret.
    """
    members = (host for group in (SERVERS, POOLERS, CLIENTS) for host in groups.get(group, ()))
    first, *others = [host for host in dict.fromkeys(members) if host in hostvars] or [""]
    written = remembered.written(hostvars[first]) if first else {}
    expected = {name: written.get(name, default) for name, default in defaults.items()}
    found: dict[str, list[str]] = {}
    for host in others:
        own = remembered.written(hostvars[host])
        for name, text in expected.items():
            one = own.get(name, defaults[name])
            if one is not text and one != text and _differ(name, defaults[name], hostvars[host], hostvars[first]):
                found.setdefault(_sentence(name, first), []).append(host)
    return found


def _differ(name: str, default: Any, *hosts: Variables) -> bool:
    """Return whether two hosts have different values of a variable; what has none, another check reports."""
    try:
        one, other = (unresolved.filled(host.get(name, default)) for host in hosts)
    except (*unresolved.ERRORS, TlsError):
        return False
    return bool(one != other)


def _sentence(name: str, first: str) -> str:
    return (
        f"{name}: found another value than {first} has. A run reads it from one host, and ignores the others. "
        "Set it for all hosts, in group_vars/all.yml."
    )
