# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was seen over many looks, in plaintext and at all: one look shows little, as sessions come and go."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import clock

KEPT = 180 * 86400  # seconds for which somebody is remembered who was not seen again
MOST = 500  # clients that a server's history names; the one seen longest ago is dropped first
_NAMED = ("role", "database", "address", "application")


def after_look(history: Mapping[str, Any], sessions: Iterable[Mapping[str, Any]], now: int) -> dict[str, Any]:
    """Return a server's history after a look at ``now`` (Unix seconds) that saw these plaintext sessions.

    ``looks`` counts the looks in a row that saw none, ``since`` is the first of them (None: the last one saw some).
    """
    moment = clock.instant(now)
    found = {_key(one): dict(zip(_NAMED, _key(one))) for one in sessions}
    return {
        "looks": 0 if found else history.get("looks", 0) + 1,
        "since": None if found else history.get("since") or moment,
        "all_looks": history.get("all_looks", 0) + 1,
        "first_look": history.get("first_look") or moment,
        "seen": _seen(history.get("seen", ()), found, now),
    }


def applications(before: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]], now: int) -> list[Any]:
    """Return the applications of a server after a look at ``now``, each as it was seen last."""
    return _seen(before, {_key(one): one for one in found}, now)


def _seen(
    before: Iterable[Mapping[str, Any]], found: Mapping[tuple[str, ...], Mapping[str, Any]], now: int
) -> list[dict[str, Any]]:
    """Return those who were seen ``before`` or are ``found`` now, the latest first, as far as they are remembered."""
    moment = clock.instant(now)
    seen = {_key(one): dict(one) for one in before}
    for key, one in found.items():
        known = seen.get(key, {"first_seen": moment, "looks": 0})
        days = {"first_seen": known["first_seen"], "last_seen": moment, "looks": known["looks"] + 1}
        seen[key] = {**one, **days}
    kept = [one for one in seen.values() if clock.seconds(one["last_seen"]) > now - KEPT]
    kept.sort(key=lambda one: (one["last_seen"], one["first_seen"], _key(one)), reverse=True)
    return kept[:MOST]


def has_seen(history: Mapping[str, Any]) -> bool:
    """Return whether the last look saw plaintext sessions."""
    return bool(history.get("all_looks")) and not history["looks"]


def in_words(history: Mapping[str, Any]) -> str:
    """Return what a server's history says of its plaintext sessions, in words."""
    if not history.get("all_looks"):
        return "never looked at"
    if not history["looks"]:
        now = sum(one["last_seen"] == history["seen"][0]["last_seen"] for one in history["seen"])
        return f"{now} clients seen in the last look"
    looks = "1 look" if history["looks"] == 1 else f"{history['looks']} looks"
    return f"none seen in {looks} since {history['since']}"


def _key(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in _NAMED)
