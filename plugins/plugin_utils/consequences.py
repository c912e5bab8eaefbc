# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks when a root is dropped, as a person reads it before."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.plugin_utils import kinds, kits, serials
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, Groups, Hostvars


def of_drop(result: Mapping[str, Any], hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return what a person must know before a root is dropped, from what module certificate_authority said.

    Each certificate that breaks is a line, those that no run is going to replace first.
    """
    declared = kinds.ids(hostvars, groups)
    given = set(map(kits.id_of, kits.declared(hostvars, groups)))
    passwords = set(serials.by_password(hostvars, groups.get(CLIENTS, ())))
    if "root" not in result:
        return [str(result.get("msg"))]
    lost = [one for one in result["breaks"] if one["id"] not in declared]
    replaced = [one for one in result["breaks"] if one["id"] in declared - passwords - given]
    handed_out = [one for one in result["breaks"] if one["id"] in given]
    unused = [one for one in result["breaks"] if one["id"] in passwords]
    return [
        str(result["consequence"]),
        *(f"{one['id']}, until {one['not_after']}: not in the inventory, so shut out permanently" for one in lost),
        *(f"{one['id']}, until {one['not_after']}: shut out until its holder has a new kit" for one in handed_out),
        *(f"{one['id']}, until {one['not_after']}: shut out until a run has reached it" for one in replaced),
        *(f"{one['id']}, until {one['not_after']}: not in use, because it logs in by password" for one in unused),
        f"To do it: -e postgres_ca_drop_confirmed={result['root'].rpartition(' ')[2]}",
    ]
