# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that a run reads from its first host: what the others have that it has not would be ignored."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.pgops.tls.plugins.plugin_utils import agreement, inventory
from ansible_collections.pgops.tls.plugins.plugin_utils.remembered import Hostvars

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_poolers": ["pool1"], "postgres_clients": ["app1", "app2"]}
HOSTS = [host for hosts in GROUPS.values() for host in hosts]
GONE: dict[str, Any] = {"postgres_ca_revoked": [{"role": "leaver"}]}
SECRET = "a passphrase that nobody may see"


def told(hosts: str, name: str, first: str = "db1") -> str:
    return f"{hosts}: postgres_ca_{name}: found another value than {first} has. "


def problems(
    hosts: list[str] | None = None, everywhere: Mapping[str, Any] | None = None, **variables: Mapping[str, Any]
) -> list[str]:
    """Return what is wrong, with these variables of hosts; those of db1 alone are checked by default."""
    hostvars = {host: {"inventory_hostname": host, **variables.get(host, {})} for host in HOSTS}
    return inventory.Fleet(hostvars, GROUPS, everywhere or {}).problems(hosts or ["db1"])


@pytest.mark.parametrize(
    ("having", "hosts"),
    [
        (["app1", "app2"], "app1, app2"),
        (["db2"], "db2"),
        (["db2", "pool1", "app1", "app2"], "db2, pool1, app1 and 1 more"),
        (["db1"], ""),
        (["db1", "db2"], ""),
        (HOSTS, ""),
    ],
)
def test_a_revocation_is_refused_that_the_host_does_not_have_from_which_a_run_reads_it(
    having: list[str], hosts: str
) -> None:
    found = problems(HOSTS, **dict.fromkeys(having, GONE))
    assert len(found) == bool(hosts)
    if hosts:
        assert found[0].startswith(told(hosts, "revoked"))
        assert found[0].endswith("Set it for all hosts, in group_vars/all.yml.")


def test_a_run_for_some_hosts_reads_it_from_the_first_of_them() -> None:
    assert problems(["app1", "app2"], app1=GONE, app2=GONE) == []
    assert problems(["app1", "app2"], app2=GONE)[0].startswith(told("app2", "revoked", "app1"))
    assert problems(["db1", "db2"], app1=GONE) == [], "a run for all hosts finds it"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("passphrase", f"{SECRET} 1", f"{SECRET} 2"),
        ("kits", [{"name": "anna", "role": "app", "directory": "/srv", "password": f"{SECRET} 1"}], []),
        ("directory", "/srv/ca", "/srv/other"),
        ("host", "db1", "localhost"),
        ("certificate_lifetime", "60d", "90d"),
        ("key_type", "P-384", "P-256"),
        ("lost", True, False),
        ("outside_trust", "none", []),
    ],
)
def test_every_variable_of_the_authorities_is_compared_and_no_value_is_shown(name: str, one: Any, other: Any) -> None:
    variable = f"postgres_ca_{name}"
    own: dict[str, Any] = {host: {variable: one} for host in HOSTS[:-1]}
    found = problems(HOSTS, **own, app2={variable: other})
    assert [line.startswith(told("app2", name)) for line in found] == [True]
    assert SECRET not in found[0]


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("revoked", None, []),
        ("key_type", None, "P-256"),
        ("directory", None, ""),
        ("lost", None, "false"),
        ("lost", "no", False),
        ("create", None, "true"),
        ("directory", "/srv/ca/", "/srv/ca"),
        ("passphrase", "12345678", 12345678),
        ("rotating", ["server"], "server"),
    ],
)
def test_values_that_mean_the_same_are_the_same(name: str, one: Any, other: Any) -> None:
    variable = f"postgres_ca_{name}"
    first = {} if one is None else {variable: one}
    assert problems(HOSTS, db1=first, app2={variable: other}) == []


def test_what_a_playbook_sets_for_all_hosts_wins() -> None:
    assert problems(HOSTS, app1=GONE) != []
    assert problems(HOSTS, {"postgres_ca_revoked": [{"role": "another"}]}, app1=GONE) == []


def test_the_default_of_a_role_that_a_playbook_imports_does_not_hide_it() -> None:
    assert problems(HOSTS, {"postgres_ca_revoked": []}, app1=GONE) != []


def test_facts_and_variables_of_other_roles_may_differ() -> None:
    own = {"postgres_ca_result": 1, "postgres_ca_authorities": {}, "postgres_server_port": 5433}
    assert problems(HOSTS, db2=own) == []


class Templated(Mapping[str, Any]):
    """The variables of a host as Ansible gives them: their templates are filled when they are looked at."""

    def __init__(self, filled: Mapping[str, Any], written: Mapping[str, Any]) -> None:
        self._vars, self._filled = {**filled, **written}, filled
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.asked.append(name)
        if isinstance(self._filled[name], Exception):
            raise self._filled[name]
        return self._filled[name]

    def __contains__(self, name: object) -> bool:
        return name in self._vars

    def __iter__(self) -> Iterator[str]:
        return iter(self._vars)

    def __len__(self) -> int:
        return len(self._vars)


def templated(one: tuple[str, Any], other: tuple[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is wrong if hosts have a variable so written and filled, and what was asked of the others."""
    name = "postgres_ca_directory"
    given = dict.fromkeys(HOSTS, one) | {"app2": other}
    hosts = {
        host: Templated({"inventory_hostname": host, name: filled}, {name: text})
        for host, (text, filled) in given.items()
    }
    ignored = agreement.ignored(Hostvars(hosts), HOSTS, {name: {"type": "path", "default": ""}})
    found = [f"{', '.join(having)}: {message}" for message, having in ignored.items()]
    return found, [asked for host in HOSTS[1:] for asked in hosts[host].asked if asked == name]


def test_what_is_written_alike_is_not_templated() -> None:
    text = "{{ lookup('env', 'HOME') }}/ca"
    assert templated((text, "/home/ops/ca"), (text, "/home/ops/ca")) == ([], [])


def test_what_is_written_otherwise_is_compared_with_its_templates_filled() -> None:
    same, asked = templated(("{{ place }}/ca", "/srv/ca"), ("/srv/ca", "/srv/ca"))
    assert (same, asked) == ([], ["postgres_ca_directory"])
    different, asked = templated(("{{ place }}/ca", "/srv/ca"), ("{{ place }}/authorities", "/srv/authorities"))
    assert [line.startswith(told("app2", "directory")) for line in different] == [True]
    assert asked == ["postgres_ca_directory"]


def test_what_cannot_be_templated_is_left_to_the_check_of_its_host() -> None:
    fault = AnsibleUndefinedVariable("'place' is undefined")
    assert templated(("/srv/ca", "/srv/ca"), ("{{ place }}/ca", fault))[0] == []
