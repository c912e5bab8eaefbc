# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities for servers outside the inventory: what they may have, what they trust, and who never hears of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import identities, service_file
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    client_authorities,
    client_identities,
    holders,
    identity_rules,
    managed,
    module_identities,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph
from ansible_collections.pgops.tls.tests import providers
from ansible_collections.pgops.tls.tests.shared import NOW

ROOTS = [providers.root(f"Root {number}") for number in range(3)]
HOST = "orders.provider.example"
ORDERS = {"role": "orders", "os_user": "shop", "databases": ["orders"], "endpoints": [{"host": HOST}]}
APP = {"role": "app", "os_user": "shop"}
GROUPS = {"all": ["db1", "app1", "app2"], "postgres_servers": ["db1"], "postgres_clients": ["app1", "app2"]}


def bundle(folder: Path, name: str, *numbers: int) -> str:
    (folder / name).write_bytes(b"".join(providers.pem(ROOTS[number].certificate) for number in numbers))
    return name


def fleet(folder: Path, *declared: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """Return hostvars, of which both client hosts have these identities."""
    client = {"inventory_dir": str(folder), "postgres_client_identities": list(declared), **more}
    return {"db1": {}, "app1": client, "app2": dict(client)}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"servers": ["db1"]}, "found endpoints and servers."),
        ({"address": ["self"]}, "found endpoints and address."),
        ({"default_files": False}, "found endpoints and default_files."),
        ({"authority": "billing"}, "found endpoints and authority."),
        ({"names": ["app1"]}, "found endpoints and names."),
        ({"login": "certificate"}, "found endpoints and login."),
        ({"login": "both"}, "found endpoints and login."),
        ({"endpoints": None, "trust": ["x"]}, "found trust without endpoints."),
    ],
)
def test_what_is_for_servers_of_the_inventory_is_refused_beside_endpoints(more: dict[str, Any], message: str) -> None:
    with pytest.raises(TlsError) as caught:
        managed.refuse_mixed({**ORDERS, **more}, "postgres_client_identities[3]")
    assert caught.value.message.startswith(f"postgres_client_identities[3]: {message}")


def test_a_password_may_be_said_and_others_have_what_they_had() -> None:
    managed.refuse_mixed({**ORDERS, "login": "password"}, "x")
    managed.refuse_mixed({**APP, "servers": ["db1"], "login": "both"}, "x")
    assert managed.plain([APP, ORDERS])[0] is APP


def test_it_trusts_its_own_bundles_or_those_of_all_and_a_text_travels_once(tmp_path: Path) -> None:
    usual, own = bundle(tmp_path, "usual.pem", 0, 1), bundle(tmp_path, "own.pem", 2)
    declared = [APP, ORDERS, {**ORDERS, "name": "other", "trust": [own]}]
    found = managed.of_fleet(fleet(tmp_path, *declared, postgres_client_trust=[usual]), GROUPS, NOW)
    assert len(found.bundles) == 2
    known = {"bundles": found.bundles, "trusts": found.names}
    texts = managed.of_host(known, "app2")
    assert texts == managed.of_host(known, "app1")
    assert texts == {"shop/orders": ROOTS[0].pem + ROOTS[1].pem, "shop/other": ROOTS[2].pem}
    assert managed.of_host(known, "db1") == {}


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        (None, "postgres_client_identities[0]: found endpoints, but neither trust nor postgres_client_trust."),
        ([7], "postgres_client_trust: found 7, expected the path of a file."),
        (["a\nb"], "postgres_client_trust: found 'a\\nb', expected the path"),
        (["nothing.pem"], "nothing.pem: No such file or directory. Expected a file on the controller"),
    ],
)
def test_bundles_that_cannot_be_read_are_named(tmp_path: Path, trust: Any, message: str) -> None:
    variables = fleet(tmp_path, ORDERS, postgres_client_trust=trust)["app1"]
    [said] = managed.problems(variables, NOW)
    assert message in said
    without = {**variables, "inventory_dir": None, "postgres_client_trust": ["a.pem"]}
    assert "the inventory has no directory" in managed.problems(without, NOW)[0]
    assert managed.problems({"postgres_client_identities": [APP]}, NOW) == []


def test_module_client_gets_a_password_endpoints_and_the_roots(tmp_path: Path) -> None:
    usual = bundle(tmp_path, "usual.pem", 0)
    found = managed.of_fleet(fleet(tmp_path, ORDERS, postgres_client_trust=[usual]), GROUPS, NOW)
    known = {
        "authority": "client", "authorities": {"db1": "billing"}, "unready": ["db1"], "names": "db1", "endpoints": "{}",
        "differing_endpoints": {}, "versions": "{}", "bundles": found.bundles, "trusts": found.names,
    }  # fmt: skip
    own = module_identities.of_host([ORDERS, APP], known, GROUPS, "app1")
    assert own.identities[0] == {
        "role": "orders", "os_user": "shop", "databases": ["orders"], "login": "password",
        "endpoints": [{"server": HOST, "host": HOST, "port": 5432}],
    }  # fmt: skip
    assert own.trust == {"shop/orders": ROOTS[0].pem}
    [parsed] = identities.parse(own.identities[:1])
    services = service_file.render([parsed._replace(is_managed=True)], "/home/shop/.postgresql/pgops/current").decode()
    assert f"[orders@{HOST}]\nuser=orders\nhost={HOST}\nport=5432\ndbname=orders\nsslmode=verify-full\n" in services
    assert "sslrootcert=/home/shop/.postgresql/pgops/current/orders/root.crt\nsslcrl=/dev/null\n" in services


def test_no_server_of_the_inventory_hears_of_it() -> None:
    hostvars = fleet(Path("/nowhere"), ORDERS)
    access = identity_rules.access(hostvars, GROUPS)
    assert "orders" not in str(access)
    assert client_identities.identities_of([ORDERS], graph=Graph(GROUPS)) == []
    trust = client_authorities.Trust("client", {}, GROUPS)
    found = holders.of_fleet(GROUPS, lambda host, _role: hostvars[host], trust)
    assert found == {("host", "db1", ""): "group postgres_servers"}
