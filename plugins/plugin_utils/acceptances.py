# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of a client host that must be accepted, as module connection_info takes them."""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.databases import REPLICATION
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Fleet, Server, can_try
from ansible_collections.pgops.tls.plugins.plugin_utils.refusals import common, target
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import Name


class More(NamedTuple):
    """What else an identity tries at a server: files that say nothing of a server, and its other databases."""

    own_files: Sequence[str]
    databases: Sequence[str]


def at(identity: Identity, server: Server, fleet: Fleet, name: Name, more: More) -> list[dict[str, Any]]:
    """Return what must work at a server that can be reached by ``name``, its usual one.

    Where no files are to be tried that say nothing of a server, those are that do: the service for this server.
    """
    owners = fleet.of(server, name)
    found = by_every_name(identity, server, fleet)
    if len(owners) == 1 and not more.own_files:
        _by_service(identity, server, name, found)
    found += _by_usual_name(identity, owners, name, more.own_files)
    return found + _to_others(identity, owners, name, more.databases)


def is_for(identity: Identity, owners: Iterable[Server]) -> bool:
    """Return whether an identity connects to all of these servers."""
    return identity.servers.issuperset(one.name for one in owners)


def by_every_name(identity: Identity, server: Server, fleet: Fleet) -> list[dict[str, Any]]:
    """Return what must work by each name; a name that may lead to a server of others is skipped."""
    found = []
    for name in server.names:
        owners = fleet.of(server, name) if can_try(fleet.host, server, name) else ()
        own = [one for one in owners if one.name in identity.servers]
        if not own or own[0] is not server:
            continue
        one = {**common(identity, owners, name), "expect": "accepted"}
        others = [other.name for other in owners if other not in own]
        skip = {"skip": f"it may lead to {others[0]}, which this identity does not use"} if others else {}
        found.append({**one, **skip})
    return found


def _by_usual_name(
    identity: Identity, owners: Sequence[Server], name: Name, own_files: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what must work by one name of a server: replication, and each of the client's own files."""
    shared = common(identity, owners, name)
    found = [{**shared, "expect": "accepted", "files": one} for one in own_files]
    if identity.replicates and identity.database != REPLICATION:
        found.insert(0, {**shared, **target(REPLICATION), "expect": "accepted"})
    return found


def _by_service(identity: Identity, server: Server, name: Name, found: list[dict[str, Any]]) -> None:
    """Let the connection by a server's usual name use the service of the identity for this server."""
    service = identity.service_at(server.name, identity.database)
    for one in found:
        if service and (one["host"], one["port"]) == (name.text, name.port) and "skip" not in one:
            one.update(files="service", service=service)


def _to_others(identity: Identity, owners: Sequence[Server], name: Name, others: Iterable[str]) -> list[dict[str, Any]]:
    """Return what must work with the other databases of an identity."""
    found = []
    for database in others:
        one = {**common(identity._replace(database=database), owners, name), "expect": "accepted"}
        service = identity.service_at(owners[0].name, database) if len(owners) == 1 else ""
        found.append({**one, "files": "service", "service": service} if service else one)
    return found
