# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says whether hosts have TLS from authorities that are not here, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, traces
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "directory": {"type": "path", "required": True},
        "host": {"type": "str", "required": True},
        "answers": {"type": "list", "elements": "dict", "default": []},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return who looks where. Raises TlsError where the answers show that no authorities may be made."""
        refusal = traces.refusal(self.options["answers"], self.options["directory"], self.options["host"])
        if refusal:
            raise TlsError(refusal, code="authorities_elsewhere")
        directories = traces.tls_directories(variables["hostvars"], variables["groups"])
        asks = traces.shared_out(directories, variables["ansible_play_hosts_all"])
        return {"changed": False, "asks": asks, "warnings": traces.silent(self.options["answers"])}
