# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replacement of roots as the playbook sees it: what comes next, what must be proven, who holds what.

Nothing is remembered between runs. What comes next is what the authorities' directory shows, and proven is what the
hosts said in this run.
"""

from __future__ import annotations

from typing import Any, Collection, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN
from ansible_collections.pgops.tls.plugins.module_utils.verification import report, verdicts
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    client_identities,
    failures,
    results,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, SERVERS, Graph, Groups, Hostvars
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

PLAYBOOK = "ansible-playbook pgops.tls.rotate_ca"
_DAY = 86400
STAGE = "stage"
# The phases in their order, and what an authority is in that has gone through one
PHASES: Mapping[str, tuple[str, ...]] = {
    STAGE: ("staged", "switched", "retiring"),
    "switch": ("switched", "retiring"),
    "retire": ("retiring",),
    "finish": ("steady",),
}
NEXT: Mapping[str, str] = {"steady": STAGE, "staged": "switch", "switched": "retire", "retiring": "finish"}
_IN_WORDS = {
    "steady": "one root is trusted, {newest}",
    "staged": "the new root {newest} is trusted by every host that a run has reached, and issues nothing yet",
    "switched": "the new root {newest} issues, every host gets its certificate, and the old root is still trusted",
    "retiring": "the old root is no longer trusted, {newest} is the only one",
}

Expected = Sequence["tuple[str, Mapping[str, Any]]"]  # (client host, check)


class Step(NamedTuple):
    """The phase that comes next ('': none) and the authorities that it is for.

    ``where`` says where all of them are, ``advice`` how to continue.
    """

    phase: str
    authorities: list[str]
    where: list[str]
    advice: list[str]


def wrong(wanted: str, rotate: Any, known: Collection[str]) -> list[str]:
    """Return what is wrong with a phase, and with authorities of which ``known`` are all; see ``next_step``."""
    try:
        _check(wanted, named(rotate), known)
    except TlsError as error:
        return [error.message]
    return []


def refusals(hosts: Iterable[str], groups: Groups, tags: Sequence[str]) -> list[str]:
    """Return why a run for these hosts cannot replace a root: it would leave hosts behind, or prove nothing.

    ``tags`` are what is behind ``--tags`` and ``--skip-tags``.
    """
    left_out = [host for host in everybody(groups) if host not in set(hosts)]
    found = []
    if left_out:
        found.append(
            f"--limit: {_listed(left_out)} would be left behind, and a later phase would shut out hosts that are left "
            "behind. Run this without --limit."
        )
    if [one for one in tags if one != "all"]:
        found.append(
            "--tags, --skip-tags: a phase begins only after a whole run, with verification, has proven the previous "
            "one. Run this without tags."
        )
    return found


def everybody(groups: Groups) -> list[str]:
    """Return the servers, poolers and client hosts of the inventory."""
    return list(dict.fromkeys(host for kind in KINDS for host in groups.get(kind.group, ())))


def named(rotate: Any) -> list[str]:
    """Return the authorities that a variable names, which behind ``-e`` is a text; [] for all."""
    return [one.strip() for one in rotate.split(",")] if rotate and isinstance(rotate, str) else list(rotate or ())


def _check(wanted: str, names: Sequence[str], known: Collection[str]) -> None:
    if wanted and wanted not in PHASES:
        raise TlsError(
            f"postgres_ca_phase: expected {', '.join(PHASES)}, or nothing for all, found {shown(wanted)}.",
            code="phase_unknown",
        )
    if any(one not in known for one in names):
        raise TlsError(
            f"postgres_ca_rotate: expected a list of {', '.join(known)}, found {shown(list(names))}.",
            code="authority_unknown",
        )


def _refuse_elsewhere(names: Sequence[str], own: Collection[str]) -> None:
    """Raise TlsError for authorities whose roots are replaced at their CA."""
    other = next((name for name in names if name not in own), None)
    if other is not None:
        raise TlsError(
            f"postgres_ca_rotate: the certificates of authority {other} come from another CA (postgres_ca_sources), so "
            "its root is replaced there.",
            remedy="Name own authorities only. The guide on sources says how to replace the root of a source.",
            code="source_cannot",
        )


def next_step(authorities: Mapping[str, Mapping[str, Any]], wanted: str, rotate: Any, now: int) -> Step:
    """Return what comes next for the authorities of ``rotate``, as module certificate_authority returned them.

    ``wanted`` is the only phase to go through, '' for all that are left; ``now`` is in Unix seconds. An authority that
    is past the phase is left out, and the module refuses one that has not reached it. Raises TlsError for unknown
    words.
    """
    own = [name for name, one in authorities.items() if one.get("source", OWN) == OWN]
    ready = [name for name in own if authorities[name]["phase"] != "steady" or authorities[name]["may_stage"]]
    names = named(rotate) or ready  # elsewhere a company has to sign first
    _check(wanted, names, authorities)
    _refuse_elsewhere(names, own)
    left = _left(authorities, names, now)
    phase = wanted or next((one for one in PHASES if one in left.values()), "")
    if wanted:
        found = [name for name in names if authorities[name]["phase"] not in PHASES[wanted]]
    else:
        found = [name for name, one in left.items() if one == phase]
    where = [f"{name} CA, phase {authorities[name]['phase']}: {_in_words(authorities[name])}." for name in names]
    return Step(phase if found else "", found, where, _advice(wanted, left))


def _left(authorities: Mapping[str, Mapping[str, Any]], names: Sequence[str], now: int) -> dict[str, str]:
    """Return the next phase of each authority that is not done.

    In phase ``steady`` an authority may stand before a replacement, or behind one: behind it if its root took the place
    of another one, and not earlier than a day before the replacement that is going on now or, without any, before now.
    It is not behind it where the inventory declares another kind of root, which is there.
    """
    going_on = [made(authorities[name]) for name in names if authorities[name]["phase"] != "steady"]
    since = min([now, *going_on]) - _DAY
    return {
        name: NEXT[one["phase"]]
        for name, one in ((name, authorities[name]) for name in names)
        if one["phase"] != "steady" or not one["replaced"] or made(one) < since or one["other_root"]
    }


def made(authority: Mapping[str, Any]) -> int:
    """Return since when the newest root of an authority is in use, in Unix seconds."""
    return clock.seconds(authority["since"])


def _newest(authority: Mapping[str, Any]) -> certificate.Certificate:
    return certificate.read_pem(authority["roots"], "roots")[-1]


def _in_words(authority: Mapping[str, Any]) -> str:
    root = _newest(authority)
    return _IN_WORDS[authority["phase"]].format(newest=f"{root.common_name!r} of {clock.instant(root.not_before)}")


def _advice(wanted: str, left: Mapping[str, str]) -> list[str]:
    """Return how to continue: with the phase that is next, or to the end."""
    upcoming = next((one for one in PHASES if one in left.values()), "")
    if not upcoming:
        return [f"Nothing is left to do. {PLAYBOOK} -e postgres_ca_phase=stage begins another replacement."]
    if upcoming == STAGE and wanted:
        return []
    one = f"{PLAYBOOK} -e postgres_ca_phase={upcoming}"
    return [f"{one} continues by one phase, {PLAYBOOK} to the end."]


def unproven(hostvars: Hostvars, groups: Groups, *, is_verified: bool = True, away: Collection[str] = ()) -> list[str]:
    """Return a sentence for everything that this run has not proven of the hosts of the inventory.

    ``is_verified``: there were connections to try, which there are not in check mode. ``away`` are hosts that nothing
    has to be proven of, nor of connections to them: what comes next does them no harm.
    """
    hosts = [one for one in everybody(groups) if one not in away]
    failed = [
        f"{one.host} failed in this run ({one.step}): {one.message}" for one in failures.failures(hostvars, hosts)
    ]
    if failed or not hosts:
        return failed or ["No host was reached in this run."]
    asked = {kind.group: [one for one in groups.get(kind.group, ()) if one not in away] for kind in KINDS}
    silent = [line for kind in KINDS for line in _silent(hostvars, asked[kind.group], kind.step)]
    if silent or not is_verified:
        return silent
    verified = {host: results.verified(hostvars[host]) for host in asked[CLIENTS]}
    return [*report.deviations(verified, away), *_not_connected(hostvars, groups, away)]


def _silent(hostvars: Hostvars, hosts: Iterable[str], step: str) -> list[str]:
    found = [host for host in hosts if not results.last(hostvars[host], step)]
    return [f"{_listed(found)}: this run learned nothing about the {step}, so nothing is proven."] if found else []


def _not_connected(hostvars: Hostvars, groups: Groups, away: Collection[str]) -> Iterator[str]:
    """Name servers that no identity has reached, and identities that have reached none, by a new connection.

    A server that no identity is for is proven by its own handshake alone, and so is one that nobody can connect to,
    since it has nothing but a wildcard for a name. Reached is a server that has shown its own certificate on a
    connection: a name alone may lead to another one. Hosts that are ``away`` are left out.
    """
    clients = [host for host in groups.get(CLIENTS, ()) if host not in away]
    expected = [(host, one) for host in clients for one in _expected(hostvars[host])]
    graph = Graph(groups)
    declared = [
        (host, one)
        for host in clients
        for one in client_identities.identities_of(hostvars[host].get("postgres_client_identities") or (), graph=graph)
    ]
    identities = [(host, one.id) for host, one in declared if not one.servers.issubset(away)]
    theirs = frozenset(server for _host, one in declared for server in one.servers)
    tried = {server for _host, one in expected if one["status"] != verdicts.SKIPPED for server in one["servers"]}
    known = [*groups.get(SERVERS, ()), *sorted(graph.poolers)]
    yield from _unreached([one for one in known if one in theirs.difference(away)], expected, tried)
    yield from _unconnected(identities, expected, has_servers=bool(tried))


def _unreached(servers: Iterable[str], expected: Expected, tried: Collection[str]) -> Iterator[str]:
    """Name the servers that have shown their certificate to no client, although one could have tried."""
    checks = [(host, one) for host, one in expected if one["status"] in (verdicts.OK, verdicts.PROMPT)]
    reached = {one["answered_by"] for _host, one in checks}
    for server in servers:
        if server not in reached and (server in tried or not _is_listed(expected, server)):
            yield f"{server}: no client has connected to this server in this run.{_led_elsewhere(checks, server)}"


def _unconnected(identities: Iterable[tuple[str, str]], expected: Expected, *, has_servers: bool) -> Iterator[str]:
    """Name the identities (client host, id there) that no server has let in, although there is one to try."""
    by_identity: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for host, one in expected:
        by_identity.setdefault((host, f"{one['os_user']}/{one['identity']}"), []).append(one)
    for identity in identities:
        own = by_identity.get(identity, ())
        can_connect = any(one["status"] != verdicts.SKIPPED for one in own) if own else has_servers
        is_in = any(one["answered_by"] and one["status"] in (verdicts.OK, verdicts.PROMPT) for one in own)
        if can_connect and not is_in:
            yield f"{'/'.join(identity)}: this identity has connected to no server in this run."


def _expected(variables: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return what became of the connections that had to work."""
    for one in results.verified(variables).get("checks", ()):
        if one["expect"] == "accepted":
            yield one


def _is_listed(expected: Iterable[tuple[str, Mapping[str, Any]]], server: str) -> bool:
    return any(server in one["servers"] for _host, one in expected)


def _led_elsewhere(checks: Iterable[tuple[str, Mapping[str, Any]]], server: str) -> str:
    """Say where the names of a server led that are not its own alone, and what to do."""
    elsewhere = {one["host"]: one["answered_by"] for _host, one in checks if server in one["servers"]}
    if not elsewhere:
        return ""
    led = ", ".join(
        f"{name} led to {other or 'a server that cannot be identified'}" for name, other in elsewhere.items()
    )
    return f" {led}. Give it a name of its own in postgres_server_extra_names."


def _listed(hosts: Sequence[str]) -> str:
    shown_ = ", ".join(hosts[:5])
    return shown_ if len(hosts) <= 5 else f"{shown_} and {len(hosts) - 5} more"
