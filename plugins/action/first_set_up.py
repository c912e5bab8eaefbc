# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that warns about defaults of servers that are set up for the first time, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.pgops.tls.plugins.plugin_utils import actions, first_set_up
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables

_DEFAULTS = Path(__file__).resolve().parents[2] / "roles" / "postgres_server" / "defaults" / "main.yml"


class ActionModule(actions.Action):
    """The action of this file."""

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the warnings. A variable that the playbook sets differs from the default of the role."""
        defaults = yaml_load(_DEFAULTS.read_text(encoding="utf-8"))
        everywhere = [name for name, value in defaults.items() if variables.get(name, value) != value]
        hosts = variables["ansible_play_hosts_all"]
        return {"changed": False, "warnings": first_set_up.warnings(variables["hostvars"], hosts, everywhere)}
