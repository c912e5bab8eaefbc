# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from a PgBouncer's current state to its target: a pure decision on what was found."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, settings
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import (
    CONF,
    FRONT,
    OF_BACK,
    ROOTS,
    TRUSTED,
    Target,
)

UNOBSERVABLE = "reload_not_observable"


class Found(NamedTuple):
    """What was found: the generation in use (its name and bytes), the main configuration file, and what is in force.

    ``repairs`` says which files have a wrong owner or mode, ``unfit`` why a pair cannot be used (by credential).
    ``served`` is the fingerprint of the leaf that clients see, '' without TLS. ``config`` are the settings in force.
    ``observable``: the log can be read here, so it would show a refused reload.
    """

    current: str | None
    generation: Mapping[str, bytes]
    repairs: Sequence[str]
    unfit: Mapping[str, str]
    text: str
    served: str
    config: Mapping[str, str]
    observable: bool


class Plan(NamedTuple):
    """Why certificates are needed, which generation to stage (None: keep it), the new text of the configuration file.

    ``text`` is None if that file stays. ``relies_on_log``: no handshake can show the change, only the log. ``left``:
    the generation that is rolled back from, '' for any other change.
    """

    reasons: Mapping[str, Sequence[str]]
    contents: Mapping[str, bytes] | None
    text: str | None
    changes: Sequence[str]
    changes_back: bool
    relies_on_log: bool
    left: str = ""


def make(target: Target, found: Found, now: int) -> Plan:
    """Return the plan that leads from ``found`` to ``target``. ``now`` is in Unix seconds. Raises TlsError."""
    reasons = pairs.all_reasons(target, found.generation, found.unfit, now)
    contents, shortened = _coming(target, found, reasons, now)
    differing = _differing(target, found, contents)
    text = ini.with_include(found.text, target.included, target.config_file)
    is_rewritten, drifted = text != found.text, drift(target, found)
    is_staged = bool(differing or shortened or found.repairs or any(reasons.values()))
    leaf = next(iter(target.front.chain(found.generation)), None)
    is_shown = leaf is not None and leaf.sha256 == found.served
    relies_on_log = is_shown and not reasons[FRONT] and bool(is_staged or is_rewritten or drifted)
    if relies_on_log and not found.observable:
        reasons[FRONT] = [UNOBSERVABLE]  # a new leaf is what a handshake can show
        is_staged = True
    changes = [
        *(f"{name} certificate: {why}" for name, whys in reasons.items() for why in whys),
        *found.repairs,
        *shortened,
        *(f"{name}: {'changed' if name in found.generation else 'new'}" for name in differing),
        *([f"{target.config_file}: changed"] if is_rewritten else []),
    ]
    return Plan(
        reasons=reasons,
        contents=contents if is_staged else None,
        text=text if is_rewritten else None,
        changes=changes or _reloads(drifted, is_shown=is_shown),
        changes_back=is_staged and _changes_back(found, contents, reasons),
        relies_on_log=relies_on_log,
    )


def _differing(target: Target, found: Found, contents: Mapping[str, bytes]) -> list[str]:
    """Return which declared files are not in the generation in use as they are declared."""
    names = [name for name in (TRUSTED, ROOTS) if found.generation.get(name) != contents[name]]
    return names if found.generation.get(CONF) == target.conf(found.current or "") else [*names, CONF]


def _reloads(drifted: Sequence[str], *, is_shown: bool) -> list[str]:
    """Return why a reload alone is needed, in words: no file changes, but PgBouncer does not use what is there."""
    found = [f"reload: {one}" for one in drifted]
    return found if is_shown else [*found, "reload: PgBouncer shows another certificate than the one on disk"]


def drift(target: Target, found: Found) -> list[str]:
    """Return which settings in force are not those of the generation in use, in words."""
    if found.current is None:
        return []
    return settings.not_in_force(target.values(found.current), found.config)


def _coming(
    target: Target, found: Found, reasons: Mapping[str, Sequence[str]], now: int
) -> tuple[dict[str, bytes], list[str]]:
    """Return the contents of the next generation, apart from new certificates, and what chains lose, in words."""
    contents = {name: content for name, content in found.generation.items() if name != CONF}
    contents[TRUSTED], contents[ROOTS] = target.trusted_clients.encode(), target.roots.encode()
    shortened, files = pairs.shortened(target.credentials, found.generation, reasons, now)
    return {**contents, **files}, shortened


def _changes_back(found: Found, contents: Mapping[str, bytes], reasons: Mapping[str, Sequence[str]]) -> bool:
    """Return whether new connections to PostgreSQL will use other files than those that are open."""
    is_renewed = any(whys for name, whys in reasons.items() if name != FRONT)
    return is_renewed or any(found.generation.get(name) != contents.get(name) for name in OF_BACK)
