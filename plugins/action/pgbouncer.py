# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that runs module pgbouncer, with the options that role postgres_pooler may have among its variables."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import module_actions, requests


class ActionModule(module_actions.ModuleAction):
    """The action of this file."""

    ROLE = "postgres_pooler"

    def to_sign(self, result: Mapping[str, Any], arguments: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
        """Return the requests of a pooler, each with the authority that signs it."""
        return requests.of_pooler(result, arguments, host, str(self.role.value("postgres_pooler_client_authority")))
