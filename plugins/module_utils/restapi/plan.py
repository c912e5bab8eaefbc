# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from a REST API's current state to its target: a pure decision on what was found."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_keys
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import (
    API,
    FORMER,
    ROOTS,
    TRUSTED,
    Target,
)

# Patroni reads the files of its REST API only if the serial number of the leaf is another one
TRUST_CHANGED, CHAIN_CHANGED = "trust_changed", "chain_changed"


class Found(NamedTuple):
    """What was found: the generation in use (its name and bytes), patroni.yml, and what answers at the REST API.

    ``repairs`` says which files have a wrong owner or mode, ``unfit`` why a pair cannot be used (by credential).
    ``own_trust`` is what the file holds that clients on this node verify other members with, b'' without one.
    """

    current: str | None
    generation: Mapping[str, bytes]
    repairs: Sequence[str]
    unfit: Mapping[str, str]
    config: str
    text: str
    settings: Settings
    answer: Answer | None
    own_trust: bytes = b""


class Plan(NamedTuple):
    """Why certificates are needed, which generation to stage (None: keep it), the new text of patroni.yml (None: same).

    ``reloads``: Patroni has to read its file, or the certificate. ``left``: the generation that is rolled back from.
    """

    reasons: Mapping[str, Sequence[str]]
    contents: Mapping[str, bytes] | None
    text: str | None
    changes: Sequence[str]
    reloads: bool
    left: str = ""


def make(target: Target, found: Found, now: int) -> Plan:
    """Return the plan that leads from ``found`` to ``target``. ``now`` is in Unix seconds. Raises TlsError."""
    reasons = pairs.all_reasons(target, found.generation, found.unfit, now)
    contents, shortened = _coming(target, found, reasons, now)
    if not reasons[API]:
        reasons[API] = _not_taken_without_a_new_leaf(found, contents, target)
    differing = [name for name in (TRUSTED, ROOTS, FORMER) if found.generation.get(name) != contents[name]]
    text = yaml_keys.rewritten(found.text, target.values, found.config)
    is_rewritten = text != found.text
    is_staged = bool(differing or shortened or found.repairs or any(reasons.values()))
    changes = [
        *(f"{name} certificate: {why}" for name, whys in reasons.items() for why in whys),
        *found.repairs,
        *shortened,
        *(f"{name}: {'changed' if name in found.generation else 'new'}" for name in differing),
        *([f"{found.config}: changed"] if is_rewritten else []),
    ]
    other = [] if is_shown(target, found) else ["reload: the REST API shows another certificate than its file"]
    return Plan(
        reasons=reasons,
        contents=contents if is_staged else None,
        text=text if is_rewritten else None,
        changes=changes or other,
        reloads=bool(reasons[API] or is_rewritten or not is_shown(target, found)),
    )


def is_shown(target: Target, found: Found) -> bool:
    """Return whether the REST API shows the leaf of the generation in use."""
    leaf = next(iter(target.api.chain(found.generation)), None)
    return leaf is not None and found.answer is not None and found.answer.fingerprint == leaf.sha256


def _not_taken_without_a_new_leaf(found: Found, contents: Mapping[str, bytes], target: Target) -> list[str]:
    if found.generation.get(TRUSTED) != contents[TRUSTED]:
        return [TRUST_CHANGED]
    certificate = target.api.certificate
    return [CHAIN_CHANGED] if found.generation.get(certificate) != contents.get(certificate) else []


def _coming(
    target: Target, found: Found, reasons: Mapping[str, Sequence[str]], now: int
) -> tuple[dict[str, bytes], list[str]]:
    """Return the contents of the next generation, apart from new certificates, and what chains lose, in words."""
    contents = dict(found.generation)
    before = former.of(target, found.settings, found.generation, found.own_trust)
    contents[TRUSTED], contents[FORMER] = target.trusted_clients.encode(), former.written(before)
    contents[ROOTS] = (target.roots + before.trust).encode()
    shortened, files = pairs.shortened(target.credentials, found.generation, reasons, now)
    return {**contents, **files}, shortened
