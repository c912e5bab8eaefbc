# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who connects where, and by what that is proven: the inventory's graph, and what servers have seen of it.

A server sees the role of a session, not the host that a role is meant for. So holders of certificates with the same
role and the same targets are one. So are the servers of a cluster, where nobody may ask a standby for years.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.report.tables import OLD as OLD_FINDINGS

# By what a connection is proven, the worst first
PLAINTEXT, OLD, ENCRYPTED, VERIFIED, NEVER, UNKNOWN = PROOFS = (
    "plaintext",
    "old",
    "encrypted",
    "verified",
    "never",
    "unknown",
)
WORDS = {
    PLAINTEXT: "plaintext",
    OLD: "old certificate",
    ENCRYPTED: "TLS, no certificate",
    VERIFIED: "verified",
    NEVER: "never seen",
    UNKNOWN: "not visible",
}
CLIENT, POOLER, KIT, OTHER = "client", "pooler", "kit", "other"  # kinds of holders; other: not in the inventory
CLUSTER, SERVER = "cluster", "server"  # kinds of targets, besides poolers


class Target(NamedTuple):
    """A cluster, a server in none, or a pooler."""

    kind: str
    name: str


class Holder(NamedTuple):
    """Who connects: a role, and the hosts (or kits) that have a certificate, or a password, for it."""

    kind: str
    role: str
    hosts: tuple[str, ...]
    targets: tuple[Target, ...]

    @property
    def itself(self) -> Target | None:
        """Return a pooler that connects as what others connect to."""
        return Target(POOLER, self.hosts[0]) if self.kind == POOLER else None


class Edge(NamedTuple):
    """A connection, and its proof. ``in_use``: how many of its holders' certificates a server has seen, of ``of``."""

    holder: Holder
    target: Target
    proof: str
    last_seen: str
    in_use: int
    of: int


def read(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of action fleet_connections as a report keeps them."""
    return [
        {
            "holders": [{key: str(one[key]) for key in ("kind", "host", "id", "role")} for one in row["holders"]],
            "servers": [str(one) for one in row["servers"]],
        }
        for row in found
    ]


def target_of(data: Mapping[str, Any], host: str) -> Target:
    """Return what a server or pooler is drawn as."""
    if host not in data["servers"]:
        return Target(POOLER, host)
    cluster = str(data["servers"][host].get("cluster") or "")
    return Target(CLUSTER, cluster) if cluster else Target(SERVER, host)


def members(data: Mapping[str, Any]) -> dict[Target, list[str]]:
    """Return all targets of a report with their hosts: clusters by name, then servers in none, then poolers."""
    found: dict[Target, list[str]] = {}
    for host in data["servers"]:
        found.setdefault(target_of(data, host), []).append(host)
    for host in data["poolers"]:  # one that is a server, too, is drawn as both
        found.setdefault(Target(POOLER, host), []).append(host)
    order = (CLUSTER, SERVER, POOLER)
    return dict(sorted(found.items(), key=lambda one: (order.index(one[0].kind), one[0].name)))


class Reach:
    """The clusters that each certificate and host of a report is about, '' for a server in none: for filters."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._hosts = {(SERVER, host): {str(one.get("cluster") or "")} for host, one in data["servers"].items()}
        self._own: dict[tuple[str, str, str], frozenset[str]] = {}
        rows = sorted(data.get("connections", ()), key=lambda row: all(one["kind"] != POOLER for one in row["holders"]))
        for row in rows:
            clusters = frozenset().union(*(self.of(kind, one) for one in row["servers"] for kind in (SERVER, POOLER)))
            for one in row["holders"]:
                # A pooler has two certificates, and both are about the servers behind it
                key = (one["kind"], one["host"])
                self._own[(*key, one["id"])] = clusters
                self._hosts.setdefault(key, set()).update(clusters)

    def of(self, kind: str, host: str, id_: str = "") -> Iterable[str]:
        """Return the clusters of a certificate, or of all that a host has."""
        return self._own.get((kind, host, id_)) or self._hosts.get((kind, host)) or frozenset()

    def of_target(self, target: Target) -> Iterable[str]:
        """Return the clusters of a target: of a pooler, those behind it."""
        return [target.name] if target.kind == CLUSTER else self.of(target.kind, target.name)


def edges(data: Mapping[str, Any]) -> list[Edge]:
    """Return the connections of a report: those of the inventory, and those of roles that it does not have."""
    seen = _Seen(data)
    declared = list(_declared(data, seen))
    known = {(one.holder.role, one.target) for one in declared}
    return [*declared, *_of_others(data, seen, known)]


def unused(found: Iterable[Edge]) -> Iterator[tuple[Holder, list[Edge]]]:
    """Yield the holders whose certificate no server has seen in use, where servers can see it, and their edges."""
    by_holder: dict[Holder, list[Edge]] = {}
    for one in found:
        if one.of and one.proof != UNKNOWN:
            by_holder.setdefault(one.holder, []).append(one)
    for holder, own in by_holder.items():
        if not any(one.in_use for one in own):
            yield holder, own


def _declared(data: Mapping[str, Any], seen: _Seen) -> Iterator[Edge]:
    grouped: dict[tuple[str, str, frozenset[str]], list[Mapping[str, str]]] = {}
    for row in data.get("connections", ()):
        servers = frozenset(row["servers"])
        for one in row["holders"]:
            # A pooler is drawn as itself: two of them are not one, even with the same role
            own = one["host"] if one["kind"] == POOLER else ""
            grouped.setdefault((one["kind"] + own, one["role"], servers), []).append(one)
    serials = _serials(data)
    for (_kind, role, servers), holders in sorted(grouped.items(), key=lambda one: (one[0][:2], sorted(one[0][2]))):
        own = {serials.get((one["kind"], one["host"], one["id"])) for one in holders} - {None, ""}
        at: dict[Target, list[str]] = {}
        for server in sorted(servers):
            at.setdefault(target_of(data, server), []).append(server)
        hosts = tuple(dict.fromkeys(one["host"] for one in holders))
        holder = Holder(holders[0]["kind"], role, hosts, tuple(at))
        for target, hosts_of_target in at.items():
            yield seen.edge(holder, target, hosts_of_target, own)


def _of_others(data: Mapping[str, Any], seen: _Seen, known: set[tuple[str, Target]]) -> Iterator[Edge]:
    at: dict[str, dict[Target, list[str]]] = {}
    for server, role in seen.rows:
        target = target_of(data, server)
        if (role, target) not in known:
            at.setdefault(role, {}).setdefault(target, []).append(server)
    for role, targets in sorted(at.items()):
        holder = Holder(OTHER, role, (), tuple(targets))
        for target, servers in targets.items():
            yield seen.edge(holder, target, servers, set())


def _serials(data: Mapping[str, Any]) -> dict[tuple[str, str, str], str | None]:
    """Return the serial number of each holder's certificate by kind, host and id, as far as it has one."""
    found: dict[tuple[str, str, str], str | None] = {}
    for host, one in data["clients"].items():
        found.update({(CLIENT, host, own["id"]): own["serial"] for own in one.get("identities", ())})
    for host, one in data["poolers"].items():
        found[POOLER, host, ""] = one.get("certificates", {}).get("back", {}).get("serial")
    for name, one in data["kits"].items():
        found[KIT, name, ""] = (one.get("certificate") or {}).get("serial")
    return found


class _Seen:
    """What servers have seen of each role: rows of applications, and live sessions on what was replaced."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._looked = {host: one["last_look"] for host, one in data["servers"].items() if one["last_look"]}
        self.rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        self._old: set[tuple[str, str]] = set()
        for host, one in data["servers"].items():
            for row in one["applications"]:
                self.rows.setdefault((host, row["role"]), []).append(row)
            for session in one["sessions"]:
                if any(finding in OLD_FINDINGS for finding in session["findings"]):
                    self._old.add((host, session["role"]))

    def edge(self, holder: Holder, target: Target, servers: Sequence[str], serials: Iterable[str | None]) -> Edge:
        """Return the edge of a holder to these servers of a target."""
        rows = [row for server in servers for row in self.rows.get((server, holder.role), ())]
        last = max((row["last_seen"] for row in rows), default="")
        proofs = {proof for server in servers for proof in self._proofs(server, holder.role, last)}
        own = set(serials)
        in_use = len(own.intersection(serial for row in rows for serial in row["serials"]))
        return Edge(holder, target, min(proofs or {UNKNOWN}, key=PROOFS.index), last, in_use, len(own))

    def _proofs(self, server: str, role: str, newest: str) -> Iterator[str]:
        """Yield what the last look at a server shows that saw the role; nothing old if another server saw it since."""
        if server not in self._looked:
            return
        rows = self.rows.get((server, role), ())
        last = max((row["last_seen"] for row in rows), default="")
        if (server, role) in self._old:
            yield OLD
        if last < min(newest, self._looked[server]) and rows:
            return  # it was looked at again without the role, which was seen elsewhere
        for row in rows:
            if row["last_seen"] == last:
                yield _proof(row)
        if not rows:
            yield NEVER


def _proof(row: Mapping[str, Any]) -> str:
    if row["tls"] != "all":
        return PLAINTEXT
    return VERIFIED if row["client_certificate"] == "all" else ENCRYPTED
