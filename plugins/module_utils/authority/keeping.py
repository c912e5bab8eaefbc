# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep both authorities: read what is there, make what is missing."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keys, ledger, lineage, profiles, store
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Authority
from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

LIFETIME = "certificate_lifetime"  # the option, in errors
# From here on every run warns: a tenth of an issuing CA's life, half a year.
WARNED_AT = profiles.ISSUING_LIFE // 10


class Wish(NamedTuple):
    """What the authorities are to be. ``passphrase`` None: their keys are not encrypted.

    ``lifetime`` is how long the certificates shall live that they are to issue, such as ``90d``; '' leaves it open.
    """

    directory: str
    key_type: str
    passphrase: str | None
    lifetime: str = ""


class Outcome(NamedTuple):
    """The authorities by name, and what was done (or, in check mode, would be done) to have them."""

    lineages: dict[str, Lineage]
    changes: list[str]
    warnings: list[str]
    before: str
    after: str

    @property
    def authorities(self) -> dict[str, Authority]:
        """Return those that issue."""
        return {name: found.authority for name, found in self.lineages.items()}


def keep(wish: Wish, now: int, *, is_dry: bool) -> Outcome:
    """Make the authorities that are missing and return both. ``now`` is in Unix seconds.

    A dry run makes them in memory and writes nothing. Raises TlsError before anything is written for whatever is wrong
    with the directory, the keys or the wish.
    """
    store.check_path(wish.directory)
    keys.check_passphrase(wish.passphrase)
    keys.check_type(wish.key_type)
    if wish.lifetime:
        durations.seconds(wish.lifetime, LIFETIME)
    if not os.path.isdir(wish.directory):
        _refuse_to_outlive("an issuing CA", profiles.ISSUING_LIFE, wish.lifetime, LIFETIME)
        store.check_writable(wish.directory)
        if not is_dry:
            store.make(wish.directory)
    with store.opened(wish.directory):
        found = _read_all(wish, now)
        missing = [name for name in profiles.PURPOSES if name not in found]
        _refuse_to_replace_what_is_lost(wish.directory, missing)
        if missing:
            store.check_writable(wish.directory)
        loose = [path for name in profiles.PURPOSES for path in store.loose_keys(wish.directory, name)]
        made = {name: lineage.new(issuing.new_authority(name, wish.key_type, now)) for name in missing}
        lineages = {name: {**found, **made}[name] for name in profiles.PURPOSES}
        for one in lineages.values():
            check_lifetime(one.authority, wish.lifetime, LIFETIME)
        if not is_dry:
            store.tighten(loose)
            for one in made.values():
                store.create(wish.directory, one.authority, wish.passphrase)
    return Outcome(
        lineages,
        [f"make the {_in_words(one.authority)}" for one in made.values()]
        + [f"make {path} readable for its owner only (mode 0600)" for path in loose],
        [warning for one in found.values() for warning in _warnings(one.authority, now)],
        _state(found),
        _state(lineages),
    )


def _read_all(wish: Wish, now: int) -> dict[str, Lineage]:
    found = {}
    for name in profiles.PURPOSES:
        one = lineage.read(wish.directory, name, wish.passphrase)
        if one is not None:
            found[name] = one
            _refuse_other_key_type(one, wish.key_type)
            check_time(one.authority, now)
    return found


def _refuse_other_key_type(found: Lineage, key_type: str) -> None:
    present = found.authority.issuing.key_type
    if present != key_type:
        raise TlsError(
            f"key_type: {key_type} was asked for, but the {found.name} CA in {found.current.folder} has {present} "
            "keys. An authority keeps its keys for life, and all who trust it would have to trust another one first: "
            f"set key_type back to {present}, or name another directory for new authorities. Nothing was changed."
        )


def check_time(authority: Authority, now: int) -> None:
    """Raise TlsError when the clock is outside the life of the root or the issuing CA."""
    for certificate in (authority.root, authority.issuing):
        if now < certificate.not_before:
            raise TlsError(
                f"The clock of this host says {clock.instant(now)}, but the {authority.name} CA "
                f"{certificate.common_name!r} is valid from {clock.instant(certificate.not_before)} on. "
                "Correct the clock."
            )
        if now >= certificate.not_after:
            raise TlsError(
                f"The {authority.name} CA {certificate.common_name!r} has expired on "
                f"{clock.instant(certificate.not_after)}, and all certificates below it with it. "
                "New authorities are needed, in another directory."
            )


def check_lifetime(authority: Authority, lifetime: str, option: str) -> None:
    """Raise TlsError, naming ``option``, for certificates that would live longer than any issuing CA of this kind."""
    issuer = authority.issuing
    name = f"the issuing CA {issuer.common_name!r} (until {clock.instant(issuer.not_after)})"
    _refuse_to_outlive(name, issuer.not_after - issuer.not_before, lifetime, option)


def _refuse_to_outlive(issuer: str, life: int, lifetime: str, option: str) -> None:
    if lifetime and durations.seconds(lifetime, option) > life:
        raise TlsError(
            f"{option}: {lifetime} is longer than the issuer's: {issuer} lives {durations.in_words(life)}. "
            "A certificate cannot outlive its issuer: choose a shorter lifetime. Nothing was issued."
        )


def _warnings(authority: Authority, now: int) -> list[str]:
    left = min(authority.issuing.not_after, authority.root.not_after) - now
    if left >= WARNED_AT:
        return []
    warning = (
        f"The {authority.name} CA {authority.issuing.common_name!r} ends in {durations.in_words(left)}, on "
        f"{clock.instant(authority.issuing.not_after)}. No certificate outlives it: plan its replacement."
    )
    return [warning]


def _refuse_to_replace_what_is_lost(directory: str, missing: list[str]) -> None:
    if missing and ledger.exists(directory):
        raise TlsError(
            f"{os.path.join(directory, missing[0])}: the {missing[0]} CA is missing, although "
            f"{os.path.join(directory, ledger.FILE)} says that this directory has issued certificates. Nobody would "
            "trust a new one in its place: restore the directory from its backup, or name another one for new "
            "authorities."
        )


def _in_words(authority: Authority) -> str:
    return (
        f"{authority.name} CA: {authority.root.common_name!r} until {clock.instant(authority.root.not_after)}, "
        f"{authority.issuing.common_name!r} until {clock.instant(authority.issuing.not_after)}, "
        f"{authority.issuing.key_type}"
    )


def _state(lineages: dict[str, Lineage]) -> str:
    return "".join(f"{_in_words(one.authority)}\n" for one in lineages.values())
