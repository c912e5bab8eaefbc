# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that completes the certificate requests of a client host from the inventory, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, requests
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "requests": {"type": "list", "elements": "dict", "required": True},
        "identities": {"type": "list", "elements": "dict", "required": True},
        "authority": {"type": "str", "default": profiles.CLIENT},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the requests of the host. Raises TlsError for one that is not in its identities."""
        asked, declared, authority = (self.options[name] for name in ("requests", "identities", "authority"))
        found = requests.complete(asked, declared, variables["inventory_hostname"], authority)
        return {"changed": False, "requests": found}
