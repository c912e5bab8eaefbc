# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clocks of controller and host: a certificate that is not valid yet is refused by everybody."""

from __future__ import annotations

import calendar
import math
import time

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

TOLERANCE = 300  # seconds: as much as certificates are backdated
_FORM = "%Y-%m-%dT%H:%M:%SZ"


def instant(moment: int) -> str:
    """Return Unix seconds in the form of RFC 3339, in UTC."""
    return time.strftime(_FORM, time.gmtime(moment))


def seconds(text: str) -> int:
    """Return the Unix seconds of what ``instant`` returned. Raises ValueError for another text."""
    return calendar.timegm(time.strptime(text, _FORM))


def refuse_skew(now: int, controller_time: float) -> None:
    """Raise TlsError when this host's clock (``now``) and the controller's differ by more than the backdating.

    Both are Unix seconds; ``controller_time`` was read just before the module was sent.
    """
    if not math.isfinite(controller_time):
        raise TlsError(
            f"controller_time: found {controller_time}, expected Unix seconds.",
            remedy="Use now().timestamp().",
            code="controller_time_invalid",
        )
    apart = int(now - controller_time)
    if abs(apart) > TOLERANCE:
        side = "ahead of" if apart > 0 else "behind"
        raise TlsError(
            f"The clock of this host is {abs(apart)} s {side} the controller's. Certificates are backdated by "
            f"{TOLERANCE} s only, so the clocks must not be further apart.",
            remedy="Synchronize them (NTP) and rerun.",
            code="clock_skew",
        )
