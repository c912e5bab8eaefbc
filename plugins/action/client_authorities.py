# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says which client authorities the inventory needs, on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.plugin_utils import actions, client_authorities
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the names of client authorities. Raises TlsError for text that is no name."""
        return {"changed": False, "names": client_authorities.needed(variables["hostvars"], variables["groups"])}
