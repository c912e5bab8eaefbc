# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuing CA by the clock: a new one below the same root. Only the servers' lists of authorities change.

All hosts trust the root, and each certificate comes with its issuing CA: what the previous one issued stays.
"""

from __future__ import annotations

import os
from typing import Iterator, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    issuing,
    keys,
    lineage,
    profiles,
    rollover,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.authority.rollover import AuthorityOptions, Step
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

# Of an issuing CA's life that is left, and lifetimes of its certificates: long before it would shorten one.
_SHARE, _LIFETIMES = 1 / 10, 2
_MOST = 1 / 2  # of its life: certificates that live longer than that are shortened, rather than a CA made every night
# Of a root's life that is left: a year, to plan a rollover.
ROOT_WARNED_AT = profiles.ROOT_LIFE // 10


class Outlook(NamedTuple):
    """What the clock says of an authority: what to do, and what to warn of."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]


def look(found: Lineage, place: AuthorityOptions, now: int) -> Outlook:
    """Return what the clock asks for. ``now`` is in Unix seconds.

    A root key that is elsewhere, or does not open, is asked for in time; nothing fails for it. Raises OSError.
    """
    root = found.current.root
    warnings = [_root_ends(found, now)] if 0 < root.not_after - now < ROOT_WARNED_AT else []
    if found.current.company is not None:
        warnings = [*warnings, *_without_company(found, place, now)]
        step = _without_ended(found, place, now)
        return Outlook((step,) if step else (), tuple(warnings))
    steps = [_with_root_key(found)]
    if is_due(found, place.lifetime, now):
        key, why = _root_key(found, place)
        if key is None:
            warnings.append(_key_wanted(found, place.lifetime, why, now))
        else:
            steps.append(_renew(found, key, place, now))
    steps.append(_without_ended(steps[-1].after if steps[-1] else found, place, now))
    return Outlook(tuple(step for step in steps if step), tuple(warnings))


def _without_company(found: Lineage, place: AuthorityOptions, now: int) -> Iterator[str]:
    """Warn of an issuing CA that must be replaced, and that no company is asked for any more."""
    one = found.current.issuing
    if found.name not in place.companies and one.not_after - now < margin(one, place.lifetime):
        yield (
            f"The {found.name} CA {one.common_name!r} ends on {clock.instant(one.not_after)}. Its root is a company's, "
            f"and {option('sources')}.{found.name} no longer says where to ask for another one. Put the entry back, or "
            "replace it with a root of the collection: ansible-playbook pgops.tls.rotate_ca."
        )


def _root_key(found: Lineage, place: AuthorityOptions) -> tuple[keys.AuthorityKey | None, str]:
    """Return the key of the root, or None and why there is none. Raises OSError."""
    holder = next((one for one in found.below_root if os.path.exists(store.root_key_path(one))), found.current)
    try:
        return store.root_key(holder, place.passphrase), "it does not exist"
    except TlsError as error:
        return None, error.message


def is_due(found: Lineage, lifetime: int, now: int) -> bool:
    """Return whether the issuing CA must be replaced. If it ends with its root, the root must be replaced instead."""
    one = found.current.issuing
    return one.not_after - now < margin(one, lifetime) and one.not_after < found.current.root.not_after


def margin(one: Certificate, lifetime: int) -> int:
    """Return how many seconds before its end an issuing CA must be replaced that issues for ``lifetime`` seconds."""
    life = one.not_after - one.not_before
    return min(max(_LIFETIMES * lifetime, int(life * _SHARE)), int(life * _MOST))


def remedy(found: Lineage) -> str:
    """Return what to do when an issuing CA has too little left."""
    if found.current.company is not None:
        return (
            f"Have the company sign the request issuing-ca-{found.name}.csr, which site.yml has written "
            f"({option('sources')}.{found.name}.directory)."
        )
    if found.current.issuing.not_after >= found.current.root.not_after:
        return "Replace the root: ansible-playbook pgops.tls.rotate_ca."
    return f"Copy the key of its root to {store.root_key_path(found.current)} and run site.yml, which makes a new one."


def next_root(found: Lineage) -> str:
    """Return what to do when a company's root ends, as the rest of a sentence."""
    place = f"{option('sources')}.{found.name}.roots"
    return f"put the company's next root in its place in the file {place}, and run site.yml."


def _renew(found: Lineage, key: keys.AuthorityKey, place: AuthorityOptions, now: int) -> Step:
    before = found.current
    cross = before.cross if before.cross in found.chain else None  # useful only as long as the old root is trusted
    made = issuing.below(found.name, before.root, key, now)._replace(cross=cross)

    def apply() -> None:
        # The root's key is moved unchanged, so that there is only one place to remove it from.
        folder = store.create(place.directory, made._replace(root_key=None), place.passphrase)
        store.move_root_key(before.folder, folder)

    return Step(
        f"make a new issuing CA below the {found.name} root {before.root.common_name!r}: {made.issuing.common_name!r} "
        f"until {clock.instant(made.issuing.not_after)}; what {before.issuing.common_name!r} has issued stays",
        found._replace(authority=made, numbered=(*found.numbered, lineage.generation(made))),
        apply,
    )


def _with_root_key(found: Lineage) -> Step | None:
    """Return the step that brings the root's key to the newest folder of that root, None when it is not elsewhere."""
    current = found.current
    if os.path.exists(store.root_key_path(current)):
        return None
    place = next((one for one in found.below_root if os.path.exists(store.root_key_path(one))), None)
    if place is None:
        return None
    return Step(
        f"move {store.root_key_path(place)} to {current.folder}",
        found,
        lambda: store.move_root_key(place.folder, current.folder),
    )


def _without_ended(found: Lineage, place: AuthorityOptions, now: int) -> Step | None:
    """Return the step that puts issuing CAs away which were in use before and have ended; None when there are none."""
    current = found.current
    ended = [one for one in found.below_root if one != current and now >= one.issuing.not_after]
    if not ended:
        return None
    after = found._replace(numbered=tuple(one for one in found.numbered if one not in ended))
    return rollover.put_away(after, ended, place, f"put away what ended of the {found.name} CA", ["issuing.key"])


def _root_ends(found: Lineage, now: int) -> str:
    root = found.current.root
    how = "replace it, with ansible-playbook pgops.tls.rotate_ca."
    if found.current.company is not None:
        how = next_root(found)
    return (
        f"The root of the {found.name} CA, {root.common_name!r}, ends in {durations.in_words(root.not_after - now)}, "
        f"on {clock.instant(root.not_after)}. No certificate outlives it: {how}"
    )


def _key_wanted(found: Lineage, lifetime: int, why: str, now: int) -> str:
    one = found.current.issuing
    if now >= one.not_after:
        return (
            f"A new issuing CA of {found.name} needs the key of its root in {store.root_key_path(found.current)}: "
            f"{why}. Put it there, and run site.yml."
        )
    return (
        f"The {found.name} CA {one.common_name!r} ends on {clock.instant(one.not_after)} and must be replaced now, "
        f"for which the key of its root is needed in {store.root_key_path(found.current)}: {why}. Put it there before "
        f"{clock.instant(one.not_after - lifetime)}, rerun, and remove it again. From that date on, certificates would "
        "end with their issuer."
    )
