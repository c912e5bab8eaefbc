# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of Patroni clusters: their certificates, and which of them change in which order.

All of that is in results of modules that have run anyway, so a run that changes nothing asks no host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Mapping, NamedTuple, Sequence

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, CTL, ROLE
from ansible_collections.pgops.tls.plugins.plugin_utils import results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import SERVERS, Groups, Hostvars, Variables

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust

MANAGED, AUTHORITY = "postgres_server_patroni_api", "postgres_server_patroni_authority"
STEP = "server_patroni"  # of results
_AUTHORITY = "patroni"  # by default


def is_managed(variables: Variables) -> bool:
    """Return whether the REST API on a host gets its certificates from here."""
    return bool(boolean(variables.get(MANAGED, False), strict=False))


def authority(variables: Variables) -> str:
    """Return the authority of clients of the REST API. Raises TlsError for text that is no name."""
    return profiles.check_client_authority(variables.get(AUTHORITY, _AUTHORITY), AUTHORITY)


def authorities(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return the authorities that REST APIs of the inventory need. Raises TlsError for text that is no name."""
    managed = (hostvars[host] for host in groups.get(SERVERS, ()) if is_managed(hostvars[host]))
    return sorted(set(map(authority, managed)))


def refuse_shared(variables: Variables, trust: Trust) -> None:
    """Raise TlsError where clients of PostgreSQL could send commands to Patroni."""
    name = authority(variables)
    if is_managed(variables) and name in trust.names:
        raise TlsError(
            f"{AUTHORITY}: found {name}, whose clients log in to PostgreSQL. With their certificates they could send "
            "commands to Patroni, which checks no names.",
            remedy="Name another authority, or leave it out.",
            code="patroni_authority_shared",
        )


def ids(host: str) -> dict[str, str]:
    """Return the ids of both certificates, as the ledger has them. No identity of a client has such an id."""
    return {name: f"{host}/{ROLE}-{name}" for name in (API, CTL)}


def certificates(host: str, variables: Variables, said: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give authority, id and facts of each certificate of a member. ``said`` is ``results.last``, or one like it."""
    if not is_managed(variables):
        return
    asked = said(variables, "server").get(ROLE) or {}
    found = said(variables, STEP).get("certificates") or asked.get("certificates") or {}
    signed_by = {API: profiles.SERVER, CTL: authority(variables)}
    for name, id_ in ids(host).items():
        if name in found:
            yield signed_by[name], id_, found[name]


class _Member(NamedTuple):
    """What a host has said of its Patroni, each value in the form that it must have."""

    cluster: str
    is_due: bool
    is_leader: bool
    is_adopted: bool
    has_former_trust: bool
    is_refused: bool


class Batch(NamedTuple):
    """Hosts that may change at the same time: one of each cluster.

    ``after``: who must not have failed before, by host. ``ends_trust``: those that trust nobody else any more.
    """

    members: Sequence[str]
    after: Mapping[str, Sequence[str]]
    ends_trust: Sequence[str]


def batches(hostvars: Hostvars, groups: Groups, hosts: Sequence[str]) -> list[Batch]:
    """Return which of ``hosts`` have something to change, in their order: in each cluster the leader last.

    No trust ends while a member of the inventory has said nothing: it may be of any cluster, with a former certificate.
    """
    found = {host: one for host in hosts for one in [_found(host, hostvars[host])] if one is not None}
    is_complete = all(host in found for host in groups.get(SERVERS, ()) if is_managed(hostvars[host]))
    clusters: dict[str, list[str]] = {}
    for host, one in found.items():
        clusters.setdefault(one.cluster, []).append(host)
    queues, ending = [], set()
    for own in clusters.values():
        if is_complete and all(found[host].is_adopted and not found[host].is_refused for host in own):
            ending |= {host for host in own if found[host].has_former_trust}
        due = [host for host in own if found[host].is_due or host in ending]
        queues.append(sorted(due, key=lambda host: (not found[host].is_refused, found[host].is_leader)))
    return [
        _batch([own for own in queues if number < len(own)], number, found, ending)
        for number in range(max(map(len, queues), default=0))
    ]


def _batch(queues: Sequence[Sequence[str]], number: int, found: Mapping[str, _Member], ending: set[str]) -> Batch:
    """Return a batch. A member that was only refused stops those that get their first files, and no renewal."""
    members = [own[number] for own in queues]
    after = {
        own[number]: [one for one in own[:number] if not (found[one].is_refused and found[own[number]].is_adopted)]
        for own in queues
    }
    return Batch(members, after, [host for host in members if host in ending])


def _found(host: str, variables: Variables) -> _Member | None:
    """Return what a host has said, None if it has not. One that was taken over may say anything: then it has not."""
    result = results.last(variables, "server")
    if not is_managed(variables) or not results.is_ready(variables) or result.get("failed"):
        return None
    try:
        said = result[ROLE]
        return _Member(
            cluster=str(result["system_identifier"]),
            is_due=bool(said["due"]) and not _waits_for_its_first(said, ids(host), results.waiting(variables)),
            is_leader=bool(said["is_leader"]),
            is_adopted=bool(said.get("is_adopted")),
            has_former_trust=bool(said.get("has_former_trust")),
            is_refused=bool(said.get("refusal")),
        )
    except (LookupError, TypeError, AttributeError):
        return None


def _waits_for_its_first(said: Mapping[str, Any], own: Mapping[str, str], waiting: Mapping[str, Any]) -> bool:
    """Return whether a member has never had a certificate that a later run brings: it stays as it is until then."""
    asked = {one["id"] for one in said.get("requests") or ()}
    return any(own.get(name) in waiting for name in asked.difference(said.get("certificates") or ()))
