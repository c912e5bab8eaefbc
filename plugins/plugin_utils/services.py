# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities for services that are not PostgreSQL, as the inventory declares them.

One with ``names`` is a server's certificate. One with ``role`` and ``authority`` is a client's, from that client
authority. Nothing connects to PostgreSQL with either: no rules, no verification, no services.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, Groups, Hostvars

_KEY = "postgres_client_identities"
_OF_POSTGRESQL = ("servers", "databases", "address", "login", "default_files", "strict_services")


def authority(identity: Mapping[str, Any], option: str = _KEY) -> str:
    """Return the client authority that an identity names, '' if it names none. Raises TlsError for no such name."""
    named = identity.get("authority")
    return profiles.check_client_authority(named, f"{option}.authority") if named else ""


def refuse_mixed(identity: Mapping[str, Any], option: str) -> None:
    """Raise TlsError for an identity of a service that has what means something for PostgreSQL alone."""
    if identity.get("names") or identity.get("authority"):
        given = [one for one in _OF_POSTGRESQL if identity.get(one) is not None]
        identities.refuse_beside("names" if identity.get("names") else "authority", given, option)
        authority(identity, option)


def authorities(hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return the client authorities that identities of the inventory name. Raises TlsError."""
    named = {authority(one) for host in groups.get(CLIENTS, ()) for one in hostvars[host].get(_KEY) or ()}
    return sorted(named - {""})


def as_module(identity: Mapping[str, Any], usual: str) -> dict[str, Any]:
    """Return an identity of a service as module client takes it; ``usual`` is the authority that needs no mention."""
    named = authority(identity)
    own: dict[str, Any] = {name: value for name, value in identity.items() if name != "authority"}
    own.update({"authority": named} if named not in ("", usual) else {})
    return {**own, "trusts_clients": bool(named)} if identity.get("names") else {**own, "login": logins.NONE}
