# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers an identity is for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

GROUPS = {
    "all": ["shop1", "shop2", "billing1", "app1"],
    "ungrouped": [],
    "shop": ["shop1", "shop2"],
    "billing": ["billing1", "app1"],
    "postgres_servers": ["shop1", "shop2", "billing1"],
    "postgres_clients": ["app1"],
}


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (None, {"shop1", "shop2", "billing1"}),
        (["shop"], {"shop1", "shop2"}),
        (["shop1"], {"shop1"}),
        (["billing"], {"billing1"}),
        (["shop1", "billing"], {"shop1", "billing1"}),
        (["all"], {"shop1", "shop2", "billing1"}),
        (["postgres_servers"], {"shop1", "shop2", "billing1"}),
    ],
)
def test_groups_and_hosts_stand_for_their_servers(named: Any, found: set[str]) -> None:
    identity = {"role": "app", "os_user": "web", **({} if named is None else {"servers": named})}
    assert Graph(GROUPS).servers_of(identity) == found


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("shop", r"identities\.servers: found 'shop', expected a list of groups or hosts"),
        ([], r"identities\.servers: found \[\], expected a list"),
        (["shpo"], r"'shpo' is no group or host of the inventory\. Name groups or hosts with servers, such as shop"),
        (["app1"], r"'app1' has no host in group postgres_servers\. Name groups or hosts with servers, such as"),
        (["ungrouped"], r"'ungrouped' has no host in group postgres_servers"),
        (["postgres_client"], r"'postgres_client' is no group or host of the inventory"),
    ],
)
def test_what_names_no_server_is_refused_with_the_nearest_names(named: Any, message: str) -> None:
    with pytest.raises(TlsError, match=message) as failure:
        Graph(GROUPS).servers_of({"servers": named})
    assert not {"ungrouped.", "postgres_clients."} & set(failure.value.message.split()), "they have no servers"


def test_an_identity_that_is_no_dictionary_is_refused() -> None:
    with pytest.raises(TlsError, match="expected dictionaries with role and os_user, found 'app'"):
        Graph(GROUPS).servers_of("app")
