# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan changes, in words: for results, check mode and logs."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CONF, LISTS, Found
from ansible_collections.pgops.tls.plugins.module_utils.server.generation import Coming
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target


def changes(
    target: Target, found: Found, reasons: Sequence[str], coming: Coming, rewrites: Sequence[Rewrite]
) -> list[str]:
    """Return everything that is to change in files, in words."""
    return [
        *(f"certificate: {reason}" for reason in reasons),
        *found.repairs,
        *coming.shortened,
        *(difference(name, found, target) for name in coming.differing),
        *(f"{rewrite.name}: changed" for rewrite in rewrites),
    ]


def reloads(found: Found, *, is_shown: bool, by_log: bool) -> list[str]:
    """Return why a reload alone is needed, in words: no file changes, but the server does not use what is there.

    ``is_shown``: the server shows the leaf on disk. ``by_log``: only the log can show the reload.
    """
    another = [] if is_shown else ["reload: the server shows another certificate than the one on disk"]
    return [*another, *(f"reload: {setting}" for setting in found.drift if by_log)]


def difference(name: str, found: Found, target: Target) -> str:
    """Return in words how a file of the generation in use (trust or settings) is to change."""
    if name == LISTS and not target.crls:
        return f"{name}: removed, nothing is revoked"
    if name != CONF or CONF not in found.generation:
        return f"{name}: {'changed' if name in found.generation else 'new'}"
    try:
        before = settings.parse(found.generation[CONF].decode("utf-8", "replace"))
    except TlsError:
        return f"{name}: damaged, rewritten"
    differing = [
        f"{key} {before.get(key, 'unset')!r} -> {target.settings.get(key, 'unset')!r}"
        for key in sorted({*before, *target.settings})
        if before.get(key) != target.settings.get(key)
    ]
    return f"{name}: {', '.join(differing) or 'changed'}"
