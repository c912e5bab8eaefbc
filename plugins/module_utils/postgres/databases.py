# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases that an identity can connect to, among the words for databases in pg_hba.conf."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

REPLICATION = "replication"
# Words that stand for databases, instead of naming one (src/backend/libpq/hba.c, check_db)
_WORDS = ("all", "sameuser", "samerole", "samegroup", REPLICATION)
_PATTERNS = ("/", "+", "@")  # begin a regular expression, a group, and the name of a file


def named(databases: Iterable[str], role: str) -> list[str]:
    """Return the databases that are named, each once, in their order. ``sameuser`` is the one with the role's name."""
    found = (role if one == "sameuser" else one for one in map(str, databases))
    return list(dict.fromkeys(one for one in found if one not in _WORDS and not one.startswith(_PATTERNS)))


def of(identities: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the databases that identities name, sorted."""
    return sorted({name for one in identities for name in named(one.get("databases") or (), str(one["role"]))})
