# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of the kinds of hosts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.plugin_utils import failures, kinds, results
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS, Kind
from ansible_collections.pgops.tls.tests.shared import ROOT

GROUPS = {"postgres_servers": ["db1"], "postgres_poolers": ["pool1"], "postgres_clients": ["app1"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    "db1": {"postgres_server_port": 5433, "postgres_server_converged": {"certificate": {"serial": "a1"}}},
    "pool1": {"postgres_pooler_converged": {"certificates": {"front": {"serial": "c1"}, "back": {"serial": "c2"}}}},
    "app1": {
        "postgres_client_identities": [{"role": "app", "os_user": "web"}, {"role": "report", "os_user": "web"}],
        "postgres_client_converged": {
            "identities": [{"id": "web/app", "serial": "e1"}, {"id": "web/report", "serial": None}]
        },
    },
}


@pytest.mark.parametrize("kind", KINDS, ids=[kind.step for kind in KINDS])
def test_a_kind_has_a_role_a_group_and_a_play(kind: Kind) -> None:
    role = f"postgres_{kind.step}"
    assert (ROOT / "roles" / role / "tasks" / "main.yml").is_file()
    plays = yaml.safe_load(Path(ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    own = [
        play for play in plays if re.search(rf"\b{kind.group}\b", play["hosts"]) and f"pgops.tls.{role}" in str(play)
    ]
    assert own, "site.yml brings its hosts to their state"
    assert f"postgres_{kind.step}_failed" in str(own), "and notes what failed, for the summary"


def test_every_host_keeps_its_files_where_its_variables_say() -> None:
    found = {kind.step: list(kind.directories(HOSTVARS[GROUPS[kind.group][0]])) for kind in KINDS}
    assert found == {
        "server": ["/etc/postgresql/tls/5433"],
        "pooler": ["/etc/pgbouncer/tls"],
        "client": ["~web/.postgresql/pgops"],
    }


def test_the_certificates_that_a_run_has_learned_of_have_ids_that_the_inventory_gives() -> None:
    found = list(kinds.certificates(HOSTVARS, GROUPS, results.last))
    assert [(name, id_, one["serial"]) for name, id_, one in found] == [
        ("server", "db1", "a1"),
        ("server", "pool1/pooler/front", "c1"),
        ("client", "pool1/pooler/back", "c2"),
        ("client", "app1/web/app", "e1"),
    ], "an identity without a certificate has none"
    assert {id_ for _name, id_, _one in found} < kinds.ids(HOSTVARS, GROUPS)
    assert list(kinds.certificates(HOSTVARS, GROUPS, results.looked_up)) == []


def test_what_fails_on_a_host_of_any_kind_is_in_the_summary_and_of_an_endpoint_clients_notice_it() -> None:
    failed = {
        GROUPS[kind.group][0]: {**HOSTVARS[GROUPS[kind.group][0]], f"postgres_{kind.step}_failed": "No."}
        for kind in KINDS
    }
    found = failures.failures(failed, failed)
    assert [one.step for one in found] == [kind.step for kind in KINDS]
    assert failures.of_endpoints(found) == ["db1", "pool1"]


def test_what_must_not_be_twice_on_a_machine_is_told_apart_by_kind() -> None:
    keys = [one.key for kind in KINDS for one in kind.once(HOSTVARS[GROUPS[kind.group][0]])]
    assert [key[0] for key in keys if isinstance(key, tuple)] == ["server", "pooler", "client"], "two roles, one user"
