# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of pg_hba.conf the clients of an inventory need."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_rules
from ansible_collections.pgops.tls.plugins.plugin_utils import option_names


def of_clients(hosts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one rule of method cert for each role in the hosts' postgres_client_identities. Raises TlsError."""
    with option_names.named("postgres_server"):
        found = client_rules.databases(host.get("postgres_client_identities") for host in hosts)
    return [
        {"database": names, "user": client_rules.literally(role), "method": "cert"} for role, names in found.items()
    ]
