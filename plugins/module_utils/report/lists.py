# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates in a report: who makes one, from when on somebody has to act, and what lacks a list."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import OWN
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import RevocationList

OURS, COMPANY, ELSEWHERE = "own", "company", "elsewhere"  # who makes a list
_DAY = 86_400
_SOON = 14 * _DAY  # before the end of one that runs renew much earlier
_SOON_ELSEWHERE = 4 * _DAY  # of one that may live for days only: a run warns from then on, see source/lists.py
_LAST_QUARTER = 1 / 4  # of a company's list above an own CA: a run warns from then on, see authority/company_lists.py
_DATE = 10  # characters of a moment, which are its date
_TO_DO = {
    OURS: "run pgops.tls.site",
    COMPANY: "have the company make a new list",
    ELSEWHERE: "have that CA make a new list",
}


def read(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lists of an authority. ``found`` is as module certificate_authority returns it. Raises TlsError."""
    is_own = (found.get("source") or OWN) == OWN
    return [_read(one, is_own=is_own) for one in revocations.read_pem(found.get("crls") or "", "authorities")]


def _read(one: RevocationList, *, is_own: bool) -> dict[str, Any]:
    made_by = (OURS if one.is_ours else COMPANY) if is_own else ELSEWHERE
    life = one.next_update - one.this_update
    leads = {OURS: _SOON, COMPANY: min(_SOON, int(life * _LAST_QUARTER)), ELSEWHERE: _SOON_ELSEWHERE}
    return {
        "name": one.issuer_common_name,
        "next_update": clock.instant(one.next_update),
        "made_by": made_by,
        "act_from": clock.instant(one.next_update - leads[made_by]),
    }


def is_late(one: Mapping[str, Any], now: int) -> bool:
    """Return whether somebody has to act on a list. ``now`` is in Unix seconds."""
    return clock.seconds(one["act_from"]) < now


def late(name: str, authority: Mapping[str, Any], now: int) -> Iterator[str]:
    """Yield what to do about lists of an authority that end. ``now`` is in Unix seconds."""
    for one in authority["crls"]:
        if is_late(one, now):
            ends = "ends" if clock.seconds(one["next_update"]) > now else "ended"
            what = f"the revocation list {one['name']} of the {name} CA {ends} on {one['next_update'][:_DATE]}"
            yield f"{_TO_DO[one['made_by']]}: {what}"


def unenforced(authority: Mapping[str, Any]) -> int:
    """Return how many revoked certificates hosts accept because there is no list that they could check.

    Own lists are always there. Those of a CA elsewhere are taken away before they end, or while one of them is missing.
    """
    return 0 if authority["crls"] else int(authority["revoked"])


def unenforced_in_words(authority: Mapping[str, Any]) -> str:
    """Return the same in words, '' where there is none."""
    count = unenforced(authority)
    return f"hosts accept {count} revoked certificate{'' if count == 1 else 's'}" if count else ""
