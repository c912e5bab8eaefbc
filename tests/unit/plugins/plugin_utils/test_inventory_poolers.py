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


def problems(groups: dict[str, list[str]] | None = None, **variables: dict[str, Any]) -> list[str]:
    """Return what is wrong, with more variables of hosts."""
    hostvars: dict[str, dict[str, Any]] = {host: {"inventory_hostname": host} for host in HOSTS}
    hostvars["app1"]["postgres_client_identities"] = [{"role": "app", "os_user": "web"}]
    for host, more in variables.items():
        hostvars[host].update(more)
    return inventory.Fleet(hostvars, groups or GROUPS, {}).problems(HOSTS)


@pytest.mark.parametrize(
    ("entry", "whose"),
    [
        ({"host": "pool1"}, "group postgres_poolers"),
        ({"role": "pgbouncer"}, "pooler pool1"),
        ({"role": "pgbouncer", "authority": "client"}, "pooler pool1"),
    ],
)
def test_what_a_pooler_holds_cannot_be_revoked_by_name(entry: dict[str, str], whose: str) -> None:
    (found,) = problems(**{host: {"postgres_ca_revoked": [entry]} for host in HOSTS})
    assert f"must have no valid certificate, but {whose} gives it one." in found


def test_a_pooler_must_not_trust_a_ca_that_signs_for_others() -> None:
    source = {"type": "files", "directory": "/srv/requests", "roots": "/srv/root.pem"}
    for dedicated in (False, True):
        sources = {"postgres_ca_sources": {"client": {**source, "dedicated": dedicated}}}
        found = problems(**dict.fromkeys(HOSTS, sources))
        assert [one.partition("dedicated: ")[2][:9] for one in found] == ([] if dedicated else ["PgBouncer"])


THROUGH = {"postgres_client_identities": [{"role": "app", "os_user": "web", "servers": ["pool1"]}]}
SHOP = {"postgres_pooler_servers": ["shop"], "ansible_host": "192.0.2.20"}
OF_BILLING = {"postgres_server_client_authority": "billing"}


def identity(*servers: str, **more: Any) -> dict[str, Any]:
    return {"postgres_client_identities": [{"role": "app", "os_user": "web", "servers": list(servers), **more}]}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"app1": THROUGH}, ""),  # the run says what to declare
        ({"app1": THROUGH, "pool1": SHOP}, ""),
        ({"app1": identity("shop1", "pool1"), "pool1": SHOP}, ""),
        (
            {"app1": identity("pool2")},
            "app1: postgres_client_identities[0].servers: 'pool2' is no group or host of the inventory. Name groups or",
        ),
        (
            {"app1": identity("pool1", databases=["replication"])},
            "app1: postgres_client_identities[0]: found replication in databases, and pooler pool1 in servers.",
        ),
        (
            {"app1": identity("pool1", "billing1"), "billing1": OF_BILLING},
            "trust different client authorities, billing (billing1) and client (pool1)",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_servers": ["pool1"]}},
            "pool1: postgres_pooler_servers: 'pool1' has no host in group postgres_servers. Name groups or hosts with",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_servers": ["shpo"]}},
            "postgres_pooler_servers: 'shpo' is no group or host of the inventory. Name groups or hosts with",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_servers": ["billing1"]}, "billing1": OF_BILLING},
            "pool1: postgres_pooler_servers: billing1 trusts client authority billing, but the pooler logs in",
        ),
        (
            {"pool1": {"postgres_pooler_client_authority": "shop"}},
            "pool1: postgres_pooler_client_authority: no server trusts client authority shop. Write the one of the",
        ),
        (
            {"pool1": {"postgres_pooler_servers": ["shop"]}},
            "pool1: postgres_pooler_address: self is the address of the pooler, but the inventory has only the name",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_address": []}},
            "pool1: postgres_pooler_address: found an empty list, expected self, an IP address",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_names": [{"name": "pool1", "form": []}]}},
            "pool1: postgres_pooler_names[0]: there is no key 'form'. Write from.",
        ),
        (
            {"pool1": {**SHOP, "postgres_pooler_names": ["shop1"], "postgres_pooler_port": 5432}},
            "shop1, pool1: 'shop1', port 5432, is a name of each of these 2 servers.",
        ),
        ({"pool1": {**SHOP, "postgres_pooler_names": ["a b"]}}, "pool1: postgres_pooler_names: 'a b' is neither"),
    ],
)
def test_mistakes_are_found_before_any_host(variables: dict[str, dict[str, Any]], message: str) -> None:
    found = problems(**variables)
    assert bool(found) == bool(message)
    assert message in "\n".join(found)


def test_a_host_that_is_a_server_too_is_no_pooler_that_identities_can_name() -> None:
    groups = {**GROUPS, "postgres_poolers": ["shop1"]}
    assert problems(groups, app1=identity("shop1")) == []
    found = problems(groups, app1=identity("postgres_poolers"))
    assert "the hosts of postgres_poolers are servers, too, and their names stand for the servers. Give" in found[0]


BOTH = {**GROUPS, "postgres_clients": ["app1", "pool1"]}


@pytest.mark.parametrize(
    ("own", "side"),
    [
        ({"os_user": "pooler", "role": "front"}, "front"),
        ({"os_user": "pooler", "role": "shop", "name": "back"}, "back"),
        ({"os_user": "pooler", "role": "back", "login": "password"}, "back"),
        ({"os_user": "pooler", "role": "front", "name": "shop"}, ""),
        ({"os_user": "pooler", "role": "middle"}, ""),
        ({"os_user": "web", "role": "front"}, ""),
    ],
)
def test_an_identity_and_a_certificate_of_the_pooler_must_not_have_the_same_id(own: dict[str, str], side: str) -> None:
    found = problems(BOTH, pool1={"postgres_client_identities": [{"role": "app", "os_user": "web"}, own]})
    said = (
        f"pool1: postgres_client_identities[1]: the certificates of identity pooler/{side} and of the pooler's {side} "
        f"would have the same id in ledger.jsonl, pool1/pooler/{side}. Give the identity another name in name."
    )
    assert found == ([said] if side else [])
    assert problems(app1={"postgres_client_identities": [own]}) == [], "that host has no pooler"
