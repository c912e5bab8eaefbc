# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action of a module adds to the module's result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.pgops.tls.plugins.action import server

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
