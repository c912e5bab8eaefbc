# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of hosts, and what whoever looks at the whole fleet asks of each. A new kind is an entry here.

See docs/new_kind.md.
"""

from __future__ import annotations

from typing import Any, Callable, Hashable, Iterable, Iterator, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority.profiles import CLIENT, SERVER
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.plugin_utils import kits, patroni_members, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import (
    CLIENTS,
    POOLERS,
    SERVERS,
    Groups,
    Hostvars,
    Variables,
)

Said = Callable[[Variables, str], Mapping[str, Any]]  # a function of results.py, for the variables of a host and a step
Certificates = Iterator[tuple[str, str, Mapping[str, Any]]]  # authority, id in the ledger, facts


class Shared(NamedTuple):
    """What must not be twice on a machine, what to call it in a message, and what to do."""

    key: Hashable
    called: str
    remedy: str


class Kind(NamedTuple):
    """A kind of host.

    ``step``: the part of a run that is for it; its role is postgres_STEP. ``group``: its hosts in the inventory.
    ``directories``: where a host keeps its TLS files, by its variables. ``ids``: of the certificates that the inventory
    gives to a host with these variables. ``certificates``: those of all hosts, as far as a run has learned of them.
    ``once``: what no other host on the machine of a host with these variables may have. ``is_endpoint``: clients
    connect to it.
    """

    step: str
    group: str
    directories: Callable[[Variables], Iterable[str]]
    ids: Callable[[str, Variables], Iterable[str]]
    certificates: Callable[[Hostvars, Groups, Said], Certificates]
    once: Callable[[Variables], Iterable[Shared]]
    is_endpoint: bool = False


def certificates(hostvars: Hostvars, groups: Groups, said: Said) -> Certificates:
    """Give the certificates of all hosts, and of kits that their holders have confirmed.

    Ids are made from the inventory: a host cannot speak for another one.
    """
    for kind in KINDS:
        yield from (one for one in kind.certificates(hostvars, groups, said) if one[2].get("serial"))
    yield from kits.confirmed(hostvars, groups)


def ids(hostvars: Hostvars, groups: Groups) -> set[str]:
    """Return the ids of all certificates that the inventory gives to hosts and kits."""
    own = {id_ for kind in KINDS for host in groups.get(kind.group, ()) for id_ in kind.ids(host, hostvars[host])}
    return own.union(map(kits.id_of, kits.declared(hostvars, groups)))


def _of_servers(hostvars: Hostvars, groups: Groups, said: Said) -> Certificates:
    for host in groups.get(SERVERS, ()):
        yield SERVER, host, said(hostvars[host], "server").get("certificate") or {}
        yield from patroni_members.certificates(host, hostvars[host], said)


def _of_clients(hostvars: Hostvars, groups: Groups, said: Said) -> Certificates:
    authorities = Trust.of_fleet(hostvars, groups).by_id(hostvars)
    for host in groups.get(CLIENTS, ()):
        for one in said(hostvars[host], "client").get("identities") or ():
            id_ = f"{host}/{one['id']}"
            yield authorities.get(id_, CLIENT), id_, one


def _declared(variables: Variables) -> list[Mapping[str, Any]]:
    return list(variables.get("postgres_client_identities") or ())


def _directory_of_server(variables: Variables) -> list[str]:
    port = variables.get("postgres_server_port", 5432)
    return [str(variables.get("postgres_server_directory", f"/etc/postgresql/tls/{port}"))]


def _ids_of_server(host: str, variables: Variables) -> list[str]:
    return [host, *(patroni_members.ids(host).values() if patroni_members.is_managed(variables) else ())]


def _directories_of_client(variables: Variables) -> list[str]:
    homes = [one.get("home") or f"~{one['os_user']}" for one in _declared(variables)]
    return [f"{home}/.postgresql/pgops" for home in dict.fromkeys(homes)]


def _program(step: str, port: int, called: str, *, other_names: str) -> Callable[[Variables], list[Shared]]:
    """Return ``once`` of a program that listens; ``other_names`` is the variable for more names of it."""

    def once(variables: Variables) -> list[Shared]:
        used = str(variables.get(f"postgres_{step}_port", port))  # outside of the run it may be anything
        remedy = (
            "Each run would install the certificates of one, then of the other. Remove all but one from group "
            f"postgres_{step}s, and put other names of the {step} into {other_names}."
        )
        key = (step, used, str(variables.get(f"postgres_{step}_login_unix_socket", "")))
        return [Shared(key, f"one {called} (port {used})", remedy)]

    return once


def _os_users(variables: Variables) -> Iterator[Shared]:
    users = {
        (str(one["os_user"]), str(one.get("home") or "")) for one in variables.get("postgres_client_identities", ())
    }
    for user, home in sorted(users):
        yield Shared(
            ("client", user, home),
            f"one client host with the OS user {user}",
            "Each run would give that user the files of one, then of the other. Remove all but one from group "
            "postgres_clients.",
        )


KINDS = (
    Kind(
        "server",
        SERVERS,
        _directory_of_server,
        _ids_of_server,
        _of_servers,
        _program("server", 5432, "PostgreSQL server", other_names="postgres_server_extra_names"),
        is_endpoint=True,
    ),
    Kind(
        "pooler",
        POOLERS,
        lambda variables: [str(variables.get("postgres_pooler_directory", "/etc/pgbouncer/tls"))],
        lambda host, _variables: poolers.ids(host).values(),
        poolers.certificates,
        _program("pooler", 6432, "PgBouncer", other_names="postgres_pooler_names"),
        is_endpoint=True,
    ),
    Kind(
        "client",
        CLIENTS,
        _directories_of_client,
        lambda host, variables: [f"{host}/{id_}" for id_ in identities.ids(_declared(variables))],
        _of_clients,
        _os_users,
    ),
)
