# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import inventory

WEB_IDENTITIES = [{"role": "app", "os_user": "web"}]


def problems(one: dict[str, Any], other: dict[str, Any], *, group: str = "postgres_servers", **names: str) -> list[str]:
    """Return what is wrong with two hosts of a group."""
    first, second = names.get("first", "db1"), names.get("second", "db2")
    clients = {"postgres_client_identities": WEB_IDENTITIES} if group == "postgres_clients" else {}
    hostvars = {"db9": {"inventory_hostname": "db9"}, first: {**clients, **one}, second: {**clients, **other}}
    return inventory.Fleet(hostvars, {"postgres_servers": ["db9"], group: [first, second]}, {}).problems([first])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.1"}),
        ({"ansible_host": "10.0.0.1"}, {"ansible_ssh_host": "10.0.0.1", "ansible_port": 22}),
        ({}, {"ansible_host": "DB1"}),
        ({"ansible_connection": "ssh"}, {"ansible_host": "db1", "postgres_server_port": "5432"}),
        ({}, {"ansible_host": "db1", "postgres_server_directory": "/srv/tls"}),
    ],
)
def test_one_server_under_two_names_is_a_mistake(one: dict[str, Any], other: dict[str, Any]) -> None:
    (found,) = problems(one, other)
    assert "db1, db2: these are 2 names of one PostgreSQL server (port 5432) at " in found
    assert found.endswith("put other names of the server into postgres_server_extra_names.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({}, {"ansible_host": "db1", "postgres_server_port": 5433}),
        ({}, {"ansible_host": "db1", "postgres_server_login_unix_socket": "/run/second"}),
        ({"ansible_host": "nat", "ansible_port": 2201}, {"ansible_host": "nat", "ansible_port": 2202}),
        ({"ansible_connection": "local"}, {"ansible_connection": "local", "ansible_host": "db1"}),
        ({"ansible_connection": "containers.podman.podman", "ansible_host": "localhost"},
         {"ansible_connection": "containers.podman.podman", "ansible_host": "localhost"}),
        ({"ansible_host": "bastion", "ansible_user": "a%db1"}, {"ansible_host": "bastion", "ansible_user": "a%db2"}),
        ({"ansible_host": "x", "ansible_ssh_common_args": "-oProxyCommand='podman exec -i db1 sshd -i'"},
         {"ansible_host": "x", "ansible_ssh_common_args": "-oProxyCommand='podman exec -i db2 sshd -i'"}),
    ],
)  # fmt: skip
def test_names_that_share_an_address_for_a_reason_are_none(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert problems(one, other) == []


def test_a_client_host_under_two_names_is_a_mistake_if_an_os_user_is_on_both() -> None:
    same = {"ansible_host": "10.0.0.1"}
    (found,) = problems(same, same, group="postgres_clients", first="app1", second="app2")
    assert found.startswith("app1, app2: these are 2 names of one client host with the OS user web at 10.0.0.1.")
    other = {**same, "postgres_client_identities": [{"role": "app", "os_user": "cron"}]}
    assert problems(same, other, group="postgres_clients") == []


def test_one_pooler_under_two_names_is_a_mistake() -> None:
    same = {"ansible_host": "10.0.0.1"}
    (found,) = problems(same, same, group="postgres_poolers", first="pool1", second="pool2")
    assert found.startswith("pool1, pool2: these are 2 names of one PgBouncer (port 6432) at 10.0.0.1.")
    assert problems(same, {**same, "postgres_pooler_port": 6433}, group="postgres_poolers") == []


def test_hosts_that_this_run_is_not_about_are_left_out() -> None:
    hostvars: dict[str, Any] = {"db0": {"ansible_host": "10.0.0.1"}, "db1": {"ansible_host": "10.0.0.1"}, "db2": {}}
    groups = {"postgres_servers": list(hostvars)}
    assert inventory.Fleet(hostvars, groups, {}).problems(["db2"]) == []
    (found,) = inventory.Fleet(hostvars, groups, {}).problems(["db1"])
    assert found.startswith("db0, db1: ")
