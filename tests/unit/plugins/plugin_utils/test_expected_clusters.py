# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections are tried where an inventory has several clusters, with client authorities of their own."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.tests.expected import from_inventory

SHOP_AND_BILLING = {"postgres_servers": ["shop1", "shop2", "billing1"], "shop": ["shop1", "shop2"]}
CLUSTERS = [{"inventory_hostname": name} for name in SHOP_AND_BILLING["postgres_servers"]]
SHOP_APP = {"role": "app", "os_user": "web", "servers": ["shop"]}
CLERK = {"role": "clerk", "os_user": "web", "servers": ["billing1"]}


def test_an_identity_tries_its_own_servers_alone() -> None:
    found = from_inventory(CLUSTERS, [SHOP_APP, CLERK], groups=SHOP_AND_BILLING)
    assert {(one.get("certificate_role", one["role"]), one["host"]) for one in found} == {
        ("app", "shop1"),
        ("app", "shop2"),
        ("clerk", "billing1"),
    }
    foreign = [(one["role"], one["host"]) for one in found if one.get("kind") == "foreign_certificate"]
    assert foreign == [("app", "shop1"), ("app", "shop2"), ("clerk", "billing1")], "every server once"
    assert [one["host"] for one in found if one.get("kind") == "wrong_name"] == ["shop1"], "libpq once"


def ready(name: str, *missing: str) -> dict[str, Any]:
    """Return a server of this run, without some databases."""
    return {"inventory_hostname": name, "postgres_server_converged": {"missing_databases": list(missing)}}


def test_each_database_is_tried_where_it_is() -> None:
    reader = {"role": "reader", "os_user": "bi", "databases": ["lost", "shop", "billing"]}
    servers = [ready("shop1", "billing", "lost"), ready("shop2", "billing", "lost"), ready("billing1", "shop", "lost")]
    found = from_inventory(servers, [reader], groups=SHOP_AND_BILLING, refused=["no_certificate"])
    tried = [(one["host"], one["database"], one.get("service")) for one in found if one["expect"] == "accepted"]
    assert tried == [
        ("shop1", "shop", None),
        ("shop1", "shop", None),  # the service for any server
        ("shop1", "shop", None),  # default files
        ("shop1", "lost", "reader@shop1"),  # which fails: no server has it
        ("shop2", "shop", "reader@shop2/shop"),
        ("billing1", "billing", "reader@billing1/billing"),
    ]
    assert [one["database"] for one in found if one["expect"] == "refused"] == ["shop", "shop", "billing"]


def test_where_no_server_has_any_database_the_first_one_is_tried_once_by_each() -> None:
    reader = {"role": "reader", "os_user": "bi", "servers": ["shop"], "databases": ["lost"]}
    servers = [ready("shop1", "lost"), ready("shop2", "lost")]
    found = from_inventory(servers, [reader], groups=SHOP_AND_BILLING, refused=[])
    assert [(one["host"], one["database"]) for one in found if one.get("files") != "default"] == [
        ("shop1", "lost"),
        ("shop1", "lost"),  # the service for any server
        ("shop2", "lost"),
    ]


def test_of_a_server_outside_of_the_run_nobody_knows_the_databases() -> None:
    reader = {"role": "reader", "os_user": "bi", "databases": ["billing", "shop"]}
    servers = [ready("shop1", "billing"), {"inventory_hostname": "shop2"}, {"inventory_hostname": "billing1"}]
    found = from_inventory(servers, [reader], groups=SHOP_AND_BILLING, refused=[])
    named = {(one["host"], one["database"]) for one in found}
    assert named == {("shop1", "shop"), ("shop2", "billing"), ("billing1", "billing")}


def test_two_identities_with_one_role_try_their_own_servers_with_their_own_files() -> None:
    shop, billing = {**SHOP_APP, "databases": ["s"]}, {**SHOP_APP, "name": "b", "servers": ["billing1"]}
    found = from_inventory(CLUSTERS, [shop, billing], groups=SHOP_AND_BILLING)
    assert {(one["host"], one.get("identity", one["role"])) for one in found if one["expect"] == "accepted"} == {
        ("shop1", "app"),
        ("shop2", "app"),
        ("billing1", "b"),
    }


def test_another_role_is_one_that_the_server_has() -> None:
    clients = [{"postgres_client_identities": [SHOP_APP, CLERK, {**CLERK, "role": "audit"}]}]
    found = from_inventory(CLUSTERS, [SHOP_APP, CLERK], clients=clients, groups=SHOP_AND_BILLING)
    others = {one["host"]: one["role"] for one in found if one.get("kind") == "another_role"}
    assert others == {"shop1": "postgres", "shop2": "postgres", "billing1": "audit"}


def test_a_role_of_one_cluster_spares_that_of_another_nothing() -> None:
    billing_app = {**SHOP_APP, "servers": ["billing1"]}
    before = [{"postgres_client_identities": [SHOP_APP]}]
    found = from_inventory(CLUSTERS, [billing_app], before=before, groups=SHOP_AND_BILLING)
    assert {one["kind"] for one in found if "kind" in one} == set(REFUSALS) - {"another_authority"}
    again = from_inventory(CLUSTERS, [SHOP_APP], before=before, groups=SHOP_AND_BILLING)
    assert "foreign_certificate" not in {one.get("kind") for one in again}


def across(*identities: dict[str, Any], before: list[dict[str, Any]] | None = None, **billing: Any) -> list[str]:
    """Return which certificates must be refused by which servers, where billing1 trusts an authority of its own."""
    own = {"postgres_server_client_authority": "billing", **billing}
    done = {"postgres_server_converged": {"changed": False}}
    servers = [{**done, **one, **(own if one["inventory_hostname"] == "billing1" else {})} for one in CLUSTERS]
    found = from_inventory(servers, list(identities), before=before or [], groups=SHOP_AND_BILLING)
    crossed = [one for one in found if one.get("kind") == "another_authority"]
    assert all(one["role"] == one.get("certificate_role", one["role"]) for one in crossed)
    whose = [one.get("identity", one["role"]) for one in crossed]
    return [f"{one['os_user']}/{name} at {one['server']} in {one['database']}" for one, name in zip(crossed, whose)]


def test_a_certificate_of_each_client_authority_is_tried_at_a_server_of_the_other_by_a_host_that_has_both() -> None:
    shop, clerk = f"{SHOP_APP['os_user']}/{SHOP_APP['role']}", f"{CLERK['os_user']}/{CLERK['role']}"
    assert across(SHOP_APP) == []
    found = across(SHOP_APP, CLERK)
    assert [one.partition(" in ")[0] for one in found] == [f"{shop} at billing1", f"{clerk} at shop1"]
    (_shop, named) = across(SHOP_APP, {**CLERK, "name": "clerk_billing"})
    assert named.startswith("web/clerk_billing at shop1"), "with its own files"
    assert across(SHOP_APP, CLERK, before=[{"postgres_client_identities": [SHOP_APP, CLERK]}]) == []
    assert across(SHOP_APP, CLERK, postgres_server_client_authority="client") == []
    for unknown in ({"postgres_server_converged": {}}, {"postgres_server_failed": "x"}):
        assert across(SHOP_APP, CLERK, **unknown) == [], "nobody knows whom it trusts, and whose certificate clerk has"
    moving = {"postgres_server_converged": {"still_trusted": ["client"]}}
    assert [one.partition(" in ")[0] for one in across(SHOP_APP, CLERK, **moving)] == [f"{clerk} at shop1"]


def test_a_name_that_may_lead_to_a_server_of_others_is_skipped() -> None:
    servers = [{**one, "postgres_server_extra_names": ["db.example.com"]} for one in CLUSTERS]
    found = from_inventory(servers, [CLERK], groups=SHOP_AND_BILLING)
    shared = [one for one in found if one["host"] == "db.example.com"]
    assert [one["skip"] for one in shared] == ["it may lead to shop1, which this identity does not use"]
    assert {one["host"] for one in found if "skip" not in one} == {"billing1"}
