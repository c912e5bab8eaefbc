# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from a REST API's current state to its target: a pure decision on what was found."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import ROOTS, TRUSTED, Kept
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_keys
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, FORMER, Target

# Patroni reads the files of its REST API only if the serial number of the leaf is another one
TRUST_CHANGED, CHAIN_CHANGED = "trust_changed", "chain_changed"


class Found(NamedTuple):
    """What was found: the generation in use, patroni.yml, and what answers at the REST API.

    ``own_trust`` is what the file holds that clients on this node verify other members with, b'' without one.
    """

    kept: Kept
    config: str
    text: str
    settings: Settings
    answer: Answer | None
    own_trust: bytes = b""

    @property
    def generation(self) -> Mapping[str, bytes]:
        """Return the files of the generation in use."""
        return self.kept.generation


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
    before = former.of(target, found.settings, found.generation, found.own_trust)
    own = {ROOTS: (target.pair.roots + before.trust).encode(), FORMER: former.written(before)}
    coming = pairs.coming(target.pair, found.kept, own, now)
    if not coming.reasons[API]:
        coming.reasons[API] += _not_taken_without_a_new_leaf(found, coming.contents, target)
    text = yaml_keys.rewritten(found.text, target.values, found.config)
    is_rewritten = text != found.text
    changes = [*coming.in_words(), *([f"{found.config}: changed"] if is_rewritten else [])]
    other = [] if is_shown(target, found) else ["reload: the REST API shows another certificate than its file"]
    return Plan(
        reasons=coming.reasons,
        contents=coming.contents if coming.is_staged() else None,
        text=text if is_rewritten else None,
        changes=changes or other,
        reloads=bool(coming.reasons[API] or is_rewritten or not is_shown(target, found)),
    )


def is_shown(target: Target, found: Found) -> bool:
    """Return whether the REST API shows the leaf of the generation in use."""
    leaf = next(iter(target.pair.server.chain(found.generation)), None)
    return leaf is not None and found.answer is not None and found.answer.fingerprint == leaf.sha256


def _not_taken_without_a_new_leaf(found: Found, contents: Mapping[str, bytes], target: Target) -> list[str]:
    if found.generation.get(TRUSTED) != contents[TRUSTED]:
        return [TRUST_CHANGED]
    certificate = target.pair.server.certificate
    return [CHAIN_CHANGED] if found.generation.get(certificate) != contents.get(certificate) else []
