# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of ssl settings, beside what a real server says of its own; and groups under either name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import known_settings
from ansible_collections.pgops.tls.tests.servers import Server

SETTINGS = """
    SELECT json_object_agg(name, json_build_object('type', vartype, 'default', boot_val, 'choices', enumvals,
             'context', context)) FROM pg_settings WHERE name LIKE 'ssl%'"""


def test_the_table_is_what_the_server_says(server: Server) -> None:
    found: dict[str, Any] = json.loads(server.cluster.psql(SETTINGS))
    major = int(server.cluster.psql("SHOW server_version_num")) // 10000
    table = {
        one.name: {
            "type": one.type,
            "default": one.default,
            "choices": list(one.choices) or None,
            "context": one.context,
        }
        for one in known_settings.of_version(major).values()
    }
    assert found == table


@pytest.mark.parametrize(
    "given", [{"ssl_groups": "X25519:secp384r1:prime256v1"}, {"ssl_ecdh_curve": "secp384r1", "ssl_groups": "X25519"}]
)
def test_groups_reach_a_server_of_any_version(server: Server, given: dict[str, str]) -> None:
    server.ssl = given
    server.settle()
    shown = server.cluster.psql("SELECT setting FROM pg_settings WHERE name IN ('ssl_groups', 'ssl_ecdh_curve')")
    major = int(server.cluster.psql("SHOW server_version_num")) // 10000
    assert shown.strip() == (given.get("ssl_ecdh_curve", given["ssl_groups"]) if major >= 18 else "secp384r1")
    assert server.converge().changes == []
