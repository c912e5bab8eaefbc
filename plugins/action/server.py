# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that runs module server, with the options that role postgres_server may have among its variables."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import module_actions, patroni_members, requests


class ActionModule(module_actions.ModuleAction):
    """The action of this file."""

    ROLE = "postgres_server"
    ONLY_WITH: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("patroni_trusted_clients", "patroni_issuing", "patroni_revoked"), "patroni_api"
    )

    def to_sign(self, result: Mapping[str, Any], arguments: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
        """Return the request of a server, if it has one, and those of the Patroni that runs it."""
        names = arguments.get("names", [])
        found = requests.of_server(result, names, host)
        if arguments.get("patroni_api"):
            authority = str(self.role.value(patroni_members.AUTHORITY))
            found += requests.of_patroni(result.get("patroni") or {}, names, host, authority)
        return found
