# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections a fleet's inventory promises and which it rules out, as a list of expectations.

Each is tried as often as what it depends on differs, since every connection costs a handshake on both ends:

- what has to be accepted, by every identity, to each of its servers by every name;
- plaintext, no certificate and another role's by every identity to each of its servers: the rules and the role decide.
  Where a server has the default rules, which demand the same of a role from each address, once from any client host;
- a foreign certificate once to every server from any client host: it is refused before the role is known;
- a wrong name and a foreign root once: it is the client host's libpq that refuses. That the root.crt of every OS user
  is the right one shows in what is accepted;
- a certificate of one client authority once at a server that trusts another one, for each two of them, from a client
  host that has identities of both: that it reaches the server is shown by the other identity;
- an identity's service and an OS user's default files once each: they say nothing of a server;
- an identity's services for its servers at every server but the first, in place of a connection without;
- each database of an identity at every server that has it, by the server's usual name. One that none of them has is
  tried once, and fails.

A name that several servers share, with the same port, is tried once by each identity: any of them may answer. A name
is tried from the hosts in its ``from``. A loopback name or address leads to the machine that asks for it, so without
``from`` it is tried from the server's own machine alone. Names that nobody can try are listed as skipped, once for
each server, and so is a server for each identity whose host can try none of its names.

An identity with a password shows no certificate, so of the refusals only plaintext, a wrong name and a foreign root
concern it. Nobody pretends to be its role: who has its password is let in, whatever certificate comes with it.

A pooler is tried like a server, but it lets clients in by its own configuration. So of the refusals only those count
that its client_tls_sslmode demands of every client, and what libpq refuses.

An identity that names ``replication`` among its databases makes physical replication connections, as a standby does:
one to every server, and all of its connections are of that kind when it names no other database.
"""

from __future__ import annotations

from typing import Any, Collection, Container, Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.identities import default_holders
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils import acceptances, later, refusals, untried
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity, has_identities, identities_of
from ansible_collections.pgops.tls.plugins.plugin_utils.crossings import Crossings
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import (
    Fleet,
    Host,
    Server,
    endpoint_of,
    fleet_of,
    host_of,
    usual_name,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.refusals import common
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import Name

SUPERUSER = "postgres"  # exists on every server: a certificate of the only role must not let in as this one
_NOBODY = "pgops_nobody"  # for a fleet whose only identity is the superuser; certificates are judged before roles


class ClientHost(NamedTuple):
    """A client host: its identities, what tells it from others, and how its connections are verified.

    ``refused`` are the kinds of refusal to try, ``other_role`` is the role to ask for with another role's certificate
    (default: some other role of the server, else the superuser). ``without`` are the ids of identities that wait for
    their first certificate.
    """

    identities: Sequence[Identity]
    host: Host
    refused: Sequence[str] = tuple(REFUSALS)
    other_role: str = ""
    without: frozenset[str] = frozenset()


class Planner:
    """What the client hosts of a run try, one host after the other: what one of them tries, the next is spared.

    ``everybody`` are the identities of all client hosts, ``trying`` those of the run and who connects from them. A host
    that does not try every kind of refusal spares the others nothing.
    """

    def __init__(
        self, fleet: Fleet, everybody: Iterable[Identity], trying: Iterable[tuple[Host, Sequence[Identity]]]
    ) -> None:
        self._fleet = fleet
        self._trying = untried.Trying()
        for host, identities in trying:
            self._trying.add(host, identities)
        self._roles: dict[str, dict[str, Identity]] = {}  # of each server, with an identity that has it
        self._named: dict[str, Identity] = {}  # roles of the whole inventory
        for one in everybody:
            self._named.setdefault(one.role, one)
            for server in one.servers if one.has_certificate else ():
                self._roles.setdefault(server, {}).setdefault(one.role, one)
        self._tried: set[tuple[str, ...]] = set()  # what rules decide: server, role, database; all else: server
        self._ready = frozenset(one.name for one in fleet.servers if one.is_ready)  # else a certificate may be older
        self._crossed: set[tuple[str, str]] = set()  # of a certificate and of a server, by their client authorities
        self._has_listed = False  # the names that nobody can try

    def plan(self, host: ClientHost) -> list[dict[str, Any]]:
        """Return what the next client host must try: what must work, and the refusals. Raises TlsError.

        It is what module connection_info takes.
        """
        _refuse_unfit(host, self._fleet)
        fleet = self._fleet._replace(host=host.host)
        holders = default_holders(host.identities)
        usual: dict[str, Name | None] = {}
        own_refusals, crossings = refusals.Refusals(host.refused, self._tried), Crossings()
        found = []
        for declared in host.identities:
            own_files = ["service", *(["default"] if holders[declared.os_user] == declared else [])]
            lost = self._lost(declared)
            for server in fleet.tried_by(declared):
                if server.waits or declared.id in host.without:
                    found += _skipped(declared, server, later.NO_SERVER if server.waits else later.NO_CLIENT)
                    continue
                if server.name not in usual:
                    usual[server.name] = usual_name(server, fleet)
                name = usual[server.name]
                if name is None:
                    found += self._by_no_name(declared, server)
                    continue
                own, *others = dict.fromkeys([*server.databases_of(declared), *lost])
                identity, owners = declared._replace(database=own), fleet.of(server, name)
                if owners[0] is not server or not acceptances.is_for(identity, owners):
                    found += acceptances.by_every_name(identity, server, fleet)
                    continue  # all of its names are shared, and another server has it, too
                found += acceptances.at(identity, server, fleet, name, acceptances.More(own_files, others))
                is_own = len(owners) == 1 and identity.has_certificate and not server.pooler
                if is_own and identity.servers <= self._ready:
                    crossings.note(identity, server, name)
                found += own_refusals.at(identity, owners, name, self._other(identity, owners, host))
                own_files, lost = [], []
        if refusals.ANOTHER_AUTHORITY in host.refused:
            found += [refusals.crossed(one) for one in crossings.untried(self._crossed)]
        found += self._untried(host, {(one["server"], one["host"]) for one in found if "skip" in one})
        self._tried |= own_refusals.tried if set(host.refused) >= set(REFUSALS) else set()
        return found

    def _other(self, identity: Identity, owners: Sequence[Server], host: ClientHost) -> tuple[Identity, bool]:
        """Return whom to pretend to be with the certificate of ``identity``, and whether these servers have the role.

        It is a role of the same host if there is one.
        """
        certified = (one for one in host.identities if one.has_certificate)
        own = [one for one in certified if one.role != identity.role and acceptances.is_for(one, owners)]
        there = self._roles.get(owners[0].name, {})
        wanted = host.other_role
        if wanted and wanted != identity.role:
            known = {one.role: one for one in reversed(host.identities)}
            found = known.get(wanted) or self._named.get(wanted) or identity._replace(role=wanted)
        else:
            others = (one for one in there.values() if one.role != identity.role and acceptances.is_for(one, owners))
            nobody = identity._replace(role=SUPERUSER if identity.role != SUPERUSER else _NOBODY)
            found = own[0] if own else next(others, nobody)
        return found, found.role in there

    def _lost(self, identity: Identity) -> list[str]:
        """Return the databases that no server of an identity has; nothing unless all of them are tried."""
        own = [one for one in self._fleet.servers if one.name in identity.servers]
        if not own or len(own) < len(identity.servers):
            return []
        missing = frozenset.intersection(*(one.missing_databases for one in own))
        return [one for one in identity.databases if one in missing]

    def _by_no_name(self, identity: Identity, server: Server) -> list[dict[str, Any]]:
        """Return a skipped check for a server that the client host can try by none of its names."""
        if not server.names:
            return []
        is_tried = any(self._trying.can_any(server, name) for name in server.names)
        why = "this client host can reach the server by none of its names" if is_tried else untried.why(server.names[0])
        return _skipped(identity, server, why)

    def _untried(self, host: ClientHost, listed: Container[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return a skipped check for each name that no client host of the run can try; once for the run.

        ``listed`` are servers and names that have one.
        """
        if self._has_listed or not host.identities:
            return []
        self._has_listed = True
        self._trying.add(host.host, host.identities)
        return [
            {**common(host.identities[0], (server,), name), "expect": "accepted", "skip": untried.why(name)}
            for server in self._fleet.servers
            for name in server.names
            if untried.is_limited(name)
            and (server.name, name.text) not in listed
            and not self._trying.can_any(server, name)
        ]


def _skipped(identity: Identity, server: Server, why: str) -> list[dict[str, Any]]:
    """Return a check that is left out and named."""
    return [{**common(identity, (server,), name), "expect": "accepted", "skip": why} for name in server.names[:1]]


def _refuse_unfit(host: ClientHost, fleet: Fleet) -> None:
    """Raise TlsError for a client host that cannot be verified as it is declared."""
    _refuse_unknown(host.refused)
    refuse_no_servers(host.identities, fleet.servers)


def _refuse_unknown(kinds: Iterable[str]) -> None:
    """Raise TlsError for something that is no kind of refusal."""
    unknown = [kind for kind in kinds if kind not in REFUSALS]
    if unknown:
        raise TlsError(
            f"postgres_verify_refusals: {unknown[0]!r} is none of {', '.join(REFUSALS)}.", code="refusal_unknown"
        )


def refuse_no_servers(identities: Sequence[Identity], servers: Sequence[object]) -> None:
    """Raise TlsError for identities in an inventory without ``servers``."""
    if identities and not servers:
        raise TlsError(
            "postgres_servers: expected the group of the PostgreSQL servers in the inventory, found no host in it. "
            "There is nothing to verify connections to.",
            code="servers_group_empty",
        )


def planner(
    servers: Iterable[Variables], clients: Iterable[Variables], hosts: Collection[str], graph: Graph, database: str
) -> Planner:
    """Return what plans the connections of a run for ``hosts`` (none: for all), from the variables of all hosts."""
    found = [endpoint_of(host, graph) for host in servers]
    everybody, trying = [], []
    for host in clients:
        identities = identities_of(host.get("postgres_client_identities", ()), database, graph)
        everybody += identities
        if has_identities(host) and (not hosts or host.get("inventory_hostname") in hosts):
            trying.append((host_of(host), identities))
    return Planner(fleet_of(found, frozenset(hosts)), everybody, trying)
