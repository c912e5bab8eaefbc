# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates the hosts of a fleet have, as a run has learned it."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.profiles import CLIENT, SERVER
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.postgres.logins import has_certificate
from ansible_collections.pgops.tls.plugins.plugin_utils import kinds, kits, poolers, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS, Graph, Groups


def client_serials(hostvars: Mapping[str, Mapping[str, Any]], groups: Groups) -> dict[str, dict[str, list[str]]]:
    """Return for each server the serial numbers of the certificates of its clients, a list for each role.

    A role is left out at a server if one of its hosts gave no answer: then nobody knows which are old. Poolers are
    clients of the servers that they declare to be behind them.
    """
    graph = Graph(groups)
    found: dict[str, dict[str, list[str]]] = {server: {} for server in groups.get(SERVERS, ())}
    unknown = set()
    for host in groups.get(CLIENTS, ()):
        declared = hostvars[host].get("postgres_client_identities") or ()
        own = {id_: one for id_, one in zip(identities.ids(declared), declared) if has_certificate(one)}
        known = _known(hostvars[host])
        if known is None:
            unknown |= {(server, str(one["role"])) for one in own.values() for server in graph.servers_of(one)}
            continue
        for identity in known:
            one = own.get(str(identity["id"])) if identity["serial"] else None
            for server in graph.servers_of(one) - graph.poolers if one else ():
                found[server].setdefault(str(identity["role"]), []).append(str(identity["serial"]))
    for kit in kits.declared(hostvars, groups):  # its holder may use the one before for as long as that is valid
        unknown |= {(server, str(kit["role"])) for server in graph.servers_of(kits.as_identity(kit))}
    behind = poolers.Behind(hostvars, graph)
    for host in groups.get(POOLERS, ()):
        serial, role = poolers.back_serial(hostvars[host]), poolers.role(hostvars[host])
        for server in behind.of(host):
            found[server].setdefault(role, []).append(serial)
            unknown |= set() if serial else {(server, role)}
    return {
        server: {role: serials for role, serials in roles.items() if (server, role) not in unknown}
        for server, roles in found.items()
    }


def certificates_in_use(hostvars: Mapping[str, Mapping[str, Any]], groups: Groups) -> list[dict[str, str]]:
    """Return whose certificate was seen in use in this run, its authority, and its serial number in hexadecimal.

    The serial number is '' where there is none of ours any more: of an identity that logs in by password, and of a
    server whose certificate others renew.
    """
    answered = [host for host in groups.get(CLIENTS, ()) if "identities" in results.last(hostvars[host], "client")]
    return [
        *(
            {"authority": name, "id": id_, "serial": str(one["serial"])}
            for name, id_, one in kinds.certificates(hostvars, groups, results.last)
        ),
        *({"authority": CLIENT, "id": id_, "serial": ""} for id_ in by_password(hostvars, answered)),
        *({"authority": SERVER, "id": host, "serial": ""} for host in _existing(hostvars, groups)),
    ]


def _existing(hostvars: Mapping[str, Mapping[str, Any]], groups: Groups) -> Iterator[str]:
    """Give the servers that have said in this run that they use a certificate which others renew."""
    for host in groups.get(SERVERS, ()):
        if hostvars[host].get("postgres_server_existing") and "certificate" in results.last(hostvars[host], "server"):
            yield host


def by_password(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> Iterator[str]:
    """Give the ids of the identities of client hosts that have no certificate, as the ledger names their holders."""
    for host in hosts:
        declared = hostvars[host].get("postgres_client_identities") or ()
        for id_, one in zip(identities.ids(declared), declared):
            if not has_certificate(one):
                yield f"{host}/{id_}"


def _known(variables: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Return the newest that a client host has said of its identities; None where it has said nothing."""
    newest = (
        results.listed(variables),
        results.installed(variables, "client"),
        results.converged(variables, "client"),
    )
    known = next((one for one in newest if "identities" in one), None)
    return None if known is None else known["identities"]


def unrecorded(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    issued: Mapping[str, Sequence[str]] | None,
) -> list[dict[str, str]]:
    """Return the certificates that hosts had when this run came, and the ledger does not hold; [] when there are none.

    ``issued`` are the serial numbers in the ledger by authority, as the run began; None when it has not learned them.
    """
    if issued is None:
        return []
    servers = frozenset(issued.get(SERVER) or ())
    clients = frozenset(serial for name, all_ in issued.items() if name != SERVER for serial in all_)
    foreign = {*_existing(hostvars, groups)}  # which nobody here has issued
    lost = [
        one
        for one in kinds.certificates(hostvars, groups, results.converged)
        if "pem" in one[2]  # what a person has told is no certificate
        and str(one[2]["serial"]) not in (servers if one[0] == SERVER else clients)
        and one[1] not in foreign
    ]
    return [{"authority": name, "id": id_, "certificate": str(one["pem"])} for name, id_, one in lost]
