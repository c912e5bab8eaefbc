# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys and subscribers: whom they follow, who must connect again in which order, and what the other end shows.

All of that is in results of modules that have run anyway, so a run that changes nothing asks no host.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import has_certificate, logs_in
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import OLD, STANDBY
from ansible_collections.pgops.tls.plugins.plugin_utils import fleet, later, results, server_names
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Hostvars, Variables

ROLE = "postgres_server_replication_role"
_IDENTITIES = "postgres_client_identities"
_DEFAULT_PORT = "5432"  # of libpq


class Batch(NamedTuple):
    """Hosts that may connect anew at the same time: at most one of each cluster.

    ``upstreams``: the servers of this run that each of their connections leads to, by host and connection. ``after``:
    who comes before it in its cluster.
    """

    upstreams: Mapping[str, Mapping[str, Sequence[str]]]
    after: Mapping[str, Sequence[str]]

    def as_dict(self) -> dict[str, Any]:
        """Return it for a result."""
        asked = sorted({one for of_host in self.upstreams.values() for all_ in of_host.values() for one in all_})
        return {"replicas": list(self.upstreams), "asked": asked, **self._asdict()}


def refuse_without_identity(variables: Variables) -> None:
    """Raise TlsError where a server is to replicate as a role that has no certificate on its host."""
    role = variables.get(ROLE)
    own = [one for one in variables.get(_IDENTITIES) or () if logs_in(one) and has_certificate(one)]
    if role and not any(one.get("role") == role for one in own):
        raise TlsError(
            f"{ROLE}: found {shown(role)}, but no identity in {_IDENTITIES} of this host has this role and a "
            "certificate.",
            remedy="Add one with this role, os_user: postgres and databases: [replication]. The host must also be in "
            "group postgres_clients.",
            code="replication_identity_missing",
        )


class _Connection(NamedTuple):
    """A connection of a host, as module server tells of it. ``ways``: the hosts and ports that it leads to."""

    kind: str
    name: str
    conninfo: Mapping[str, str]
    is_old: bool
    ways: frozenset[tuple[str, int]]


class _Found(NamedTuple):
    """What a host has said of its replication: as module server does, each value in the form that it must have."""

    cluster: str = ""
    is_standby: bool = False
    os_user: str = ""
    application_name: str = ""
    synchronous: frozenset[str] = frozenset()
    connections: tuple[_Connection, ...] = ()
    is_due: bool = False


def batches(hostvars: Hostvars, hosts: Sequence[str]) -> list[Batch]:
    """Return which of ``hosts`` have to connect anew, in their order: synchronous standbys after the others.

    A standby stays as it is while it, or a server that it follows, waits for its first certificate.
    """
    found = {host: one for host in hosts for one in [_found(hostvars[host])] if one is not None}
    if not any(one.is_due for one in found.values()):
        return []
    ways, without = _Ways(found, hostvars), _without_certificate(hostvars, found)
    waited_for: dict[str, set[str]] = {}
    clusters: dict[str, list[str]] = {}
    for host, one in found.items():
        waited_for.setdefault(one.cluster, set()).update(one.synchronous)
        if one.is_due and without.isdisjoint(itertools.chain(*ways.upstreams(host).values())):
            clusters.setdefault(one.cluster, []).append(host)
    ordered = [
        sorted(own, key=lambda host: found[host].application_name in waited_for[found[host].cluster])
        for own in clusters.values()
    ]
    made = []
    for number in range(max(map(len, ordered), default=0)):
        after = {own[number]: own[:number] for own in ordered if number < len(own)}
        made.append(Batch({host: ways.upstreams(host) for host in after}, after))
    return made


def _without_certificate(hostvars: Hostvars, hosts: Iterable[str]) -> set[str]:
    """Return the servers that wait for their first certificate."""
    return {one for one in hosts if later.has_none(hostvars[one], "server", fleet.known_certificate(hostvars[one]))}


def of_report(hostvars: Hostvars, hosts: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by host and connection what a report takes from the inventory, once it has asked the servers.

    This is which of the servers that answered it leads to, and whether runs manage it.
    """
    found = {host: one for host in hosts for one in [_said(results.sessions(hostvars[host]))] if one is not None}
    replicating = [host for host, one in found.items() if one.connections]
    if not replicating:
        return {}
    ways = _Ways(found, hostvars)
    managed = {host: bool(hostvars[host].get(ROLE)) for host in replicating}
    return {
        host: {
            name: {"upstreams": upstreams, "is_managed": managed[host]}
            for name, upstreams in ways.upstreams(host).items()
        }
        for host in replicating
    }


def proof(connections: Iterable[Variables], upstreams: Mapping[str, Sequence[str]], hostvars: Hostvars) -> list[str]:
    """Return what the other ends of a host's connections show, in words. Raises TlsError for another certificate.

    ``upstreams`` are as in a batch. One that could not be asked shows nothing.
    """
    found = []
    for one in connections:
        asked = {host: results.senders(hostvars[host]).get("sessions") for host in upstreams.get(one["name"], ())}
        sessions = {host: seen for host, seen in asked.items() if seen is not None}
        names, serial = ", ".join(sessions), one["serial"]
        if not sessions:
            found.append(f"{one['name']}: only this server was asked, because the other end is not part of this run.")
        elif any(seen["type"] == "walsender" and seen["serial"] == serial for own in sessions.values() for seen in own):
            found.append(f"{one['name']}: {names} shows certificate {serial}.")
        else:
            raise TlsError(
                f"{one['name']}: {names} has no session for replication with certificate {serial}, which this server "
                "connects with now.",
                remedy="Is something between the servers that ends TLS, or does another server answer there?",
                code="replication_other_certificate",
            )
    return found


def _found(variables: Variables) -> _Found | None:
    """Return what a host has said in this run and whether it has something to do, None if it has not said it."""
    found = _said(results.last(variables, "server"))
    try:
        return found._replace(is_due=_is_due(variables, found)) if found else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _said(result: results.Result) -> _Found | None:
    """Return what a host has said, None if it has not. One that was taken over may say anything: then it has not."""
    if not result or result.get("failed") or result.get("unreachable"):
        return None
    try:
        return _read(result)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _read(result: results.Result) -> _Found:
    cluster, facts = str(result["system_identifier"]), result.get("replication")
    if not facts:
        return _Found(cluster)
    connections = tuple(map(_connection, facts["connections"]))
    own = [one.conninfo.get("application_name") for one in connections if one.kind == STANDBY]
    return _Found(
        cluster=cluster,
        is_standby=bool(facts["is_standby"]),
        os_user=str(facts["os_user"]),
        application_name=next(filter(None, own), str(facts["application_name"])),
        synchronous=frozenset(map(str, facts["synchronous"])),
        connections=connections,
    )


def _connection(facts: Variables) -> _Connection:
    conninfo = {str(name): str(value) for name, value in facts["conninfo"].items()}
    ways = frozenset(_ways(conninfo))
    return _Connection(str(facts["kind"]), str(facts["name"]), conninfo, OLD in facts["findings"], ways)


def _ways(conninfo: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    hosts = (conninfo.get("host") or conninfo.get("hostaddr") or "").split(",")
    ports = (conninfo.get("port") or _DEFAULT_PORT).split(",")
    for number, host in enumerate(hosts):
        port = ports[number] if len(ports) > 1 else ports[0]
        yield server_names.canonical(host), int(port or _DEFAULT_PORT)


def _is_due(variables: Variables, found: _Found) -> bool:
    """Return whether a host has something to do, or may have: its clients have changed in this run."""
    role = variables.get(ROLE)
    if not role or not found.connections or (role, found.os_user) in later.logins(variables):
        return False
    clients = (results.converged(variables, "client"), results.installed(variables, "client"))
    wanted = _wanted(variables, str(role), found.os_user)
    return any(one.get("changed") for one in clients) or any(
        one.is_old or (one.kind == STANDBY and not wanted.items() <= one.conninfo.items()) for one in found.connections
    )


def _wanted(variables: Variables, role: str, os_user: str) -> dict[str, str]:
    """Return what a standby's connection has to have, as far as it is known."""
    wanted = {"user": role, "sslmode": "verify-full"}
    for one in results.last(variables, "client").get("identities") or ():
        if (one["role"], one["os_user"]) == (role, os_user):
            root = os.path.join(os.path.dirname(os.path.dirname(one["certificate"])), "root.crt")
            wanted.update(sslcert=one["certificate"], sslkey=one["key"], sslrootcert=root)
    return wanted


class _Ways:
    """The servers of a run by their names and ports, and the primaries of each cluster. Each is looked up once."""

    def __init__(self, found: Mapping[str, _Found], hostvars: Hostvars) -> None:
        self._found = found
        self._machines = {host: fleet.machine_of(hostvars[host]) for host in found}
        self._named: dict[tuple[str, int], list[str]] = {}
        self._primaries: dict[str, list[str]] = {}
        for host, one in found.items():
            for key in {name.key for name in server_names.of(hostvars[host])}:
                self._named.setdefault(key, []).append(host)
            if not one.is_standby:
                self._primaries.setdefault(one.cluster, []).append(host)

    def upstreams(self, host: str) -> dict[str, list[str]]:
        """Return for each connection of a host the servers that it leads to: by their names, else the primary."""
        own = self._found[host]
        primaries = self._primaries.get(own.cluster, [])
        return {
            one.name: sorted(self._led_to(host, one)) or (primaries if one.kind == STANDBY else [])
            for one in own.connections
        }

    def _led_to(self, host: str, one: _Connection) -> set[str]:
        """Return the servers with a name of a connection from a host; a loopback name leads to its machine."""
        return {
            other
            for way in one.ways
            for other in self._named.get(way, ())
            if not server_names.is_loopback(way[0]) or self._machines[other] == self._machines[host]
        }
