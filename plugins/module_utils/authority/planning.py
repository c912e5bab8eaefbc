# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with authorities that exist: what was asked for, else what the clock asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import lineage, profiles, renewing, rollover
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions, Step
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier, company, dropping, outside
else:
    barrier = lazy_import("authority.barrier")
    company = lazy_import("authority.company")
    dropping = lazy_import("authority.dropping")
    outside = lazy_import("authority.outside")


class Change(NamedTuple):
    """What to do with the root of an authority; by default nothing, and the clock decides.

    ``phase`` of the replacement of the roots of ``rotate`` (none: of all authorities); ``in_use`` are the certificates
    that this run has seen, by authority, {id, serial}. ``outside`` are holders that no run reaches, as the inventory
    names them; ``trust`` answers for copies of roots that no run sees. ``drop`` is the authority whose root named
    ``confirmed`` is to be dropped at once.
    """

    phase: str = ""
    rotate: Sequence[str] = ()
    in_use: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    drop: str = ""
    confirmed: str = ""
    outside: Sequence[Mapping[str, Any]] = ()
    trust: Sequence[str] = ()


class Plan(NamedTuple):
    """The steps to take, in their order, the authorities as they are afterwards, and what there is to say.

    ``asks`` are requests for issuing CAs that go out, ``waiting`` says of authorities what they wait for.
    """

    steps: list[Step]
    after: dict[str, Lineage]
    warnings: list[str]
    asks: list[company.Ask]
    waiting: dict[str, str]


def make(
    change: Change,
    found: Mapping[str, Lineage],
    place: AuthorityOptions,
    revoked: Mapping[str, Collection[str]],
    now: int,
) -> Plan:
    """Return the plan for the authorities that were found, by name; nothing is written.

    ``revoked`` has serial numbers by authority, ``now`` is in Unix seconds. Raises TlsError for a change that is not
    safe or not next; OSError.
    """
    plan = Plan([], dict(found), [], [], {})
    holders, ended = outside.counting(outside.parse(change.outside), now) if change.outside else ([], [])
    plan.warnings.extend(ended)
    if change.drop:
        _refuse_missing(found, [change.drop], "drop")
        if change.drop in place.companies and dropping.needs_another(found[change.drop], change.confirmed):
            company.refuse_to_drop(place.companies[change.drop])
        live = barrier.live(barrier.newest(place.directory).values(), revoked, now)
        dropping.refuse_unconfirmed(found[change.drop], change.confirmed, live)
        root = dropping.named(found[change.drop], change.confirmed)
        _add(plan, dropping.steps(found[change.drop], root, place, now))
    elif change.phase:
        rotate = change.rotate or list(found)
        _refuse_missing(found, rotate, "phase")
        due = [name for name in rotate if rollover.is_due(found[name], change.phase)]
        if due:
            newest = barrier.newest(place.directory)
            outside.refuse_unknown(holders, newest)
            live = barrier.still_held(barrier.live(newest.values(), revoked, now), change.in_use)
            plan.warnings.extend(_refuse_unsafe(change, [found[name] for name in due], live, found, holders))
            if change.phase in (rollover.STAGE, rollover.SWITCH) and not change.trust:
                plan.warnings.append(outside.coming())
        for one in rollover.in_step([found[name] for name in due], change.phase):
            _add(plan, [rollover.step(one, change.phase, place, now)])
    else:
        _add_by_clock(plan, found, place, now)
    return plan


def _add_by_clock(plan: Plan, found: Mapping[str, Lineage], place: AuthorityOptions, now: int) -> None:
    """Add what the clock asks for, and what companies have to sign or have signed."""
    for one in found.values():
        outlook = renewing.look(one, place, now)
        _add(plan, outlook.steps)
        plan.warnings.extend(outlook.warnings)
    for name, asked in place.companies.items():
        theirs = company.outlook(asked, plan.after.get(name), place, now)
        _add(plan, theirs.steps)
        plan.warnings.extend(theirs.warnings)
        plan.asks.extend(theirs.asks)
        if theirs.waiting:
            plan.waiting[name] = theirs.waiting


def _add(plan: Plan, steps: Sequence[Step]) -> None:
    for step in steps:
        plan.steps.append(step)
        plan.after[step.after.name] = step.after
        plan.warnings.extend(step.warnings)


def _issuers(found: Lineage) -> set[str]:
    """Return the key identifiers of trusted issuing CAs. Holders below a dropped root are already shut out."""
    return {one.issuing.subject_key_id for one in found.trusted}


def _refuse_unsafe(
    change: Change,
    due: Sequence[Lineage],
    live: Sequence[barrier.Live],
    found: Mapping[str, Lineage],
    holders: Sequence[outside.Holder],
) -> list[str]:
    """Raise TlsError if the phase would shut a host out; return what there is to say if it goes ahead.

    Only an authority's own certificates hold it back. Certificates of the other authority count where trust ends, or
    where nothing leads from the old root to the new one: their holders most likely trust the old root alone. What only
    adds trust waits for nobody.
    """
    # Of authorities that are not in this directory, nobody here drops a root
    usable = [one for one in live if one.authority not in found or one.issuer in _issuers(found[one.authority])]
    counted = usable if change.phase == rollover.FINISH else live
    names, excused = [one.name for one in due], [one.key for one in holders]
    is_abrupt = change.phase == rollover.SWITCH and any(map(_has_no_cross, due))
    own = [one for one in counted if one.authority in names or is_abrupt]
    in_use = barrier.without_old_kits(change.in_use, live, _newest_server_root(due))
    if change.phase == rollover.STAGE:
        missing = barrier.unproven(own, in_use, excused)
        return [barrier.behind(missing)] if missing else []
    barrier.refuse_unproven(own, in_use, change.phase, excused)
    if change.phase == rollover.RETIRE:
        for one in due:
            barrier.refuse_old(live, {ca.subject_key_id for ca in one.issuing}, one.name)
        outside.refuse_unanswered(due, change.trust, barrier.unseen(usable, in_use), holders)
    return []


def _newest_server_root(due: Sequence[Lineage]) -> str:
    """Return since when there is the root that kits must have, '' if it is not the servers' that is being replaced."""
    return next((clock.instant(one.since + profiles.BACKDATED) for one in due if one.name == profiles.SERVER), "")


def awaited(
    change: Change, directory: str, found: Mapping[str, Lineage], revoked: Mapping[str, Collection[str]], now: int
) -> list[barrier.Live]:
    """Return the certificates that have to be seen before the next phase of the authorities that go through one.

    ``revoked`` has serial numbers by authority, ``now`` is in Unix seconds. If the ledger cannot be read there are
    none: only signing and phases stop for that.
    """
    going = {name: one for name, one in found.items() if one.phase != lineage.STEADY}
    if not going:
        return []  # and a ledger is long
    excused = {one.key for one in outside.counting(outside.parse(change.outside), now)[0]}
    try:
        newest = barrier.newest(directory).values()
    except (TlsError, OSError):
        return []
    return [
        one
        for one in barrier.live(newest, revoked, now)
        if one.authority in found
        and _counts(one, going, found[one.authority], is_excused=(one.authority, one.id) in excused)
    ]


def _has_no_cross(found: Lineage) -> bool:
    """Return whether what is staged is refused by everybody who trusts only the old root, as soon as it issues."""
    return found.staged is not None and found.staged.cross is None


def _counts(one: barrier.Live, going: Mapping[str, Lineage], found: Lineage, *, is_excused: bool) -> bool:
    """Return whether a certificate of the authority ``found`` holds back the next phase of those that are ``going``.

    A person cannot excuse one that is below the old root.
    """
    if found.name not in going:
        return not is_excused and any(map(_has_no_cross, going.values()))
    if found.phase == lineage.SWITCHED and one.issuer not in {ca.subject_key_id for ca in found.issuing}:
        return True
    return not is_excused and (found.phase != lineage.RETIRING or one.issuer in _issuers(found))


def _refuse_missing(found: Mapping[str, Lineage], names: Sequence[str], option: str) -> None:
    for name in names:
        if name not in found:
            raise TlsError(
                f"{option}: there is no {name} CA in this directory, which has {_listed(found)}.",
                remedy="Correct the name. An authority that is needed is made by a run without this option.",
                code="authority_missing",
            )


def _listed(found: Mapping[str, Lineage]) -> str:
    return ", ".join(f"the {name} CA" for name in found) or "no authorities yet"
