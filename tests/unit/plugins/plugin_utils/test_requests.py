# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import requests

DECLARED = [{"role": "app", "os_user": "alice"}, {"role": "app", "os_user": "bob"}]


def test_of_a_server_only_the_csr_and_the_reasons_are_taken() -> None:
    found = {"request": "CSR", "reasons": ["forced"], "id": "db2", "names": ["evil.example"]}
    wanted = {"id": "db1", "csr": "CSR", "names": ["db1.example"], "reasons": ["forced"]}
    assert requests.of_server(found, ["db1.example"], "db1") == [wanted]
    assert requests.of_server({"reasons": ["forced"]}, [], "db1")[0]["csr"] == "", "check mode"
    assert requests.of_server({"reasons": [], "request": "CSR"}, ["db1.example"], "db1") == []
    assert requests.of_server({"unreachable": True}, ["db1.example"], "db1") == []


def test_ids_get_the_name_of_the_host_and_roles_come_from_the_inventory() -> None:
    asked = [{"id": "bob/app", "role": "postgres", "csr": "CSR", "reasons": ["forced"], "names": ["evil.example"]}]
    assert requests.complete(asked, DECLARED, "web1", "client") == [
        {"id": "web1/bob/app", "authority": "client", "role": "app", "csr": "CSR", "reasons": ["forced"]}
    ]


def test_an_identity_may_name_another_authority() -> None:
    declared = [DECLARED[0], {**DECLARED[1], "authority": "billing"}]
    asked = [{"id": f"{user}/app", "reasons": []} for user in ("alice", "bob")]
    found = requests.complete(asked, declared, "web1", "client")
    assert [one["authority"] for one in found] == ["client", "billing"]


def test_the_names_of_a_service_come_from_the_inventory() -> None:
    declared = [*DECLARED, {"name": "exporter", "os_user": "bob", "names": ["App1.example"], "authority": "metrics"}]
    asked = [{"id": "bob/exporter", "reasons": [], "csr": "CSR", "names": ["evil.example"], "role": "app"}]
    assert requests.complete(asked, declared, "web1", "client") == [
        {"id": "web1/bob/exporter", "authority": "server", "names": ["app1.example"], "csr": "CSR", "reasons": []}
    ]


def test_check_mode_has_no_csr() -> None:
    assert requests.complete([{"id": "bob/app", "reasons": []}], DECLARED, "web1", "client")[0]["csr"] == ""


@pytest.mark.parametrize("identity", ["alice/postgres", "app", "alice/app/x", "web2/alice/app"])
def test_a_host_that_asks_for_what_is_not_its_own_is_refused(identity: str) -> None:
    with pytest.raises(TlsError, match=f"web1 asks for a certificate for '{identity}'"):
        requests.complete([{"id": identity, "role": "app", "csr": "CSR", "reasons": []}], DECLARED, "web1", "client")


def test_a_pooler_asks_for_its_own_names_and_role_alone() -> None:
    asked = [
        {"id": "front", "csr": "F", "reasons": ["forced"], "names": ["db1"], "role": "postgres", "authority": "client"},
        {"id": "back", "csr": "B", "reasons": ["forced"], "names": ["db1"], "role": "postgres", "authority": "server"},
        {"id": "other", "csr": "X", "reasons": []},
    ]
    found = requests.of_pooler({"requests": asked}, {"names": ["pool1"], "role": "pgbouncer"}, "pool1", "shop")
    common = {"reasons": ["forced"]}
    assert found == [
        {**common, "id": "pool1/pooler/front", "csr": "F", "authority": "server", "names": ["pool1"]},
        {**common, "id": "pool1/pooler/back", "csr": "B", "authority": "shop", "role": "pgbouncer"},
    ]
    assert requests.of_pooler({}, {}, "pool1", "client") == []
