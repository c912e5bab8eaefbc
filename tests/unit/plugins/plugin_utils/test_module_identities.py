# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identities of a client host as module client takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import module_identities

GROUPS = {
    "all": ["shop1", "shop2", "billing1", "hr1", "app1"],
    "postgres_servers": ["shop1", "shop2", "billing1", "hr1"],
    "shop": ["shop1", "shop2"],
}
REACHED = {"shop2": ["shop2.example.com", 5432], "shop1": ["shop1.example.com", 5433], "hr1": None}


def identity(role: str, *servers: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "os_user": "web", "servers": list(servers), **more}


def own(*declared: dict[str, Any], host: str = "app1", **known: Any) -> module_identities.Own:
    """Return what module client gets where billing1 and hr1 have client authorities of their own."""
    servers = {"authority": "client", "authorities": {"billing1": "billing", "hr1": "hr"}, "unready": [], **known}
    servers = {"names": "a,b", "endpoints": "{}", "differing_endpoints": {}, "versions": "{}", **servers}
    servers = {"bundles": {}, "trusts": "{}", **servers}
    return module_identities.of_host(declared, servers, GROUPS, host)


def test_most_identities_of_a_host_name_no_authority() -> None:
    declared = [identity("a", "hr1"), identity("b", "shop"), identity("c", "billing1")]
    found = own(*declared)
    assert found.authority == "client"
    assert [one.get("authority") for one in found.identities] == ["hr", None, "billing"]
    assert own(*declared[::2]).authority == "billing"
    assert own() == ("client", [], "a,b", {})
    assert "authority" not in declared[0], "what the inventory says stays as it is"


def test_a_client_host_that_is_a_server_knows_itself_by_loopback_names() -> None:
    assert own(host="app1").known_servers == "a,b"
    assert own(host="hr1").known_servers == "a,b,localhost,127.0.0.1,::1"


def test_servers_of_two_authorities_are_refused_but_for_passwords() -> None:
    both = identity("a", "shop", "billing1")
    with pytest.raises(TlsError, match="different client authorities"):
        own(both)
    assert own({**both, "login": "password"}).authority == "client"


def test_identities_of_services_become_what_the_module_knows() -> None:
    declared = [
        {"role": "backup1", "os_user": "web", "authority": "backup"},
        {"name": "exporter", "os_user": "web", "names": ["app1"], "authority": "backup"},
        {"name": "plain", "os_user": "web", "names": ["app1"]},
    ]
    found = own(*declared)
    assert found.authority == "backup", "no other is needed on this host"
    assert found.identities == [
        {"role": "backup1", "os_user": "web", "login": "none"},
        {"name": "exporter", "os_user": "web", "names": ["app1"], "trusts_clients": True},
        {"name": "plain", "os_user": "web", "names": ["app1"], "trusts_clients": False},
    ]
    beside = own(identity("a", "shop"), *declared)
    assert beside.authority == "client"
    assert [one.get("authority") for one in beside.identities] == [None, "backup", "backup", None]
    assert own(declared[2], authority="hr").authority == "hr", "one that exists"


@pytest.mark.parametrize("option", ["servers", "databases", "address", "login", "default_files", "strict_services"])
@pytest.mark.parametrize("kind", [{"role": "a", "authority": "backup"}, {"name": "a", "names": ["app1"]}])
def test_a_service_has_nothing_of_postgresql(kind: dict[str, Any], option: str) -> None:
    value = {"login": "certificate", "default_files": False, "strict_services": True}.get(option, ["shop"])
    with pytest.raises(
        TlsError, match=rf"identities\[0\]: found (names|authority) and {option}\. With .* Remove {option}"
    ):
        own({"os_user": "web", **kind, option: value})


def test_an_identity_waits_for_each_of_its_servers() -> None:
    declared = [identity("a", "shop"), identity("b", "billing1")]
    found = own(*declared, unready=["shop2", "hr1"]).identities
    assert [one.get("servers_ready", True) for one in found] == [False, True]
    assert [one.get("servers_ready", True) for one in own(*declared).identities] == [True, True]


def test_it_has_the_endpoints_of_its_servers_in_the_order_of_the_inventory() -> None:
    differing = {"app1": json.dumps({"shop2": ["nat.example.com", 15432]}), "app2": json.dumps({"shop1": None})}
    known = {"endpoints": json.dumps(REACHED), "differing_endpoints": differing}
    shop, hr = own(identity("a", "shop"), identity("b", "hr1"), **known).identities
    assert shop["endpoints"] == [
        {"server": "shop2", "host": "nat.example.com", "port": 15432},
        {"server": "shop1", "host": "shop1.example.com", "port": 5433},
    ]
    assert hr["endpoints"] == []


def test_strict_services_know_versions_and_poolers() -> None:
    groups = {**GROUPS, "all": [*GROUPS["all"], "pool1"], "postgres_poolers": ["pool1"]}
    reached = json.dumps({**REACHED, "pool1": ["pool1.example.com", 6432]})
    known = {"endpoints": reached, "versions": json.dumps({"shop1": 17})}
    declared = {"role": "a", "os_user": "web", "servers": ["shop", "pool1"], "strict_services": True}
    servers = {"authority": "client", "authorities": {}, "unready": [], "names": "", "differing_endpoints": {}, **known}
    servers.update(bundles={}, trusts="{}")
    (found,) = module_identities.of_host([declared], servers, groups, "app1").identities
    assert [(one["server"], one["version"], one.get("is_pooler")) for one in found["endpoints"]] == [
        ("shop2", 0, None),
        ("shop1", 17, None),
        ("pool1", 0, True),
    ]
