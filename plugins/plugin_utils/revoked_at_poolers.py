# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revoked client certificates that poolers accept all the same: PgBouncer checks no list of revoked certificates."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import gaps, poolers
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import POOLERS, Groups, Hostvars

_WHAT_TO_DO = (
    "Where such a role logs in to a pooler by certificate, remove it from auth_file, or reject it at the top of "
    "auth_hba_file with: hostssl all ROLE all reject. If the role must keep its access, only a new root of the "
    "authority shuts the certificate out (pgops.tls.rotate_ca)."
)


def lines(hostvars: Hostvars, groups: Groups, authorities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a run says of them, by the ``authorities`` as role postgres_ca knows them; [] if there are none."""
    found = list(_found(hostvars, groups, authorities))
    return [*found, _WHAT_TO_DO] if found else []


def _found(hostvars: Hostvars, groups: Groups, authorities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    accepting: dict[str, list[str]] = {}
    for pooler in groups.get(POOLERS, ()):
        accepting.setdefault(poolers.client_authority(hostvars[pooler]), []).append(pooler)
    for authority, hosts in accepting.items():
        revoked = list(authorities.get(authority, {}).get("revoked") or ())
        if revoked:
            yield (
                f"WARNING: these poolers accept revoked certificates of client authority {authority} until they "
                f"expire: {gaps.listed(hosts)}. Serial numbers: {gaps.listed(revoked)}. Their holders are in "
                "revoked.jsonl, in postgres_ca_directory. PgBouncer checks no list of revoked certificates."
            )
