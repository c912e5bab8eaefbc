# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says where a directory goes that the inventory does not name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: beside_inventory
short_description: Say where a directory beside the inventory is
version_added: 1.0.0
description:
  - Returns the directory of that name beside the inventory. Beside a file it is C(NAME), beside a directory
    C(INVENTORY-NAME), because Ansible reads what is inside a directory as inventory.
  - If it is inside the inventory already, where earlier versions put it, it stays in use, with a warning.
  - Fails, and names the variable to set, if there are several places, or none, such as with C(-i host,).
positional: sources, name, variable, host
options:
  _input:
    description: C(inventory_dir) of the first host of the inventory.
    type: path
    required: true
  sources:
    description: The inventories of the run, C(ansible_inventory_sources).
    type: list
    elements: str
    required: true
  name:
    description: The name of the directory.
    type: str
    required: true
  variable:
    description: The variable that names another directory, for messages.
    type: str
    required: true
  host:
    description: The host with the directory. Only on V(localhost), the controller, there is a default.
    type: str
    default: localhost
author: The pgops.tls authors (@pgops)
"""

EXAMPLES = r"""
- name: Show where the authorities are
  ansible.builtin.debug:
    msg: "{{ inventory_dir | pgops.tls.beside_inventory(ansible_inventory_sources, 'postgres-ca', 'my_variable') }}"
"""

RETURN = r"""
_value:
  description: The absolute path of the directory.
  type: path
"""

from typing import Any, Callable, Sequence

from ansible.utils.display import Display
from ansible_collections.pgops.tls.plugins.plugin_utils import filters, places


@filters.explained
def beside_inventory(
    inventory_dir: str | None, sources: Sequence[str], name: str, variable: str, host: str = "localhost"
) -> str:
    """Return where the directory is; Ansible shows the same warning once."""
    found = places.default(variable, name, inventory_dir, sources, host)
    if found.warning:
        Display().warning(found.warning)
    return found.path


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"beside_inventory": beside_inventory}
