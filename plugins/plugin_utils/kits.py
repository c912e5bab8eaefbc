# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kits for people and applications outside the inventory, as the inventory declares them.

The variable is for all hosts, as those of role postgres_ca are. A kit is a holder of a certificate that no run sees in
use: what counts as seen is the serial number that its holder has told, in ``fetched``.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import values
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.kit import declared as options
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_addresses
from ansible_collections.pgops.tls.plugins.plugin_utils import endpoints
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS, Graph, Groups, Hostvars

VARIABLE = "postgres_ca_kits"
PLAYBOOK = "ansible-playbook pgops.tls.client_kit"
_OF_MODULE = ("name", "role", "directory", "password", "csr", "databases")
_SHOWN = 10  # kits that have a line of their own


def declared(hostvars: Hostvars, groups: Groups) -> list[Mapping[str, Any]]:
    """Return the kits of an inventory."""
    hosts = (one for group in (SERVERS, POOLERS, CLIENTS) for one in groups.get(group, ()) if one in hostvars)
    return next((list(hostvars[one].get(VARIABLE) or ()) for one in hosts), [])


def id_of(kit: Mapping[str, Any]) -> str:
    """Return the id of a kit's certificate in the ledger."""
    return f"{options.PREFIX}{kit['name']}"


def as_identity(kit: Mapping[str, Any]) -> dict[str, Any]:
    """Return what servers must know of a kit to let it in, as of an identity of a client host."""
    own = {key: kit[key] for key in ("role", "databases", "servers", "address") if kit.get(key) is not None}
    return {**own, "os_user": id_of(kit)}


def as_module(kits: Sequence[Mapping[str, Any]], servers: Mapping[str, Any], groups: Groups) -> list[dict[str, Any]]:
    """Return kits as module client_kit takes them; ``servers`` is the result of action known_servers.

    Raises TlsError for one that cannot be, as check_inventory does before.
    """
    trust, graph = Trust(servers["authority"], servers["authorities"], groups), Graph(groups)
    reach = endpoints.of(servers, "")
    found = []
    for number, one in enumerate(kits):
        place = f"{VARIABLE}[{number}]"
        wanted = graph.servers_of(as_identity(one), place)
        own = {key: one[key] for key in _OF_MODULE if one.get(key)}
        at = [
            {"server": name, "host": where[0], "port": where[1]}
            for name, where in reach.items()
            if where and name in wanted
        ]
        if not at:
            raise TlsError(
                f"{place}.servers: no server has a name that hosts outside the inventory can use.",
                remedy="Name other servers, or give them a name without from in postgres_server_extra_names.",
                code="kit_without_server",
            )
        found.append({**own, "authority": trust.of(as_identity(one), place), "endpoints": at})
    return found


def problems(kits: Sequence[Mapping[str, Any]], graph: Graph, trust: Trust) -> list[str]:
    """Return a sentence for each kit with a mistake; the first one of each."""
    found, names = [], set()
    for number, one in enumerate(kits):
        place = f"{VARIABLE}[{number}]"
        try:
            _check(one, place, graph, trust)
        except TlsError as error:
            found.append(error.message)
        if one.get("name") in names:
            found.append(f"{place}.name: {one['name']} is the name of an earlier kit, too. Give each its own name.")
        names.add(one.get("name"))
    return found


def _check(kit: Mapping[str, Any], place: str, graph: Graph, trust: Trust) -> None:
    """Raise TlsError for the first thing that is wrong with a kit. What is wrong with a request the module says."""
    options.check_name(kit.get("name"), f"{place}.name")
    values.name(kit.get("role"), f"{place}.role")
    options.check_directory(kit.get("directory"), f"{place}.directory")
    options.check_password(kit.get("password"), f"{place}.password", has_csr=bool(kit.get("csr")))
    values.databases(kit.get("databases"), f"{place}.databases")
    if client_addresses.SELF in _listed(kit.get("address")):
        raise TlsError(
            f"{place}.address: found self, expected addresses or networks. A kit has no host in the inventory.",
            remedy="Write the network that its holder connects from, or leave address out.",
            code="client_address_invalid",
        )
    client_addresses.written(kit, place)
    if kit.get("fetched"):
        spec.serials([kit["fetched"]], f"{place}.fetched")
    graph.servers_of(as_identity(kit), place)
    trust.of(as_identity(kit), place)


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else [value]


def confirmed(hostvars: Hostvars, groups: Groups) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give authority, id and serial number of each certificate that the holder of a kit has told."""
    kits = declared(hostvars, groups)
    if any(one.get("fetched") for one in kits):
        trust = Trust.of_fleet(hostvars, groups)
        for one in kits:
            if one.get("fetched"):
                (serial,) = spec.serials([one["fetched"]], VARIABLE)
                yield trust.of(as_identity(one)), id_of(one), {"serial": serial}


def unconfirmed(hostvars: Hostvars, groups: Groups, server: str) -> Iterator[str]:
    """Give the kits for a server whose holders may still have what was before the newest kit, as a run has seen it."""
    graph, result = Graph(groups), hostvars[server].get("postgres_ca_kits_result") or {}
    newest = {one["name"]: one for one in result.get("kits") or ()}
    for one in declared(hostvars, groups):
        known = newest.get(one["name"]) or {}
        is_newest = bool(known.get("serial")) and not known["reasons"] and one.get("fetched")
        has = spec.serials([one["fetched"]], VARIABLE)[0] if is_newest else ""
        if server in graph.servers_of(as_identity(one)) and (not is_newest or has != known["serial"]):
            yield str(one["name"])


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return what the summary of a run says of kits, from the result of module client_kit in check mode."""
    if not result:
        return []
    if "kits" not in result:
        return [f"Kits: {result.get('msg')}"]
    refused = result.get("refused") or {}
    due = [one for one in result["kits"] if one["reasons"] and one["name"] not in refused]
    impossible = [f"kit {name}: {why}" for name, why in refused.items()]
    return [*(_titled("Kits that cannot be made", impossible) if impossible else []), *(_due(due) if due else [])]


def _due(due: Sequence[Mapping[str, Any]]) -> list[str]:
    listed = [_line(one) for one in sorted(due, key=lambda one: str(one["not_after"] or ""))]
    return [*_titled("Kits that are due", listed), f"Run {PLAYBOOK}, and hand them out."]


def _titled(title: str, lines_: Sequence[str]) -> list[str]:
    more = [f"and {len(lines_) - _SHOWN} more"] if len(lines_) > _SHOWN else []
    return [f"{title}: {len(lines_)}.", *lines_[:_SHOWN], *more]


def _line(kit: Mapping[str, Any]) -> str:
    """Return a line about a kit that is due."""
    ends = f", given at {kit['given']}, ends at {kit['not_after']}" if kit["not_after"] else ", never made"
    return f"kit {kit['name']} (role {kit['role']}){ends}: {'; '.join(kit['reasons'])}"
