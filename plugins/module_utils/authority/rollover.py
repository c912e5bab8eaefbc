# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replacement of a root, one phase at a time, so that no host is shut out: trust, issue, forget, remove.

Each phase takes effect by one rename; for ``retire``, a file of the new root goes before. A run that dies leaves the
phase before or the one after, and the next call with the same phase continues.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, lineage, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority, Generation
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import company, company_request
else:
    company = lazy_import("authority.company")

STAGE, SWITCH, RETIRE, FINISH = "stage", "switch", "retire", "finish"
# What leads on from where an authority is, and where it leads to.
_NEXT = {lineage.STEADY: STAGE, lineage.STAGED: SWITCH, lineage.SWITCHED: RETIRE, lineage.RETIRING: FINISH}
_LEADS_TO = {STAGE: lineage.STAGED, SWITCH: lineage.SWITCHED, RETIRE: lineage.RETIRING, FINISH: lineage.STEADY}


class Step(NamedTuple):
    """A change of an authority: in words, what it is afterwards, and what makes it so on disk (raises OSError).

    The folders in ``after`` are those of before, for a dry run; '' is that of a generation which is in memory only.
    ``warnings`` are what there is to say about it.
    """

    change: str
    after: Lineage
    apply: Callable[[], None]
    warnings: tuple[str, ...] = ()


class AuthorityOptions(NamedTuple):
    """Where the authorities are, the passphrase of their keys, and what new ones are made for.

    ``lifetime`` is that of the certificates to issue, in seconds. ``companies`` are asked to sign issuing CAs, by the
    names of authorities.
    """

    directory: str
    passphrase: str | None
    key_type: str
    lifetime: int
    companies: Mapping[str, company_request.Asked] = {}


def is_due(found: Lineage, phase: str) -> bool:
    """Return whether a phase is the next one, False if it is already reached. Raises TlsError otherwise."""
    if _LEADS_TO[phase] == found.phase:
        return False
    if _NEXT[found.phase] != phase:
        raise TlsError(
            f"phase: {phase} is not next for the {found.name} CA, which is {found.phase}: {_NEXT[found.phase]} comes "
            "first. Nothing was changed.",
            code="phase_out_of_order",
        )
    return True


def in_step(due: Sequence[Lineage], phase: str) -> list[Lineage]:
    """Return which of the authorities for which a phase is due go through it now.

    No old root retires while another one is still in chains: so a call that died between two authorities is made again.
    """
    return [one for one in due if phase == RETIRE and _is_in_chains(one)] or list(due)


def step(found: Lineage, phase: str, place: AuthorityOptions, now: int) -> Step:
    """Return the step to a phase that is due. ``now`` is in Unix seconds. Raises TlsError, OSError."""
    if phase == STAGE:
        return _stage(found, place, now)
    if phase == SWITCH:
        return _switch(found, place)
    return _retire(found, place) if phase == RETIRE else _finish(found, place)


def _stage(found: Lineage, place: AuthorityOptions, now: int) -> Step:
    if found.name in place.companies:
        return company.stage(found, place.companies[found.name], place)
    made = issuing.new_authority(found.name, place.key_type, now)
    old_key = store.root_key(found.current, place.passphrase)
    cross = issuing.cross_signed(made.root, found.current.root, old_key, now) if old_key else None
    made = made._replace(cross=cross)

    def apply() -> None:
        store.create(place.directory, made, place.passphrase, store.STAGED)

    return Step(
        f"stage a new {found.name} CA, which everybody is to trust before it issues: {in_words(made)}",
        found._replace(staged=lineage.generation(made)),
        apply,
        () if cross else (_without_cross(found, is_key_there=old_key is not None),),
    )


def _without_cross(found: Lineage, *, is_key_there: bool) -> str:
    why = (
        "is a company's, which does not sign it"
        if found.current.company
        else "was made by an earlier version and may not sign it (its path length is too short)"
        if is_key_there
        else f"cannot sign it: its key is not in {store.root_key_path(found.current)}"
    )
    return (
        f"The old root of the {found.name} CA, {found.current.root.common_name!r}, {why}. The rollover works "
        "without its signature. But hosts that are not managed here and trust only the old root refuse new "
        "certificates from phase switch on, not only from phase retire on."
    )


def _switch(found: Lineage, place: AuthorityOptions) -> Step:
    staged = found.staged
    if staged is None:  # is_due has seen to it
        raise ValueError(found.phase)
    folder = store.path(place.directory, found.name, store.next_number(place.directory, found.name))
    key = store.issuing_key(staged, place.passphrase)
    authority = Authority(found.name, staged.root, None, staged.issuing, key, staged.cross, company=staged.company)
    return Step(
        f"let the staged {found.name} CA issue from now on: {in_words(staged)}",
        Lineage(authority, (*found.numbered, staged), None, found.retiring),
        lambda: store.move(staged.folder, folder),
    )


def _retire(found: Lineage, place: AuthorityOptions) -> Step:
    """Return the step that takes the old root away: from chains first, and from who trusts it when they are proven.

    pgjdbc does not log in with a chain that ends in a root which the server no longer trusts.
    """
    if _is_in_chains(found):
        return _detach(found)
    old = [one for one in found.numbered if one.root.der != found.current.root.der]
    return leave(found, old, place, f"trust the old {found.name} root no longer")


def _is_in_chains(found: Lineage) -> bool:
    return found.current.cross in found.chain


def _detach(found: Lineage) -> Step:
    current = found.current
    return Step(
        f"take the old {found.name} root out of chains: {current.root.common_name!r} goes out without its signature",
        found._replace(
            authority=found.authority._replace(cross=None),
            numbered=(*found.numbered[:-1], current._replace(cross=None)),
        ),
        lambda: store.remove_cross(current.folder),
    )


def leave(found: Lineage, old: list[Generation], place: AuthorityOptions, change: str) -> Step:
    """Return the step after which generations are no longer trusted: their folders are below ``retiring``.

    Those of one root are moved one after the other; the last one takes the trust from all of them.
    """
    moves = [(one.folder, _retiring(one.folder, found.name, place)) for one in old]

    def apply() -> None:
        for before, after in moves:
            store.move(before, after)

    names = ", ".join(repr(name) for name in dict.fromkeys(one.root.common_name for one in old))
    return Step(
        f"{change}: {names}",
        found._replace(
            numbered=tuple(one for one in found.numbered if one not in old),
            staged=None if found.staged in old else found.staged,
            retiring=(*found.retiring, *old),
        ),
        apply,
    )


def _retiring(folder: str, name: str, place: AuthorityOptions) -> str:
    """Return where a folder goes that retires. A staged one gets a number."""
    number = os.path.basename(folder)
    if number == store.STAGED:
        number = store.next_number(place.directory, name)
    return os.path.join(store.path(place.directory, name, store.RETIRING), number)


def _finish(found: Lineage, place: AuthorityOptions) -> Step:
    return put_away(
        found._replace(retiring=(), is_successor=True),
        list(found.retiring),
        place,
        f"remove the private keys of the old {found.name} CA",
    )


def put_away(
    after: Lineage, old: list[Generation], place: AuthorityOptions, change: str, keys: Sequence[str] = store.KEYS
) -> Step:
    """Return the step that removes private keys of generations which are useless, and keeps their certificates."""
    parent = store.path(place.directory, after.name, store.RETIRED)

    def apply() -> None:
        for one in old:
            store.remove_keys(one.folder, keys)
            store.move(one.folder, os.path.join(parent, os.path.basename(one.folder)))

    return Step(f"{change}: {', '.join(repr(one.issuing.common_name) for one in old)}", after, apply)


def in_words(made: Authority | Generation) -> str:
    """Return a generation for people: root and issuing CA, until when they live, and the type of their keys."""
    return (
        f"{made.root.common_name!r} until {clock.instant(made.root.not_after)}, "
        f"{made.issuing.common_name!r} until {clock.instant(made.issuing.not_after)}, {made.issuing.key_type}"
    )


def state(lineages: Mapping[str, Lineage]) -> str:
    """Return what authorities are, for a diff."""
    return "".join(f"{line}\n" for one in lineages.values() for line in _lines(one))


def _lines(found: Lineage) -> list[str]:
    """Return what an authority is, for a diff: the generation in use first."""
    others = [("trusted still", one) for one in found.numbered[:-1]]
    others += [("staged", found.staged)] if found.staged else []
    others += [("retiring", one) for one in found.retiring]
    return [
        f"{found.name} CA: {in_words(found.current)}",
        *(f"{found.name} CA, {kind}: {in_words(one)}" for kind, one in others),
    ]
