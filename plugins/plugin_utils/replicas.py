# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys and subscribers: whom they follow, and who must connect again in which order.

All of that is in results of modules that have run anyway, so a run that changes nothing asks no host.
"""

from __future__ import annotations

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

    ``upstreams``: the servers of this run that each of their connections leads to, by host and connection.
    ``assumed``: the connections of each for which no name says so. ``after``: who comes before it in its cluster.
    """

    upstreams: Mapping[str, Mapping[str, Sequence[str]]]
    assumed: Mapping[str, Sequence[str]]
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


class _Upstreams(NamedTuple):
    """The servers that a connection leads to; ``is_assumed``: no name of theirs says so, so it may lead elsewhere."""

    hosts: list[str]
    is_assumed: bool = False

    def lacks(self, without: set[str]) -> bool:
        """Return whether it leads to one of the servers ``without`` a certificate, or can lead to none with one."""
        return bool(self.hosts) and (
            without.issuperset(self.hosts) if self.is_assumed else not without.isdisjoint(self.hosts)
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
        if one.is_due and not any(led.lacks(without) for led in ways.upstreams(host).values()):
            clusters.setdefault(one.cluster, []).append(host)
    ordered = [
        sorted(own, key=lambda host: found[host].application_name in waited_for[found[host].cluster])
        for own in clusters.values()
    ]
    made = []
    for number in range(max(map(len, ordered), default=0)):
        after = {own[number]: own[:number] for own in ordered if number < len(own)}
        led = {host: ways.upstreams(host) for host in after}
        upstreams = {host: {name: one.hosts for name, one in own.items()} for host, own in led.items()}
        assumed = {host: [name for name, one in own.items() if one.is_assumed] for host, own in led.items()}
        made.append(Batch(upstreams, assumed, after))
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
            name: {"upstreams": one.hosts, "is_managed": managed[host]} for name, one in ways.upstreams(host).items()
        }
        for host in replicating
    }


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

    def upstreams(self, host: str) -> dict[str, _Upstreams]:
        """Return for each connection of a host the servers that it leads to."""
        return {one.name: self._upstreams(host, one) for one in self._found[host].connections}

    def _upstreams(self, host: str, one: _Connection) -> _Upstreams:
        """Return them by their names, else by wildcards. A standby may follow its primary by any other way, too."""
        named = {way: self._led_to(host, way) for way in one.ways}
        found = set().union(*named.values())
        if all(named.values()):
            return _Upstreams(sorted(found))
        covered = self._by_wildcard(way for way, hosts in named.items() if not hosts)
        if one.kind == STANDBY:
            cluster = self._found[host].cluster
            covered = {other for other in covered if other != host and self._found[other].cluster == cluster}
            called = {other for other in covered if self._is_called(other, one)}
            covered = called or covered.union(() if found else self._primaries.get(cluster, ()))
        return _Upstreams(sorted(found | covered), is_assumed=True)

    def _by_wildcard(self, ways: Iterable[tuple[str, int]]) -> set[str]:
        """Return the servers with a wildcard for a host, and its port."""
        wildcards = [(f"*.{name.partition('.')[2]}", port) for name, port in ways]
        return {other for way in wildcards for other in self._named.get(way, ())}

    def _is_called(self, host: str, one: _Connection) -> bool:
        """Return whether the inventory, or Ansible, has a server under a host of a connection, or its first label."""
        called = {host, self._machines[host][0]}
        return any(not called.isdisjoint((name, name.partition(".")[0])) for name, _port in one.ways)

    def _led_to(self, host: str, way: tuple[str, int]) -> set[str]:
        """Return the servers with a name that a host connects to; a loopback name leads to its machine."""
        return {
            other
            for other in self._named.get(way, ())
            if not server_names.is_loopback(way[0]) or self._machines[other] == self._machines[host]
        }
