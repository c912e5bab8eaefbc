# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action of a module adds to the module's result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.pgops.tls.plugins.action import client, server

ASKED = {"reasons": ["no_certificate"], "request": "CSR"}
REQUEST = {"id": "db1", "csr": "CSR", "names": ["db1.example"], "reasons": ["no_certificate"]}


@pytest.mark.parametrize(
    ("found", "declared", "expected"),
    [
        (ASKED, {"names": "{{ own_names }}"}, [REQUEST]),
        ({**ASKED, "failed": True}, {"names": "{{ own_names }}"}, None),
        (ASKED, {}, None),
        ({"reasons": []}, {"names": "{{ own_names }}"}, None),
    ],
    ids=["asked", "failed", "without the role", "nothing due"],
)
def test_only_a_host_that_did_not_fail_has_requests_to_sign(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], declared: dict[str, str], expected: Any
) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    monkeypatch.setattr(ActionBase, "_execute_module", lambda *_arguments, **_options: dict(found))
    task = SimpleNamespace(args={}, async_val=0)
    action = server.ActionModule(task, None, None, None, SimpleNamespace(template=None), None)
    variables = {"inventory_hostname": "db1", "own_names": ["db1.example"], "__postgres_server_options": declared}
    assert action.run(task_vars=variables).get("to_sign") == expected


@pytest.mark.parametrize("asks", [True, False])
def test_a_client_host_where_one_os_user_fails_gets_the_certificates_of_the_others_first(
    monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    asked = {"id": "www/app", "csr": "CSR", "reasons": ["no_certificate"]}
    found = {"failed": True, "msg": "why", "code": "system_error", **({"requests": [asked]} if asks else {})}
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    monkeypatch.setattr(ActionBase, "_execute_module", lambda *_arguments, **_options: dict(found))
    task = SimpleNamespace(args={"identities": [{"role": "app", "os_user": "www"}]}, async_val=0)
    action = client.ActionModule(task, None, None, None, SimpleNamespace(template=None), None)
    own = {"authority": "client"}
    variables = {
        "inventory_hostname": "app1",
        "__postgres_client_own": own,
        "__postgres_client_options": {"renew": "{{ no }}"},
        "no": False,
    }
    result = action.run(task_vars=variables)
    assert (result["failed"], result["code"], result["msg"]) == (not asks, "system_error", "why")
    assert [one["id"] for one in result.get("to_sign", [])] == (["app1/www/app"] if asks else [])
