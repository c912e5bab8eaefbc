# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that fails and says what breaks when a root is dropped, on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, consequences
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {"refused": {"type": "dict", "required": True}}

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Raise TlsError with a line for each certificate that nobody would accept any more."""
        lines = consequences.of_drop(self.options["refused"], variables["hostvars"], variables["groups"])
        raise TlsError("\n".join(lines), code="certificates_would_be_refused")
