# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency: a root that must not be trusted for one more minute, even if that shuts hosts out.

What breaks is shown first, and the root must be named to be dropped.
"""

from __future__ import annotations

from typing import Iterable

from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier, issuing, lineage, rollover, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.barrier import Live
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions, Step
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown


def named(found: Lineage, confirmed: str) -> str:
    """Return the common name of the root that is named by it, or by its last word, the eight digits; '' if none is."""
    known = [one.root.common_name for one in (*found.trusted, *found.retiring)]
    return next((name for name in known if confirmed and confirmed in (name, name.rpartition(" ")[2])), "")


def refuse_unconfirmed(found: Lineage, confirmed: str, live: Iterable[Live]) -> None:
    """Raise TlsError, with what would break, unless ``confirmed`` names a root of this authority."""
    if named(found, confirmed):
        return
    root = found.current.root
    broken = sorted(one for one in live if one.authority == found.name and one.issuer in _issuers(found, root.der))
    what = f"{barrier.in_words(broken)} in use" if broken else "no certificate is in use"
    unknown = f"{shown(confirmed)} is no root of the {found.name} CA. " if confirmed else ""
    consequence = (
        f"drop: {unknown}Dropping the {found.name} root {root.common_name!r} breaks what is below it at once, until a "
        f"run has reached each host: {what}. Nothing was changed."
    )
    raise TlsError(
        consequence,
        remedy=f"To do it, confirm the root by its name: drop_confirmed: {root.common_name}",
        code="drop_unconfirmed",
        consequence=consequence,
        root=root.common_name,
        breaks=[one.as_result() for one in broken],
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


def _issuers(found: Lineage, root: bytes) -> set[str]:
    return {one.issuing.subject_key_id for one in found.trusted if one.root.der == root}
