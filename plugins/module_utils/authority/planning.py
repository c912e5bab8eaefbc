# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with authorities that exist: what was asked for, else what the clock asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import renewing, rollover
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import Place, Step
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.later import later

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier, dropping
else:
    barrier = later("authority.barrier")
    dropping = later("authority.dropping")


class Change(NamedTuple):
    """What to do with the root of an authority; by default nothing, and the clock decides.

    ``phase`` of the replacement of the roots of ``rotate``; ``holders`` are the certificates that were seen in use, by
    authority, {id, serial}. ``drop`` is the authority whose root named ``confirmed`` is to be dropped at once.
    """

    phase: str = ""
    rotate: Sequence[str] = ()
    holders: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    drop: str = ""
    confirmed: str = ""


class Plan(NamedTuple):
    """The steps to take, in their order, the authorities as they are afterwards, and what there is to say."""

    steps: list[Step]
    after: dict[str, Lineage]
    warnings: list[str]


def make(
    change: Change,
    found: Mapping[str, Lineage],
    place: Place,
    revoked: Mapping[str, Collection[str]],
    now: int,
) -> Plan:
    """Return the plan for the authorities that were found, by name; nothing is written.

    ``revoked`` has serial numbers by authority, ``now`` is in Unix seconds. Raises TlsError for a change that is not
    safe or not next; OSError.
    """
    plan = Plan([], dict(found), [])
    if change.drop:
        _refuse_missing(found, [change.drop], "drop")
        live = barrier.live(place.directory, revoked, now)
        dropping.refuse_unconfirmed(found[change.drop], change.confirmed, live)
        root = dropping.named(found[change.drop], change.confirmed)
        _add(plan, dropping.steps(found[change.drop], root, place, now))
    elif change.phase:
        _refuse_missing(found, change.rotate, "phase")
        due = [name for name in change.rotate if rollover.is_due(found[name], change.phase)]
        if due:
            live = barrier.live(place.directory, revoked, now)
            if change.phase == rollover.FINISH:
                live = [one for one in live if one.issuer in _issuers(found[one.authority])]
            _refuse_unsafe(change, [found[name] for name in due], live)
        for one in rollover.in_step([found[name] for name in due], change.phase):
            _add(plan, [rollover.step(one, change.phase, place, now)])
    else:
        for one in found.values():
            outlook = renewing.look(one, place, now)
            _add(plan, outlook.steps)
            plan.warnings.extend(outlook.warnings)
    return plan


def _add(plan: Plan, steps: Sequence[Step]) -> None:
    for step in steps:
        plan.steps.append(step)
        plan.after[step.after.name] = step.after
        plan.warnings.extend(step.warnings)


def _issuers(found: Lineage) -> set[str]:
    """Return the key identifiers of trusted issuing CAs. Whoever a root was dropped under is shut out already."""
    return {one.issuing.subject_key_id for one in found.trusted}


def _refuse_unsafe(change: Change, due: Sequence[Lineage], live: Sequence[barrier.Live]) -> None:
    barrier.refuse_unproven(live, change.holders, change.phase)
    if change.phase == rollover.RETIRE:
        for one in due:
            barrier.refuse_old(live, {ca.subject_key_id for ca in one.issuing}, one.name)


def _refuse_missing(found: Mapping[str, Lineage], names: Sequence[str], option: str) -> None:
    for name in names:
        if name not in found:
            raise TlsError(
                f"{option}: there is no {name} CA yet. Make the authorities first, by a run without this option."
            )
