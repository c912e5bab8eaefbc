# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All generations of one authority: which of them issues, which are trusted, and what others need to know of them."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority, Generation
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

STEADY, SWITCHED = "steady", "switched"
STAGED, RETIRING = store.STAGED, store.RETIRING
PHASES = (STEADY, STAGED, SWITCHED, RETIRING)


class Lineage(NamedTuple):
    """The generations of an authority.

    ``authority`` is the one that issues, with its key. ``numbered`` are the trusted ones that issue or have issued,
    oldest first; the last of them is that one. ``retiring`` are no longer trusted. ``is_successor``: its root took the
    place of another one, which is retired.
    """

    authority: Authority
    numbered: tuple[Generation, ...]
    staged: Generation | None = None
    retiring: tuple[Generation, ...] = ()
    is_successor: bool = False

    @property
    def name(self) -> str:
        """Return the name of the authority."""
        return self.authority.name

    @property
    def current(self) -> Generation:
        """Return the generation that issues."""
        return self.numbered[-1]

    @property
    def below_root(self) -> list[Generation]:
        """Return the generations of the root in use, newest first."""
        return [one for one in reversed(self.numbered) if one.root.der == self.current.root.der]

    @property
    def phase(self) -> str:
        """Return how far the replacement of the root is."""
        if any(one.root.der != self.current.root.der for one in self.numbered):
            return SWITCHED
        if self.staged is not None:
            return STAGED
        return RETIRING if self.retiring else STEADY

    @property
    def trusted(self) -> tuple[Generation, ...]:
        """Return all trusted generations, oldest first, so that a switch changes neither them nor their order."""
        return self.numbered if self.staged is None else (*self.numbered, self.staged)

    @property
    def roots(self) -> list[Certificate]:
        """Return all trusted roots, oldest first."""
        return _distinct(one.root for one in self.trusted)

    @property
    def issuing(self) -> list[Certificate]:
        """Return the issuing CA in use, then those before it below the same root: what they issued may stay."""
        return _distinct(one.issuing for one in self.below_root)

    @property
    def chain(self) -> list[Certificate]:
        """Return what goes out with a certificate that is issued now: all between it and each trusted root."""
        cross = self.authority.cross
        is_of_use = cross is not None and any(issuing.is_signed_by(cross, root) for root in self.roots)
        above = self.authority.company.above if self.authority.company else ()
        return [self.authority.issuing, *above, *([cross] if cross is not None and is_of_use else [])]

    @property
    def between(self) -> list[Certificate]:
        """Return all that chains in use may hold between a certificate and a trusted root."""
        return _distinct([*self.issuing, *self.chain, *(ca for one in self.trusted for ca in one.above)])

    @property
    def bundle(self) -> list[Certificate]:
        """Return all trusted issuing CAs, then all trusted roots."""
        return [*_distinct(ca for one in self.trusted for ca in (one.issuing, *one.above)), *self.roots]

    @property
    def is_shared(self) -> bool:
        """Return whether a company that signs for others, too, has a root that is trusted."""
        return any(one.company is not None and one.company.is_shared for one in self.trusted)

    @property
    def since(self) -> int:
        """Return since when the newest root is trusted, in Unix seconds: a company's is older than that."""
        newest = self.trusted[-1]
        if newest.company is None:
            return newest.root.not_before
        below = [one for one in self.trusted if one.root.der == newest.root.der]
        return min((one.company.since if one.company else 0) or one.issuing.not_before for one in below)


def read(directory: str, name: str, passphrase: str | None) -> Lineage | None:
    """Return the generations of an authority, None when it does not exist. The caller holds the lock.

    Keys are opened of those that issue or are going to. Raises TlsError, OSError.
    """
    found = store.folders(directory, name)
    if not found.numbered:
        return None
    numbered = [store.read_public(folder, name) for folder in found.numbered]
    retiring = [store.read_public(folder, name) for folder in found.retiring]
    staged = store.read_public(found.staged, name) if found.staged else None
    if staged:
        store.issuing_key(staged, passphrase)
    current = numbered[-1]
    # Generations of one root are moved one after the other: the last of them decides for all.
    still = [one for one in retiring if any(one.root.der == other.root.der for other in numbered)]
    key = store.issuing_key(current, passphrase)
    return Lineage(
        Authority(name, current.root, None, current.issuing, key, current.cross, company=current.company),
        (*still, *numbered),
        staged,
        tuple(one for one in retiring if one not in still),
        any(root != current.root.pem.encode("ascii") for root in store.retired_roots(directory, name)),
    )


def ordered(lineages: Mapping[str, Lineage]) -> dict[str, Lineage]:
    """Return authorities in the order in which people read them: the servers', the usual clients', then all others."""
    first = (profiles.SERVER, profiles.CLIENT)
    names = [*(name for name in first if name in lineages), *sorted(set(lineages).difference(first))]
    return {name: lineages[name] for name in names}


def new(authority: Authority, folder: str = "") -> Lineage:
    """Return the lineage that an authority begins which was just made."""
    return Lineage(authority, (generation(authority, folder),))


def shared(found: Lineage, *, is_shared: bool) -> Lineage:
    """Return an authority whose companies sign for others, too, or do not, whatever its folders say."""

    def said(one: Generation) -> Generation:
        return one._replace(company=one.company._replace(is_shared=is_shared)) if one.company else one

    staged = said(found.staged) if found.staged else None
    return found._replace(numbered=tuple(map(said, found.numbered)), staged=staged)


def generation(made: Authority, folder: str = "") -> Generation:
    """Return the certificates of an authority that was just made; without a folder it is in memory only."""
    return Generation(folder, made.root, made.issuing, made.cross, made.crls, made.company)


def facts(
    found: Lineage,
    crls: str = "",
    revoked: Sequence[str] = (),
    *,
    may_stage: bool = True,
    other_root: bool = False,
) -> dict[str, object]:
    """Return what others need to know of an authority, its lists among it; nothing of it is secret.

    ``may_stage``: whether there is a new root to stage, which only a company that has to sign can keep away.
    ``other_root``: it is of another kind than the one in use, a company's or an own one, and declared.
    """
    return {
        "roots": pem(found.roots),
        "issuing": pem(found.between),
        "bundle": pem(found.bundle),
        "crls": crls,
        "revoked": list(revoked),
        "source": OWN,
        "shared": found.is_shared,
        "phase": found.phase,
        "replaced": found.is_successor,
        "since": clock.instant(found.since),
        "may_stage": may_stage,
        "other_root": other_root,
        "key_type": found.authority.issuing.key_type,
        "root_not_after": clock.instant(found.authority.root.not_after),
        "issuing_not_after": clock.instant(found.authority.issuing.not_after),
    }


def pem(certificates: Sequence[Certificate]) -> str:
    """Return certificates as one PEM text."""
    return "".join(one.pem for one in certificates)


def _distinct(certificates: Iterable[Certificate]) -> list[Certificate]:
    return list({one.der: one for one in certificates}.values())
