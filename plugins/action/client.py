# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that runs module client, with the options that role postgres_client may have among its variables."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import module_actions, requests


class ActionModule(module_actions.ModuleAction):
    """The action of this file."""

    ROLE = "postgres_client"
    SOME_MAY_FAIL = True
    ONLY_WITH: ClassVar[Mapping[str, str]] = {"renew_to_new_root": "renew"}

    def to_sign(self, result: Mapping[str, Any], arguments: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
        """Return the requests of a client host. Raises TlsError for one that is not in its identities."""
        if not result.get("requests"):
            return []
        usual = self.role.value("__postgres_client_own")["authority"]
        in_use = result.get("identities") or ()
        return requests.complete(result["requests"], arguments["identities"], host, usual, in_use)
