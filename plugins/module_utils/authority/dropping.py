# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency: a root that must not be trusted for one more minute, even if that shuts hosts out.

What breaks is shown first, and the root must be named to be dropped.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier, issuing, lineage, rollover, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.barrier import Live
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions, Step
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


class _Root(NamedTuple):
    """A trusted root, from when on it is valid, and the certificates in use that break when it is dropped."""

    common_name: str
    since: str
    breaks: Sequence[Live]

    def as_result(self) -> dict[str, object]:
        """Return what a module's result holds of it."""
        return {"root": self.common_name, "since": self.since, "breaks": [one.as_result() for one in self.breaks]}

    @property
    def consequence(self) -> str:
        """Return in words what breaks."""
        return f"{barrier.in_words(self.breaks)} in use" if self.breaks else "no certificate is in use"


def named(found: Lineage, confirmed: str) -> str:
    """Return the common name of the root that is named by it, or by its last word, the eight digits; '' if none is."""
    known = [one.root.common_name for one in (*found.trusted, *found.retiring)]
    return next((name for name in known if confirmed and confirmed in (name, name.rpartition(" ")[2])), "")


def needs_another(found: Lineage, confirmed: str) -> bool:
    """Return whether another authority has to take its place: the root in use is dropped, or could only be."""
    name = named(found, confirmed)
    return name == found.current.root.common_name or (not name and len(found.roots) == 1)


def refuse_unconfirmed(found: Lineage, confirmed: str, live: Iterable[Live]) -> None:
    """Raise TlsError, with what would break, unless ``confirmed`` names a root of this authority."""
    if named(found, confirmed):
        return
    in_use, *others = _trusted(found, list(live))
    unknown = f"{shown(confirmed)} is no root of the {found.name} CA. " if confirmed else ""
    consequence = f"drop: {unknown}{_in_words(found.name, in_use, others)} Nothing was changed."
    raise TlsError(
        consequence,
        remedy=(
            f"To do it, confirm {'one of the roots' if others else 'the root'} by its name: "
            f"{', or '.join(f'drop_confirmed: {one.common_name}' for one in (in_use, *others))}"
        ),
        code="drop_unconfirmed",
        consequence=consequence,
        root=in_use.common_name,
        breaks=in_use.as_result()["breaks"],
        others=[one.as_result() for one in others],
    )


def _trusted(found: Lineage, live: Sequence[Live]) -> list[_Root]:
    """Return the trusted roots, the one in use first. All others are dropped with that one."""
    current = found.current.root
    roots = [current, *(one for one in found.roots if one.der != current.der)]
    return [_root(found, one, found.roots if one is current else [one], live) for one in roots]


def _root(found: Lineage, root: Certificate, dropped: Sequence[Certificate], live: Sequence[Live]) -> _Root:
    issuers = {one.issuing.subject_key_id for one in found.trusted if one.root in dropped}
    broken = sorted(one for one in live if one.authority == found.name and one.issuer in issuers)
    return _Root(root.common_name, clock.instant(root.not_before), broken)


def _in_words(name: str, in_use: _Root, others: Sequence[_Root]) -> str:
    """Return what breaks for each root that can be dropped."""
    breaks = "breaks what is below it at once, until a run has reached each host"
    if not others:
        return f"Dropping the {name} root {in_use.common_name!r} {breaks}: {in_use.consequence}."
    alone = [f"{one.common_name!r} of {one.since} is dropped alone: {one.consequence}." for one in others]
    return (
        f"{1 + len(others)} roots of the {name} CA are trusted, and dropping one {breaks}. {in_use.common_name!r} of "
        f"{in_use.since} issues, and all others are dropped with it: {in_use.consequence}. {' '.join(alone)}"
    )


def steps(found: Lineage, confirmed: str, place: AuthorityOptions, now: int) -> list[Step]:
    """Return what drops the root named ``confirmed``; nothing when it is not trusted any more.

    Where it is the one in use, what else is trusted goes first, since it lies in the same place, and a new authority
    takes its place. The root that was named goes last: as long as it is trusted, the same call continues. Raises
    OSError.
    """
    named = [one for one in found.trusted if one.root.common_name == confirmed]
    done: list[Step] = []
    if confirmed == found.current.root.common_name:
        others = [one for one in found.trusted if one not in named]
        done += [rollover.leave(found, others, place, f"drop what lies beside the {found.name} root")] if others else []
        done.append(_replacement(done[-1].after if done else found, place, now))
    if named:
        after = done[-1].after if done else found
        done.append(rollover.leave(after, named, place, f"drop the {found.name} root at once"))
    return done


def _replacement(found: Lineage, place: AuthorityOptions, now: int) -> Step:
    """Return the step after which a new authority issues."""
    made = issuing.new_authority(found.name, place.key_type, now)

    def apply() -> None:
        store.create(place.directory, made, place.passphrase)

    return Step(
        f"make a new {found.name} CA, which issues from now on: {rollover.in_words(made)}",
        found._replace(authority=made, numbered=(*found.numbered, lineage.generation(made))),
        apply,
    )
