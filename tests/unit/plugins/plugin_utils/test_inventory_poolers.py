# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an inventory that has poolers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import inventory

GROUPS = {
    "postgres_servers": ["shop1", "billing1"],
    "postgres_poolers": ["pool1"],
    "postgres_clients": ["app1"],
    "shop": ["shop1"],
}
HOSTS = ["shop1", "billing1", "pool1", "app1"]


def problems(groups: dict[str, list[str]] = GROUPS, **variables: dict[str, Any]) -> list[str]:
    """Return what is wrong, with more variables of hosts."""
    hostvars: dict[str, dict[str, Any]] = {host: {"inventory_hostname": host} for host in HOSTS}
    hostvars["app1"]["postgres_client_identities"] = [{"role": "app", "os_user": "web"}]
    for host, more in variables.items():
        hostvars[host].update(more)
    return inventory.Fleet(hostvars, groups, {}).problems(HOSTS)


@pytest.mark.parametrize(
    ("entry", "whose"),
    [
        ({"host": "pool1"}, "group postgres_poolers"),
        ({"role": "pgbouncer"}, "pooler pool1"),
        ({"role": "pgbouncer", "authority": "client"}, "pooler pool1"),
    ],
)
def test_what_a_pooler_holds_cannot_be_revoked_by_name(entry: dict[str, str], whose: str) -> None:
    (found,) = problems(shop1={"postgres_ca_revoked": [entry]})
    assert f"must have no valid certificate, but {whose} gives it one." in found
