# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The poolers of an inventory: the ids of their certificates, and the client authority of each."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import BACK, FRONT
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import POOLERS, Groups, Hostvars, Variables

AUTHORITY = "postgres_pooler_client_authority"
Said = Callable[[Variables, str], Mapping[str, Any]]


def ids(host: str) -> dict[str, str]:
    """Return the ids of a pooler's two certificates, as the ledger has them: the front's and the back's."""
    return {name: f"{host}/pooler/{name}" for name in (FRONT, BACK)}


def client_authority(variables: Variables) -> str:
    """Return the client authority of a pooler. Raises TlsError for text that is no name."""
    return profiles.check_client_authority(variables.get(AUTHORITY, profiles.CLIENT), AUTHORITY)


def step_of(id_: str) -> str:
    """Return the step of a run that is for the certificate with this id."""
    host, separator, _others = id_.partition("/")
    return "server" if not separator else "pooler" if id_ in ids(host).values() else "client"


def certificates(hostvars: Hostvars, groups: Groups, said: Said) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give authority, id and facts of each certificate of a pooler. ``said`` is ``results.last``, or one like it."""
    for host in groups.get(POOLERS, ()):
        found = said(hostvars[host], "pooler").get("certificates") or {}
        authorities = {FRONT: profiles.SERVER, BACK: client_authority(hostvars[host])}
        for name, id_ in ids(host).items():
            if name in found:
                yield authorities[name], id_, found[name]
