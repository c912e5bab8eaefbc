# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.pgops.tls.plugins.plugin_utils import inventory
from jinja2 import StrictUndefined

GROUPS = {"postgres_servers": ["db1", "db2", "db3", "db4"], "postgres_clients": ["app1"]}
NOPE = "db1: postgres_server_hba: 'nope' is undefined. Set it for this host, or correct the name."
HOSTS = ["db1", "db2", "db3", "db4", "app1"]


def fleet(**variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of the hosts: names, one identity, and what is given."""
    found: dict[str, dict[str, Any]] = {host: {"inventory_hostname": host} for host in HOSTS}
    found["app1"]["postgres_client_identities"] = [{"role": "app", "os_user": "web"}]
    for host, more in variables.items():
        found[host].update(more)
    return found


def input_problems(
    hostvars: dict[str, Any], hosts: list[str], groups: dict[str, list[str]], host: str = "", seen: Any = None
) -> list[str]:
    """Return what is wrong; ``seen`` are the variables of ``host`` as a task of the playbook sees them."""
    everywhere = inventory.set_by_playbook(seen, hostvars[host]) if host else {}
    return inventory.Fleet(hostvars, groups, everywhere).problems(hosts)


def test_a_fleet_of_defaults_has_no_problems() -> None:
    assert input_problems(fleet(), HOSTS, GROUPS) == []


def test_a_problem_of_several_hosts_is_told_once() -> None:
    wrong = {"postgres_server_port": "main"}
    (found,) = input_problems(fleet(db2=wrong, db3=wrong), HOSTS, GROUPS)
    assert found.startswith("db2, db3: argument 'postgres_server_port' is of type")
    (found,) = input_problems(fleet(db1=wrong, db2=wrong, db3=wrong, db4=wrong), HOSTS, GROUPS)
    assert found.startswith("db1, db2, db3 and 1 more: argument")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/a", "argument 'postgres_server_existing' is of type"),
        ({"certificate": "/a"}, "postgres_server_existing.key: found nothing, expected the absolute path of a file"),
        ({"certificate": "a", "key": "/a"}, "postgres_server_existing.certificate: found 'a', expected the absolute"),
        (
            {"certificate": "/a", "key": "/a", "crt": "x"},
            "postgres_server_existing: found key 'crt', expected certificate, key and perhaps roots",
        ),
    ],
)
def test_files_that_others_renew_are_named_by_their_paths(given: Any, said: str) -> None:
    assert said in " ".join(input_problems(fleet(db1={"postgres_server_existing": given}), HOSTS, GROUPS))
    files = {"certificate": "/a", "key": "/b", "roots": ""}
    assert input_problems(fleet(db1={"postgres_server_existing": files}), HOSTS, GROUPS) == []


def test_hosts_are_checked_for_the_roles_of_their_groups_only() -> None:
    assert input_problems(fleet(app1={"postgres_server_port": "main"}), HOSTS, GROUPS) == []
    assert input_problems(fleet(db1={"postgres_client_identities": "web"}), HOSTS, GROUPS) == []
    (found,) = input_problems(fleet(db1={"postgres_ca_key_type": "DSA"}), HOSTS, GROUPS)
    assert "postgres_ca_key_type" in found


def test_hosts_outside_a_limit_are_left_out_but_for_what_others_make_of_them() -> None:
    wrong = fleet(db2={"postgres_server_names": ["db+2"]}, app1={"postgres_client_identities": [{"os_user": "web"}]})
    (found,) = input_problems(wrong, ["db1"], GROUPS)
    assert found.startswith("db1: postgres_client_identities: expected dictionaries with role and os_user")


@pytest.mark.parametrize(
    "name",
    ["postgres_server_hab", "postgres_server_plaintxt", "postgres_client_identites", "postgres_client_os_user"],
)
def test_a_variable_that_is_almost_one_of_a_role_is_named(name: str) -> None:
    (found,) = input_problems(fleet(app1={name: 1}), HOSTS, GROUPS)
    assert found.startswith(f"app1: {name}: there is no such variable. Write postgres_")


@pytest.mark.parametrize(
    "name", ["postgres_server_version", "postgres_ca_authorities", "postgres_server_data_directory"]
)
def test_other_variables_are_nobodys_business(name: str) -> None:
    assert input_problems(fleet(db1={name: 1}), HOSTS, GROUPS) == []


def test_a_variable_that_cannot_be_templated_is_a_problem_of_its_host() -> None:
    class Undefined(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            if name == "postgres_server_port":
                raise AnsibleUndefinedVariable("'port' is undefined")
            return super().__getitem__(name)

    hostvars = {**fleet(), "db2": Undefined(postgres_server_port=1)}
    (found,) = input_problems(hostvars, HOSTS, GROUPS)
    assert found.startswith("db2: ")
    assert "'port' is undefined" in found


def test_what_a_playbook_sets_for_all_hosts_counts_for_each_of_them() -> None:
    hostvars = fleet(db1={"postgres_server_port": 5433})
    here = {"postgres_server_port": 5433, "postgres_server_plaintext": "maybe"}
    (found,) = input_problems(hostvars, HOSTS, GROUPS, "db1", here)
    assert found.startswith(
        "db1, db2, db3 and 1 more: value of postgres_server_plaintext must be one of: reject, allow"
    )


def test_what_the_inventory_says_of_the_first_host_does_not_count_for_others() -> None:
    hostvars = fleet(db1={"postgres_server_names": ["db1.example.com"]})
    assert input_problems(hostvars, HOSTS, GROUPS, "db1", dict(hostvars["db1"])) == []


@pytest.mark.parametrize(("undefined", "problems"), [("hostvars", []), ("nope", [NOPE])])
def test_a_variable_that_uses_hostvars_itself_is_left_to_its_host(undefined: str, problems: list[str]) -> None:
    value = StrictUndefined(name=undefined)  # what hostvars gives for a variable that uses what does not exist
    hostvars = fleet(db1={"postgres_server_hba": value})
    assert input_problems(hostvars, HOSTS, GROUPS, "db1", {"postgres_server_port": 5432}) == problems


def test_a_variable_that_uses_hostvars_itself_does_not_hide_mistakes_in_others() -> None:
    own = {"postgres_server_hba": StrictUndefined(name="hostvars"), "postgres_server_extra_names": ["db+1"]}
    (found,) = input_problems(fleet(db1=own), HOSTS, GROUPS)
    assert found.startswith("db1: postgres_server_names: 'db+1' is neither a DNS name nor an IP address.")


def test_an_unknown_key_of_an_identity_is_named_with_those_that_there_are() -> None:
    hostvars = fleet(app1={"postgres_client_identities": [{"role": "app", "os_user": "shop", "osuser": "shop"}]})
    (found,) = input_problems(hostvars, HOSTS, GROUPS)
    assert found == (
        "app1: postgres_client_identities.osuser: there is no such key. Write one of address, after_change, "
        "authority, databases, default_files, endpoints, formats, home, login, name, names, os_user, role, servers, "
        "strict_services, trust."
    )


@pytest.mark.parametrize("named", ["shpo", "app1"])
def test_servers_of_an_identity_that_do_not_exist_are_named(named: str) -> None:
    hostvars = fleet(app1={"postgres_client_identities": [{"role": "app", "os_user": "web", "servers": [named]}]})
    found = input_problems(hostvars, ["app1"], GROUPS)
    assert len(found) == 1
    assert found[0].startswith(f"app1: postgres_client_identities[0].servers: '{named}' ")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("10.0.0.1/24", ".address: '10.0.0.1/24' is no network, because 10.0.0.1 has bits beyond the first 24. Write"),
        (["self", "app1"], ".address: found 'app1', expected self, an IP address, or a network"),
        ("self", ".address: self is the address of the client host, but the inventory has only the name 'app1' for it"),
    ],
)
def test_an_address_that_is_none_is_a_problem_of_the_client_host_alone(address: Any, problem: str) -> None:
    identity = {"role": "app", "os_user": "web", "address": address}
    hosts = fleet(app1={"postgres_client_identities": [identity]})
    (found,) = input_problems(hosts, HOSTS, GROUPS)
    assert found.startswith(f"app1: postgres_client_identities[0]{problem}")
    assert input_problems(hosts, ["app1"], GROUPS) == [found]


def test_self_is_no_problem_with_an_address_or_for_servers_on_the_same_machine() -> None:
    identity = {"role": "app", "os_user": "web", "address": "self"}
    client = {"postgres_client_identities": [identity], "ansible_host": "192.0.2.5"}
    assert input_problems(fleet(app1=client), HOSTS, GROUPS) == []
    on_db1 = {"postgres_client_identities": [{**identity, "servers": ["db1"]}], "ansible_host": "db1"}
    assert input_problems(fleet(app1=on_db1), HOSTS, GROUPS) == []
    (found,) = input_problems(fleet(app1={**on_db1, "postgres_client_identities": [identity]}), HOSTS, GROUPS)
    assert "only the name 'db1'" in found


def test_a_role_that_default_rules_cannot_name_is_a_problem_of_the_servers_that_have_them() -> None:
    client = {"postgres_client_identities": [{"role": "/a", "name": "a", "os_user": "web"}]}
    own_rules = {host: {"postgres_server_hba": [{"user": "/^/a$", "method": "cert"}]} for host in ("db1", "db2")}
    (found,) = input_problems(fleet(app1=client, **own_rules), HOSTS, GROUPS)
    assert found.startswith("db3, db4: postgres_client_identities: role '/a' of 'web' begins with a slash.")


def test_an_identity_for_no_server_is_told_before_its_address() -> None:
    identity = {"role": "app", "os_user": "web", "address": "self", "servers": ["shpo"]}
    (found,) = input_problems(fleet(app1={"postgres_client_identities": [identity]}), ["app1"], GROUPS)
    assert "'shpo' is no group or host of the inventory" in found
