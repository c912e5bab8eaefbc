# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from a PgBouncer's current state to its target: a pure decision on what was found."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Kept
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, settings
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import BACK, CONF, FRONT, OF_BACK, Target

UNOBSERVABLE = "reload_not_observable"


class Found(NamedTuple):
    """What was found: the generation in use, the text of the main configuration file, and what is in force.

    ``own`` are the lines that PgBouncer reads of that file without ours, and of the files that these include.
    ``served`` is the fingerprint of the leaf that clients see, '' without TLS. ``config`` are the settings in force.
    ``observable``: the log can be read here, so it would show a refused reload.
    """

    kept: Kept
    text: str
    own: Sequence[ini.Line]
    served: str
    config: Mapping[str, str]
    observable: bool
    version: tuple[int, int]

    @property
    def generation(self) -> Mapping[str, bytes]:
        """Return the files of the generation in use."""
        return self.kept.generation


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
    current = found.kept.current
    coming = pairs.coming(target.pair, found.kept, {CONF: target.conf(current or "")}, now)
    text = ini.with_include(found.text, target.included, target.config_file, found.own)
    is_rewritten = text != found.text
    drifted = [] if current is None else settings.not_in_force(target.values(current), found.config)
    leaf = next(iter(target.pair.server.chain(found.generation)), None)
    is_shown = leaf is not None and leaf.sha256 == found.served
    relies_on_log = is_shown and not coming.reasons[FRONT] and bool(coming.is_staged() or is_rewritten or drifted)
    if relies_on_log and not found.observable:
        coming.reasons[FRONT].append(UNOBSERVABLE)  # a new leaf is what a handshake can show
    changes = [*coming.in_words(), *([f"{target.config_file}: changed"] if is_rewritten else [])]
    return Plan(
        reasons=coming.reasons,
        contents=coming.contents if coming.is_staged() else None,
        text=text if is_rewritten else None,
        changes=changes or _reloads(drifted, is_shown=is_shown),
        changes_back=bool(coming.reasons[BACK]) or changes_back(found, coming.contents),
        relies_on_log=relies_on_log,
    )


def _reloads(drifted: Sequence[str], *, is_shown: bool) -> list[str]:
    """Return why a reload alone is needed, in words: no file changes, but PgBouncer does not use what is there."""
    found = [f"reload: {one}" for one in drifted]
    return found if is_shown else [*found, "reload: PgBouncer shows another certificate than the one on disk"]


def changes_back(found: Found, contents: Mapping[str, bytes]) -> bool:
    """Return whether new connections to PostgreSQL will use other files than those that are open."""
    return any(found.generation.get(name) != contents.get(name) for name in OF_BACK)
