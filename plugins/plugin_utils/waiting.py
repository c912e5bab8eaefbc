# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that the next phase of a replacement of roots waits for, as each run names them.

Nothing is remembered between runs. The inventory names its hosts. The ledger names the holders of certificates, also
hosts that were removed from the inventory.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    failures,
    kinds,
    kits,
    patroni_members,
    poolers,
    results,
    rotation,
    serials,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, Groups, Hostvars, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

_SHOWN = 10  # hosts that have a line of their own
_WHAT_TO_DO = (
    f"Bring each of them back and keep it in the inventory, then run {rotation.PLAYBOOK}. "
    "If a host is gone permanently, remove it from the inventory and revoke its certificates with "
    "postgres_ca_revoked: [{host: NAME}]. If it stays in use outside the inventory, name it in "
    "postgres_ca_outside_holders."
)

Certificates = Sequence[Mapping[str, str]]  # as module certificate_authority returns them in ``awaited``


def of_run(variables: Variables) -> list[str]:
    """Return the lines of a run, from the ``variables`` of a task: facts of role postgres_ca are among them."""
    authorities = variables.get("postgres_ca_authorities") or {}
    return lines(variables["hostvars"], variables["groups"], authorities, variables.get("postgres_ca_awaited") or ())


def lines(hostvars: Hostvars, groups: Groups, authorities: Mapping[str, Variables], awaited: Certificates) -> list[str]:
    """Return what there is to say of hosts that the next phase waits for; nothing where no root is being replaced.

    ``awaited`` are the certificates that it has to see. Nothing is said of hosts that --limit or tags leave out.
    """
    going = {name: one for name, one in authorities.items() if one["phase"] != "steady"}
    found = list(_hosts(hostvars, groups, awaited)) if going else []
    if not found:
        return []
    more = [f"and {len(found) - _SHOWN} more hosts"] if len(found) > _SHOWN else []
    return [*_headlines(going), *found[:_SHOWN], *more, _WHAT_TO_DO]


def _headlines(going: Mapping[str, Variables]) -> Iterator[str]:
    for phase in rotation.PHASES:
        names = [name for name, one in going.items() if rotation.NEXT[one["phase"]] == phase]
        if names:
            since = clock.instant(min(rotation.made(going[name]) for name in names))
            yield f"Phase {phase} ({', '.join(names)} CA, new root of {since}) waits for these hosts:"


def _hosts(hostvars: Hostvars, groups: Groups, awaited: Certificates) -> Iterator[str]:
    """Return a line for each host, those of the inventory first."""
    held: dict[str, list[Mapping[str, str]]] = {}
    given = {kits.id_of(one) for one in kits.declared(hostvars, groups)}
    yield from _kits(hostvars, groups, [one for one in awaited if one["id"] in given])
    for one in (one for one in awaited if one["id"] not in given):
        held.setdefault(one["id"].partition("/")[0], []).append(one)
    hosts = rotation.everybody(groups)
    away = {*failures.away(hostvars, hosts)}
    failed = {one.host for one in failures.failures(hostvars, hosts) if one.step != failures.VERIFICATION}
    for host in hosts:
        if host in away or host in failed:
            why = "could not be reached in this run" if host in away else "failed in this run"
            yield f"{host}: it {why}. {_dates(held.pop(host, ()))}"
    seen, known = {*_seen(hostvars, groups)}, {*hosts}
    for host, own in held.items():
        unseen = [one for one in own if one["id"] not in seen]
        if unseen and host not in known:
            yield f"{host}: it is not in the inventory. {_dates(unseen)}"
        elif unseen:
            steps = [kind.step for kind in KINDS if host in groups.get(kind.group, ())]
            yield from _not_declared(hostvars[host], steps, unseen)


def _kits(hostvars: Hostvars, groups: Groups, awaited: Certificates) -> Iterator[str]:
    """Return a line for each kit whose holder has not confirmed the newest one."""
    confirmed = {(id_, facts["serial"]) for _authority, id_, facts in kits.confirmed(hostvars, groups)}
    for one in awaited:
        if (one["id"], one["serial"]) not in confirmed:
            yield (
                f"{one['id']}: given at {one['issued']} with serial number {one['serial']}, which ends at "
                f"{one['not_after']}. Its holder has not confirmed it (fetched in {kits.VARIABLE})."
            )


def _not_declared(variables: Variables, steps: Sequence[str], certificates: Certificates) -> Iterator[str]:
    """Return the line of certificates that this run would have shown if the inventory declared them.

    ``steps`` are those for the host. Of one that has not answered, as with --limit, nothing is known.
    """
    silent = [step for step in steps if _is_silent(variables, step)]
    left = [one for one in certificates if _step_of(one["id"]) not in silent]
    if left:
        ids = ", ".join(one["id"] for one in left)
        yield f"{ids}: the inventory does not declare it any more. {_dates(left)}"


def _step_of(id_: str) -> str:
    return "server" if id_ in patroni_members.ids(id_.partition("/")[0]).values() else poolers.step_of(id_)


def _seen(hostvars: Hostvars, groups: Groups) -> Iterator[str]:
    """Give the ids whose certificates this run has shown, or that have none any more."""
    yield from (one["id"] for one in serials.certificates_in_use(hostvars, groups))
    yield from (id_ for _authority, id_, _facts in kinds.certificates(hostvars, groups, results.looked_up))
    listed = [host for host in groups.get(CLIENTS, ()) if "identities" in results.listed(hostvars[host])]
    yield from serials.by_password(hostvars, listed)


def _is_silent(variables: Variables, step: str) -> bool:
    answered = results.last(variables, step) or results.looked_up(variables, step)
    return answered.keys().isdisjoint(("certificate", "certificates", "identities"))


def _dates(certificates: Iterable[Mapping[str, str]]) -> str:
    """Say since when a host may be away, and how long its certificates work."""
    found = list(certificates)
    if not found:
        return "It has no certificate of these CAs, so only the inventory remembers it. Keep it there."
    issued, end = (max(one[key] for one in found) for key in ("issued", "not_after"))
    return f"Its last certificate is of {issued} and ends at {end}."
