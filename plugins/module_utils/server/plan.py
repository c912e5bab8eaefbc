# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead from a server's current state to its target: a pure decision on what was found.

A separate module decides each part: what is ``due``, the next ``generation``, ``edits`` of other files, and the
``words`` for all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.server import edits, generation, words
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Management, Rewrite
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CERTIFICATE, KEY, Found, chain_of
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.server import existing
else:
    existing = lazy_import("server.existing")


class Plan(NamedTuple):
    """Why a certificate is needed, which generation to stage (None: keep it), which files to rewrite, in words.

    ``relies_on_log``: the leaf stays, so only the server's log can show that it loaded the change. ``left``: the
    generation that is rolled back from, '' for any other change.
    """

    reasons: list[str]
    contents: dict[str, bytes] | None
    config: Rewrite | None
    rules: list[Rewrite]
    changes: list[str]
    relies_on_log: bool
    left: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether everything is as declared."""
        return not self.changes


def make(target: Target, found: Found, management: Management, now: int) -> Plan:
    """Return the plan that leads from ``found`` to ``target``. ``now`` is in Unix seconds. Raises TlsError."""
    chain = chain_of(found.generation.get(CERTIFICATE))
    reasons = _reasons(target, found, chain, now)
    coming = generation.coming(target, found, chain, now, keeps_leaf=not reasons)
    config, rules = edits.of_settings(target, found), edits.of_rules(target, found, management)
    leaves = found.offered.chain if found.offered else chain
    is_shown = bool(leaves) and found.served == leaves[0].sha256
    is_changed = bool(coming.differing or coming.shortened or found.repairs or (found.offered and reasons))
    is_told_by_leaf = bool(reasons) and found.offered is None  # what others renew may be shown already
    relies_on_log = is_shown and not is_told_by_leaf and bool(is_changed or config or found.drift)
    if relies_on_log and not found.observable:
        if found.offered:
            raise existing.not_provable(target)
        # The leaf is what a handshake shows of a generation. If no log shows a refused reload, only a new leaf
        # proves that the server loaded the change.
        reasons.append("reload_not_observable")
    is_staged = is_changed or bool(reasons)
    changes = words.changes(target, found, reasons, coming, [one for one in (config, *rules) if one])
    if not is_staged:
        changes += words.reloads(found, is_shown=is_shown, by_log=relies_on_log and not config)
    return Plan(reasons, coming.contents if is_staged else None, config, rules, changes, relies_on_log)


def _reasons(target: Target, found: Found, chain: Sequence[Certificate], now: int) -> list[str]:
    """Return why another certificate is needed. Raises TlsError for one below a root that clients may not have."""
    if found.offered:
        existing.refuse_another_root(chain, found.offered, target, now)
        return existing.reasons(chain, found.unfit, found.offered, has_key=KEY in found.generation)
    present = due.Present(chain, CERTIFICATE in found.generation, KEY in found.generation, found.unfit)
    path = f"{target.directory}/current/{CERTIFICATE}"
    return due.of_installed(present, target.spec, target.offer, path, now, comes_later=target.comes_later)
