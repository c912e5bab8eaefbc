# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import first_set_up

ALL = ["postgres_server_plaintext is", "postgres_server_hba has", "postgres_server_names is"]


def server(reasons: object = ("no_certificate",), **variables: object) -> dict[str, Any]:
    return {"postgres_server_converged": {"reasons": reasons}, **variables}


def told(warning: str) -> list[str]:
    return [one for one in ALL if one in warning]


SET = {
    "postgres_server_plaintext": ALL[1:],
    "postgres_server_hba": [ALL[0], ALL[2]],
    "postgres_server_hba_template": [ALL[0], ALL[2]],
    "postgres_server_names": ALL[:2],
    "postgres_server_extra_names": ALL[:2],
    "postgres_server_port": ALL,
}


@pytest.mark.parametrize("name", SET)
def test_a_variable_that_is_set_is_no_default(name: str) -> None:
    [by_inventory] = first_set_up.warnings({"db1": server(**{name: None})}, ["db1"])
    [by_playbook] = first_set_up.warnings({"db1": server()}, ["db1"], [name])
    assert told(by_inventory) == told(by_playbook) == SET[name]


def test_servers_with_the_same_defaults_are_told_of_together() -> None:
    hostvars = {f"db{number}": server() for number in range(7)}
    hostvars["other"] = server(postgres_server_plaintext="allow")
    alike, other = first_set_up.warnings(hostvars, hostvars)
    assert alike.startswith("First set-up of db0, db1, db2, db3, db4 and 2 more. These defaults count")
    assert other.startswith("First set-up of other. ")


QUIET = {
    "set up before": server(["expires_in_12d"]),
    "nothing to do": server([]),
    "unreachable": {"postgres_server_converged": {"unreachable": True}},
    "not looked at": {},
    "all set": server(postgres_server_plaintext="allow", postgres_server_hba=[], postgres_server_names=["a"]),
}


@pytest.mark.parametrize("name", QUIET)
def test_who_is_not_told_of(name: str) -> None:
    assert first_set_up.warnings({"db1": QUIET[name], "db2": server()}, ["db1"]) == []
