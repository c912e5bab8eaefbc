# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep both authorities: read what is there, make what is missing, and take the steps that are asked for or due."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    issuing,
    key_types,
    keys,
    ledger,
    lifetimes,
    lineage,
    location,
    missing,
    planning,
    profiles,
    rollover,
    seen,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.draft import Draft
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import durations
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import Declared

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import (
        barrier,
        company_request,
        crl,
        revocation,
        revocation_entries,
    )
    from ansible_collections.pgops.tls.plugins.module_utils.source import contract, elsewhere, remembered
else:
    elsewhere = lazy_import("source.elsewhere")
    remembered = lazy_import("source.remembered")
    company_request = lazy_import("authority.company_request")
    crl = lazy_import("authority.crl")
    revocation_entries = lazy_import("authority.revocation_entries")
    revocation = lazy_import("authority.revocation")


class Wish(NamedTuple):
    """What the authorities are to be. ``passphrase`` None: their keys are not encrypted.

    ``lifetime`` is that of the certificates to issue, such as ``90d``; '' leaves it open.
    ``revoked`` is what is to be revoked, as the inventory has it; ``change`` is what to do with the roots.
    ``unrecorded`` are certificates that hosts have in use and the ledger may lack, by authority, {id, certificate}.
    ``creates`` False: a directory without authorities is an error. ``clients`` names the client authorities that are
    needed. Others that exist are kept, too. ``sources`` are those of the authorities that are not in this directory.
    ``companies`` sign the issuing CAs of authorities that are.
    """

    directory: str
    key_type: str
    passphrase: str | None
    lifetime: str = ""
    revoked: Sequence[Mapping[str, Any]] = ()
    change: planning.Change = planning.Change()
    unrecorded: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    creates: bool = True
    clients: Sequence[str] = (profiles.CLIENT,)
    sources: Mapping[str, Declared] = {}
    companies: Mapping[str, Declared] = {}

    @property
    def authorities(self) -> list[str]:
        """Return the own authorities that are needed."""
        return [name for name in dict.fromkeys([profiles.SERVER, *self.clients]) if name not in self.sources]


class KeepingResult(NamedTuple):
    """The authorities by name, and what was done (or, in check mode, would be done) to have them.

    ``crls`` (PEM) and ``revoked`` (serial numbers) are by the same names; empty as long as nothing was ever revoked.
    ``made`` names the authorities that were missing. ``issued`` are the serial numbers of the certificates in the
    ledger that have not ended, None if it cannot be read. ``awaited`` are certificates that the next phase waits for.
    ``elsewhere`` is what to trust of authorities that are not in this directory, or not yet, by their names.
    ``waiting`` says of authorities what a company has to sign. ``unstageable`` are those without a root to stage,
    ``other_root`` those for which another kind of root is declared than the one in use, and is there.
    """

    lineages: dict[str, Lineage]
    changes: list[str]
    warnings: list[str]
    before: str
    after: str
    made: Sequence[str] = ()
    crls: Mapping[str, str] = {}
    revoked: Mapping[str, Sequence[str]] = {}
    issued: Mapping[str, Sequence[str]] | None = None
    awaited: Sequence[barrier.Live] = ()
    elsewhere: Mapping[str, contract.Trust] = {}
    waiting: Mapping[str, str] = {}
    unstageable: Collection[str] = ()
    other_root: Collection[str] = ()

    @property
    def authorities(self) -> dict[str, Authority]:
        """Return those that issue."""
        return {name: found.authority for name, found in self.lineages.items()}


def keep(wish: Wish, now: int, *, is_dry: bool) -> KeepingResult:
    """Make the authorities that are missing, change those that exist, and return both. ``now`` is in Unix seconds.

    A dry run does it in memory and writes nothing. Raises TlsError before anything is written for whatever is wrong
    with the directory, the keys or the wish.
    """
    _check_wish(wish)
    trusts = elsewhere.look(wish, now) if wish.sources or wish.companies else {}
    if not os.path.isdir(wish.directory):
        _refuse_unfit_place(wish)
        if not is_dry:
            location.make(wish.directory)
    with location.opened(wish.directory):
        draft = _draft(wish, trusts, now)
        made = draft.made if is_dry else _write(wish, draft, trusts)
        lineages, lists, revoked = lineage.ordered({**draft.plan.after, **made}), draft.lists, draft.revoked
        serials = {name: revoked.serials(name) for name in lineages} if revoked else {}
        issued = _issued(wish.directory, now)
        awaited = planning.awaited(wish.change, wish.directory, lineages, serials, now)
    not_yet = {name: one.trust() for name, one in draft.asked.items() if name not in lineages}
    return KeepingResult(
        lineages,
        draft.changes,
        [*draft.warnings, *(warning for one in trusts.values() for warning in one.warnings)],
        rollover.state(draft.found),
        rollover.state(lineages),
        list(made),
        {name: lists.text(one.trusted) for name, one in lineages.items()} if lists else {},
        serials,
        issued,
        awaited,
        {**trusts, **not_yet},
        draft.plan.waiting,
        company_request.unstageable(draft.asked, lineages),
        company_request.other_root(draft.asked, lineages),
    )


def _check_wish(wish: Wish) -> None:
    location.check_path(wish.directory)
    keys.check_passphrase(wish.passphrase)
    keys.check_type(wish.key_type)
    for name in wish.clients:
        profiles.check_client_authority(name, option("clients"))
    if wish.lifetime:
        durations.seconds(wish.lifetime, lifetimes.LIFETIME)


def _refuse_unfit_place(wish: Wish) -> None:
    """Raise TlsError when the directory does not exist, and new authorities in it cannot be what is wished."""
    if not wish.creates:
        missing.refuse_to_create(wish.directory, wish.authorities)
    lifetimes.refuse_to_outlive("an issuing CA", profiles.ISSUING_LIFE, wish.lifetime, lifetimes.LIFETIME)
    location.check_writable(wish.directory)
    keys.check_encryption(wish.passphrase)


def _draft(wish: Wish, trusts: Mapping[str, contract.Trust], now: int) -> Draft:
    """Read what exists and decide what to do. The caller holds the lock of the directory. Raises TlsError, OSError."""
    found = _read_all(wish)
    companies = {name: company_request.look(one, _place(wish), now) for name, one in wish.companies.items()}
    absent = _absent(wish, found, companies)
    issuers = {name: seen.Issuers([each.issuing for each in one.trusted]) for name, one in found.items()}
    issuers.update((name, seen.Issuers([*one.issuing, *one.roots], one.type)) for name, one in trusts.items())
    lost = seen.look(wish.directory, wish.unrecorded, issuers, now)
    revoked = _revoked(wish, found, now)
    plan = _plan(wish, found, revoked, companies, now)
    if absent or plan.steps or plan.asks:
        location.check_writable(wish.directory)
        keys.check_encryption(wish.passphrase)
    loose = [path for name in found for path in store.loose_keys(wish.directory, name)]
    made = {name: lineage.new(issuing.new_authority(name, wish.key_type, now)) for name in absent}
    plan.warnings.extend(_check([*plan.after.values(), *made.values()], wish, now))
    coming = company_request.coming(companies, plan.after)
    elsewhere.refuse_shared_roots([plan.after, made, trusts, coming], {**wish.sources, **wish.companies})
    return Draft(found, made, lost, loose, plan, revoked, _lists(wish, revoked, found, companies, now), companies)


def _absent(wish: Wish, found: Mapping[str, Lineage], companies: Mapping[str, company_request.Asked]) -> list[str]:
    """Return the authorities that are missing and must be made here. Raises TlsError if they must not be."""
    absent = [name for name in wish.authorities if name not in found]
    missing.refuse_to_replace_what_is_lost(wish.directory, absent, found, companies)
    unknown = company_request.unknown(absent, companies, wish.directory) if companies else absent
    if (profiles.SERVER in unknown or not found) and not wish.creates:
        missing.refuse_to_create(wish.directory, unknown)
    return [name for name in absent if name not in companies]


def _write(wish: Wish, draft: Draft, trusts: Mapping[str, contract.Trust]) -> dict[str, Lineage]:
    """Do what a draft says; return the authorities that were made, as they are on disk. Raises OSError."""
    if trusts:
        remembered.write(trusts, wish.sources, wish.directory)
    store.tighten(draft.loose)
    seen.write(wish.directory, draft.lost)
    if draft.revoked is not None and draft.lists is not None:
        revocation.write(wish.directory, draft.revoked)  # before any list: a list without its record is refused
        crl.write(draft.lists)
    made = {}
    for name, one in draft.made.items():
        made[name] = lineage.new(one.authority, store.create(wish.directory, one.authority, wish.passphrase))
    for step in draft.plan.steps:
        step.apply()
    for ask in draft.plan.asks:
        ask.apply()
    if draft.asked:
        company_request.note_shared([found for name, found in draft.found.items() if name in draft.asked])
    return made


def _issued(directory: str, now: int) -> Mapping[str, Sequence[str]] | None:
    """Return what the ledger holds that has not ended; only signing stops if the ledger cannot be read."""
    try:
        return ledger.unexpired(directory, now)
    except OSError:
        return None


def _revoked(wish: Wish, lineages: Mapping[str, Lineage], now: int) -> revocation.Revoked | None:
    """Return what is revoked, None as long as nothing ever was. Raises TlsError, OSError."""
    is_recorded = os.path.exists(os.path.join(wish.directory, ledger.REVOKED))
    found = None
    if wish.revoked or is_recorded:
        wanted = revocation_entries.parse(wish.revoked, option("revoked"))
        known = [*wish.authorities, *lineages, *wish.sources]
        revocation_entries.refuse_unknown_authority(wanted, known, option("revoked"))
        found = revocation.look(wish.directory, wanted, option("revoked"), now)
        if wish.sources:
            elsewhere.refuse_to_revoke(wish.sources, wish.directory, found.lines)
    if not is_recorded:
        listed = crl.listed({name: one.trusted for name, one in lineages.items()})
        revocation.refuse_lost(wish.directory, listed, found)
    return found


def _lists(
    wish: Wish,
    revoked: revocation.Revoked | None,
    lineages: Mapping[str, Lineage],
    companies: Mapping[str, company_request.Asked],
    now: int,
) -> crl.Lists | None:
    """Return the lists of revoked certificates, None as long as none are in use. Raises TlsError, OSError."""
    if revoked is None or not revoked.is_in_use:
        return None
    trusted = {name: one.trusted for name, one in lineages.items()}
    given = {name: one.lists for name, one in companies.items()}
    return crl.plan(trusted, revoked, crl.Making(wish.passphrase, _place(wish).lifetime, given), now)


def _read_all(wish: Wish) -> dict[str, Lineage]:
    names = dict.fromkeys([*wish.authorities, *store.names(wish.directory)])
    read = {name: lineage.read(wish.directory, name, wish.passphrase) for name in names if name not in wish.sources}
    found = {name: one for name, one in read.items() if one is not None}
    for name, declared in wish.companies.items():
        if name in found:
            found[name] = lineage.shared(found[name], is_shared=declared.is_shared)
    return lineage.ordered(found)


def _plan(
    wish: Wish,
    found: Mapping[str, Lineage],
    revoked: revocation.Revoked | None,
    companies: Mapping[str, company_request.Asked],
    now: int,
) -> planning.Plan:
    serials = {name: revoked.serials(name) for name in found} if revoked else {}
    return planning.make(wish.change, found, _place(wish)._replace(companies=companies), serials, now)


def _place(wish: Wish) -> rollover.AuthorityOptions:
    lifetime = durations.seconds(wish.lifetime, lifetimes.LIFETIME) if wish.lifetime else 0
    return rollover.AuthorityOptions(wish.directory, wish.passphrase, wish.key_type, lifetime)


def _check(lineages: Sequence[Lineage], wish: Wish, now: int) -> list[str]:
    """Return warnings of authorities that have ended while others go on. Raises TlsError for what must stop a run."""
    # An emergency of one is not the time to complain of the other
    checked = [one for one in lineages if wish.change.drop in ("", one.name)]
    for one in checked:
        key_types.refuse_other(one, wish.key_type, wish.change.rotate)
    return lifetimes.check(checked, wish.lifetime, {profiles.SERVER, *wish.clients}, now)
