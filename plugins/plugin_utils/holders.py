# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles and hosts to which an inventory gives certificates: none of them can be revoked by its name."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import has_certificate
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import ROLE
from ansible_collections.pgops.tls.plugins.plugin_utils import kits, patroni_members, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS, Groups

Variables = Callable[[str, str], Mapping[str, Any]]  # of a host and a role


def of_fleet(
    groups: Groups, variables: Variables, trust: Trust, given: Sequence[Mapping[str, Any]] = ()
) -> dict[tuple[str, str, str], str]:
    """Return the keys of entries that would revoke what the inventory gives certificates to, and what says so.

    ``given`` are its kits.
    """
    found: dict[tuple[str, str, str], str] = {}
    for kit in given:
        role, id_ = str(kit["role"]), kits.id_of(kit)
        found.update(dict.fromkeys((("role", role, ""), ("role", role, trust.of(kits.as_identity(kit)))), id_))
        found["host", id_, ""] = kits.VARIABLE
    for host in groups.get(CLIENTS, ()):
        identities = variables(host, "postgres_client")["postgres_client_identities"]
        for one in filter(has_certificate, identities):
            role = str(one.get("role") or "")  # a service with names has none
            keys = (("role", role, ""), ("role", role, trust.of(one))) if role else ()
            found.update(dict.fromkeys(keys, f"identity {one['os_user']}/{role} of host {host}"))
            found["host", host, ""] = "postgres_client_identities of that host"
    for host in groups.get(POOLERS, ()):
        own = variables(host, "postgres_pooler")
        role, authority = str(own["postgres_pooler_role"]), str(own[poolers.AUTHORITY])
        found.update(dict.fromkeys((("role", role, ""), ("role", role, authority)), f"pooler {host}"))
    for host in groups.get(SERVERS, ()):
        own = variables(host, "postgres_server")
        if patroni_members.is_managed(own):
            keys = (("role", ROLE, ""), ("role", ROLE, patroni_members.authority(own)))
            found.update(dict.fromkeys(keys, f"Patroni of host {host}"))
    for group in (SERVERS, POOLERS):
        found.update({("host", host, ""): f"group {group}" for host in groups.get(group, ())})
    return found
