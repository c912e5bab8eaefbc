# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates the hosts of a fleet have, as a run has learned it."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils import results


def client_serials(hostvars: Mapping[str, Mapping[str, Any]], clients: Iterable[str]) -> dict[str, list[str]]:
    """Return the serial numbers of the certificates that ``clients`` have, a list for each role.

    A role is left out if one of its hosts gave no answer: then nobody knows which of its certificates are old.
    """
    found: dict[str, list[str]] = {}
    unknown = set()
    for host in clients:
        variables = hostvars[host]
        declared = {str(one["role"]) for one in variables.get("postgres_client_identities") or ()}
        newest = (
            results.listed(variables),
            results.installed(variables, "client"),
            results.converged(variables, "client"),
        )
        known = next((one for one in newest if "identities" in one), None)
        if known is None:
            unknown |= declared
            continue
        for identity in known["identities"]:
            if identity["role"] in declared and identity["serial"]:
                found.setdefault(str(identity["role"]), []).append(str(identity["serial"]))
    return {role: serials for role, serials in found.items() if role not in unknown}


def unrecorded(
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    issued: Mapping[str, Sequence[str]] | None,
) -> dict[str, list[dict[str, str]]]:
    """Return the certificates that hosts had when this run came, and the ledger does not hold; {} when there are none.

    ``issued`` are the serial numbers in the ledger by authority, as the run began; None when it has not learned them.
    Ids are made from the inventory: a host cannot speak for another one.
    """
    if issued is None:
        return {}
    found = {}
    for name, shown in (("server", _of_servers(hostvars, groups)), ("client", _of_clients(hostvars, groups))):
        known = frozenset(issued.get(name) or ())
        lost = [{"id": id_, "certificate": str(one["pem"])} for id_, one in shown if str(one["serial"]) not in known]
        found.update({name: lost} if lost else {})
    return found


def _of_servers(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for host in groups.get("postgres_servers", ()):
        shown = results.converged(hostvars[host], "server").get("certificate")
        if shown:
            yield host, shown


def _of_clients(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for host in groups.get("postgres_clients", ()):
        for one in results.converged(hostvars[host], "client").get("identities") or ():
            if one["serial"]:
                yield f"{host}/{one['id']}", one
