# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as users write them: ``90d``, ``12h``, ``10y``."""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([mhdwy])")


def seconds(text: str, option: str) -> int:
    """Return the seconds of a duration such as ``90d``; ``option`` names it in the error.

    Raises TlsError for anything but a positive whole number and one of the units m, h, d, w, y (365 days).
    """
    match = _DURATION.fullmatch(str(text))
    if not match or int(match.group(1)) == 0:
        raise TlsError(
            f"{option}: {shown(text)} is not a duration. "
            "Expected a positive whole number and a unit (m, h, d, w, y), such as 90d.",
            code="duration_invalid",
        )
    return int(match.group(1)) * UNITS[match.group(2)]


def in_words(span: int) -> str:
    """Return seconds as the largest whole unit of days, hours or minutes: ``12d``, ``3h``, ``5m``."""
    for unit in ("d", "h"):
        if abs(span) >= UNITS[unit]:
            return f"{int(span / UNITS[unit])}{unit}"
    return f"{int(span / 60)}m"
