# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task that runs once makes of the variables of a role."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils.role_variables import RoleVariables

NAME = "postgres_verify_database"


@pytest.mark.parametrize(
    ("inventory", "seen", "found"),
    [
        ({}, "postgres", ("postgres", "postgres")),  # the default
        ({"app2": "shop"}, "postgres", ("postgres", "shop")),
        ({"app1": "shop"}, "shop", ("shop", "postgres")),
        ({"app1": "shop", "app2": "billing"}, "shop", ("shop", "billing")),
        ({}, "jobs", ("jobs", "jobs")),  # set by the playbook
        ({"app2": "shop"}, "jobs", ("jobs", "jobs")),
        ({"app1": "shop", "app2": "billing"}, "jobs", ("jobs", "jobs")),
    ],
)
def test_the_playbook_wins_over_the_inventory_and_this_over_the_default(
    inventory: dict[str, str], seen: str, found: tuple[str, str]
) -> None:
    hostvars: dict[str, dict[str, Any]] = {
        host: {NAME: inventory[host]} if host in inventory else {} for host in ("app1", "app2")
    }
    variables = RoleVariables("postgres_verify", hostvars, "app1", {NAME: seen})
    assert (variables.of("app1")[NAME], variables.of("app2")[NAME]) == found
