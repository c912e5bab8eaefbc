# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of servers: what the inventory may declare, what of it is a mistake, and who tries them."""

from __future__ import annotations

from typing import Any, Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    client_identities,
    expectations,
    fleet,
    inventory,
    server_names,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

GROUPS = {
    "all": ["db1", "db2", "app1", "app2", "web1"],
    "postgres_servers": ["db1", "db2"],
    "postgres_clients": ["app1", "app2", "web1"],
    "apps": ["app1", "app2"],
}
CLIENT_VARIABLES = {"postgres_client_identities": [{"role": "app", "os_user": "www"}]}
DB, PORT = "db.example.com", 5432


def names_of(*elements: object, **more: Any) -> tuple[server_names.Name, ...]:
    """Return the names of db1."""
    variables = {"inventory_hostname": "db1", "postgres_server_names": list(elements), **more}
    return server_names.of(variables, Graph(GROUPS))


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (DB, (DB, PORT, None, False)),
        ({"name": DB}, (DB, PORT, None, False)),
        ({"name": DB, "port": 6432}, (DB, 6432, None, False)),
        ({"name": DB, "port": "6432"}, (DB, 6432, None, False)),
        ({"name": DB, "port": None, "from": None}, (DB, PORT, None, False)),
        ({"name": DB, "from": []}, (DB, PORT, frozenset(), False)),
        ({"name": DB, "from": ["self"]}, (DB, PORT, frozenset({"self"}), False)),
        ({"name": DB, "from": ["apps", "web1"]}, (DB, PORT, frozenset({"app1", "app2", "web1"}), False)),
        ({"name": DB, "from": ["self", "app1"], "shared": True}, (DB, PORT, frozenset({"self", "app1"}), True)),
    ],
)
def test_a_name_is_a_text_or_says_more(element: object, name: object) -> None:
    assert names_of(element) == (name,)


def test_the_port_is_the_servers_unless_the_name_has_one() -> None:
    found = names_of("a", {"name": "b", "port": 6432}, postgres_server_port="5433", postgres_server_extra_names=["c"])
    assert [(one.text, one.port) for one in found] == [("a", 5433), ("b", 6432), ("c", 5433)]


BAD = [
    ({"nmae": DB}, r"\[0\]: there is no key 'nmae'\. Write name\."),
    ({"name": DB, "via": 1}, r"\[0\]: there is no key 'via'\. Write name or port or from or shared\."),
    ({"port": 1}, r"\[0\]: found {'port': 1}, expected a DNS name or an IP address in its key name"),
    ({"name": ""}, r"\[0\]: found {'name': ''}, expected a DNS name or an IP address in its key name"),
    (None, r"\[0\]: found None, expected a DNS name, an IP address, or a dictionary with the key name"),
    (5, r"\[0\]: found 5, expected a DNS name"),
    *(({"name": DB, "port": port}, r"\[0\]\.port: found .*, expected a TCP port, 1 to 65535") for port in (0, 65536)),
    *(
        ({"name": DB, "port": port}, r"\[0\]\.port: found .*, expected a number, 1 to 65535")
        for port in (-0.5, "x", "", True, [1], "²", "-1")
    ),
    *(
        ({"name": DB, "from": given}, r"\[0\]\.from: found .*, expected a list of groups or hosts .* Leave from out if")
        for given in ("app1", {"app1": 1}, 5)
    ),
    ({"name": DB, "from": ["ap1"]}, r"\[0\]\.from: 'ap1' is no group or host of the inventory\. .* such as app"),
    ({"name": DB, "from": [["self"]]}, r"\[0\]\.from: .* is no group or host of the inventory"),
    ({"name": DB, "from": ["nothing-like-it"]}, r"\[0\]\.from: .*\. Name groups or hosts of the inventory\.$"),
    *(
        ({"name": DB, "shared": given}, r"\[0\]\.shared: found .*, expected true or false")
        for given in ("yes", 1, None)
    ),
]


@pytest.mark.parametrize(("element", "message"), BAD)
def test_what_is_neither_is_named_with_its_place(element: object, message: str) -> None:
    with pytest.raises(TlsError, match=f"^postgres_server_names{message}"):
        names_of(element)


def test_a_name_that_is_there_twice_counts_once_if_both_say_the_same() -> None:
    assert names_of(DB, "DB.example.com.", {"name": DB, "port": PORT}) == ((DB, PORT, None, False),)
    assert len(names_of(DB, {"name": DB, "port": 6432})) == 2, "through a pooler, too"
    with pytest.raises(
        TlsError, match=r"extra_names\[0\]: 'DB.example.com', port 5432, is declared twice, with another"
    ):
        names_of(DB, postgres_server_extra_names=[{"name": "DB.example.com", "from": ["apps"]}])


def test_a_certificate_has_all_names_and_nothing_else_of_them() -> None:
    assert server_names.texts([DB, {"name": "nat", "port": 1, "from": []}]) == [DB, "nat"]
    with pytest.raises(TlsError, match="there is no key"):
        server_names.texts([{"nmae": DB}])


def test_each_name_has_the_variable_that_it_comes_from() -> None:
    own = {"inventory_hostname": "db1", "postgres_server_extra_names": [{"name": DB}]}
    found = server_names.origins(own)
    assert found == {
        DB: "postgres_server_extra_names",
        "db1": "the default of postgres_server_names, which is the inventory's name,",
    }
    assert server_names.origins({**own, "postgres_server_names": [DB]}) == {DB: "postgres_server_names"}


def mistakes(one: object, other: object, *hosts: str, **more: Any) -> list[str]:
    """Return what is wrong with db1 and db2, each with a name of its own and another one."""
    servers = {"db1": {"postgres_server_extra_names": [one]}, "db2": {"postgres_server_extra_names": [other], **more}}
    hostvars = {host: {"inventory_hostname": host, **servers.get(host, {})} for host in GROUPS["all"]}
    return inventory.Fleet(hostvars, GROUPS, {}).problems(list(hosts or GROUPS["all"]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DB, DB),
        (DB, "DB.example.com."),
        (DB, {"name": DB, "port": PORT}),
        (DB, {"name": DB, "shared": True}),
        (DB, {"name": DB, "from": ["self"]}),
        ({"name": DB, "from": ["apps"]}, {"name": DB, "from": ["app1", "web1"]}),
        ({"name": "localhost", "port": 6432, "from": ["app1"]}, {"name": "localhost", "port": 6432, "from": ["apps"]}),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_name_of_two_servers_is_a_mistake(one: object, other: object) -> None:
    (found,) = mistakes(one, other)
    assert found.startswith("db1, db2: '")
    assert "is a name of each of these 2 servers. If any of them may answer (an alias" in found
    assert found.endswith("Otherwise keep it for one of them, in postgres_server_names or postgres_server_extra_names.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": DB, "shared": True}, {"name": DB, "shared": True}),
        ({"name": DB, "shared": True, "from": ["apps"]}, {"name": DB, "shared": True}),
        ({"name": DB, "port": 5001}, {"name": DB, "port": 5002}),
        ({"name": DB, "from": ["apps"]}, {"name": DB, "from": ["web1"]}),
        ({"name": DB, "from": ["self"]}, {"name": DB, "from": ["self", "app1"]}),
        (DB, {"name": DB, "from": []}),
        ("localhost", "LOCALHOST"),
        ("127.0.0.1", "127.0.0.1"),
        ("*.example.com", "*.example.com"),
    ],
)
def test_a_name_that_is_shared_or_leads_each_client_to_one_server_is_none(one: object, other: object) -> None:
    assert mistakes(one, other) == []


def test_of_three_servers_two_may_share_a_name_that_leads_others_to_the_third() -> None:
    near = {"name": DB, "shared": True, "from": ["apps"]}
    names = [names_of(one) for one in (near, near, {"name": DB, "from": ["web1"]}, {"name": DB, "from": ["app2"]})]
    assert list(server_names.unshared(dict(zip("abc", names)))) == []
    (found,) = server_names.unshared(dict(zip("abcd", names)))
    assert found[1:] == (["a", "b", "c", "d"], ["c", "d"])


def test_a_server_without_any_name_is_a_mistake() -> None:
    hostvars = {"db1": {"inventory_hostname": "db1", "postgres_server_names": []}}
    (found,) = inventory.Fleet(hostvars, {"postgres_servers": ["db1"]}, {}).problems(["db1"])
    assert found.startswith("db1: postgres_server_names: no names were given.")


def test_the_servers_that_do_not_say_that_they_share_a_name_are_told_in_a_run_for_one_of_them() -> None:
    shared = {"name": DB, "shared": True}
    (found,) = mistakes(DB, shared, "db2")
    assert "{name: db.example.com, shared: true} for db1. Otherwise" in found
    assert mistakes(DB, shared, "app1") == []
    assert mistakes(DB, DB, "db1", postgres_server_port="main") == [], "the mistake of a host outside the run"


def test_a_mistake_of_a_server_is_told_as_its_own() -> None:
    (found,) = mistakes({"name": DB, "from": ["ap1"]}, "a")
    assert found.startswith(
        "db1: postgres_server_extra_names[0].from: 'ap1' is no group or host of the inventory. Name"
    )
    (found,) = mistakes({"name": "a b", "port": 1}, "a")
    assert found.startswith("db1: postgres_server_names: 'a b' is neither a DNS name nor an IP address")
    (found,) = mistakes({"nmae": DB}, "a")
    assert found.startswith("db1: postgres_server_extra_names[0]: there is no key 'nmae'")


def tried(
    servers: Sequence[dict[str, Any]], host: str, *, limit: Sequence[str] = (), **machines: str
) -> list[tuple[str, str, int, str]]:
    """Return (server, name, port, why skipped) of what the identity of a client host has to be accepted at."""
    graph = Graph(GROUPS)
    clients = [
        {"inventory_hostname": name, "ansible_host": machines.get(name, name), **CLIENT_VARIABLES}
        for name in GROUPS["postgres_clients"]
    ]
    planner = expectations.planner(servers, clients, limit, graph, "postgres")
    who = client_identities.identities_of(CLIENT_VARIABLES["postgres_client_identities"], "postgres", graph)
    own = fleet.Host(host, (machines.get(host, host), ""))
    return [
        (one["server"], one["host"], one["port"], one.get("skip", ""))
        for one in planner.plan(expectations.ClientHost(who, own, refused=[]))
        if "files" not in one
    ]


def server(name: str, *elements: object) -> dict[str, Any]:
    return {"inventory_hostname": name, "postgres_server_names": list(elements)}


def test_a_name_is_tried_on_its_port_from_the_hosts_in_from() -> None:
    db1 = server("db1", {"name": "inside", "from": ["apps"]}, {"name": "nat", "port": 6432, "from": ["web1"]})
    assert tried([db1], "app1") == [("db1", "inside", PORT, "")]
    assert tried([db1], "web1") == [("db1", "nat", 6432, "")]


def test_the_first_name_that_a_client_host_reaches_is_the_one_for_its_service() -> None:
    graph = Graph(GROUPS)
    names = server("db1", {"name": "inside", "from": ["apps"]}, {"name": "nat", "port": 6432}, "third")
    for host, first in (("app1", ("inside", PORT)), ("web1", ("nat", 6432))):
        planner = expectations.planner([names], [], [], graph, "postgres")
        who = client_identities.identities_of(CLIENT_VARIABLES["postgres_client_identities"], "postgres", graph)
        found = planner.plan(expectations.ClientHost(who, fleet.Host(host)))
        assert {(one["host"], one["port"]) for one in found if "files" in one or "kind" in one} == {first}


def test_self_is_the_machine_of_the_server_and_from_takes_the_place_of_what_loopback_means() -> None:
    db1 = server("db1", {"name": "socket", "from": ["self"]}, {"name": "localhost", "port": 6432, "from": ["web1"]}, DB)
    assert tried([db1], "app1", app1="db1") == [("db1", "socket", PORT, ""), ("db1", DB, PORT, "")]
    assert [one[1] for one in tried([db1], "web1", app1="db1")] == ["localhost", DB]


def test_a_loopback_name_leads_to_the_server_of_this_machine_that_is_meant() -> None:
    servers = [{**server(name, "localhost"), "ansible_host": "app1"} for name in ("db1", "db2")]
    assert [one[0] for one in tried(servers, "app1")] == ["db1", "db2"]


def test_a_host_that_does_not_connect_to_a_server_tries_none_of_its_names() -> None:
    graph, db2 = Graph(GROUPS), server("db2", "db2", {"name": "own", "from": ["app2"]})
    clients = [
        {
            "inventory_hostname": host,
            "postgres_client_identities": [{"role": "app", "os_user": "www", "servers": servers}],
        }
        for host, servers in (("app1", ["db1", "db2"]), ("app2", ["db1"]))
    ]
    planner = expectations.planner([server("db1", "db1"), db2], clients, [], graph, "postgres")
    who = client_identities.identities_of(clients[0]["postgres_client_identities"], "postgres", graph)
    found = planner.plan(expectations.ClientHost(who, fleet.Host("app1"), refused=[]))
    assert [one["host"] for one in found if "skip" in one] == ["own"]


def test_what_nobody_can_try_is_listed_once_with_the_reason() -> None:
    db1 = server(
        "db1", DB, {"name": "no", "from": []}, {"name": "own", "from": ["self"]}, {"name": "a", "from": ["db2"]}
    )
    assert tried([db1], "app1")[1:] == [
        ("db1", "no", PORT, "its from is empty: no client host connects by this name"),
        ("db1", "own", PORT, "only this server itself can reach it, and has no client identity"),
        ("db1", "a", PORT, "no host in its from verifies connections to this server in this run"),
    ]
    db1 = server("db1", DB, {"name": "far", "from": ["web1"]})
    assert tried([db1], "app1") == [("db1", DB, PORT, "")], "another host tries it"
    assert len(tried([db1], "app1", limit=["db1", "app1"])) == 2, "not in this run"


def test_a_server_that_a_client_host_reaches_by_no_name_is_listed_for_its_identity() -> None:
    servers = [server("db1", {"name": "far", "from": ["web1"]}), server("db2", "db2")]
    reason = "this client host can reach the server by none of its names"
    assert tried(servers, "app1") == [("db1", "far", PORT, reason), ("db2", "db2", PORT, "")]
    assert tried([server("db1", {"name": "no", "from": []})], "app1") == [
        ("db1", "no", PORT, "its from is empty: no client host connects by this name")
    ]


def test_a_shared_name_may_be_answered_by_those_that_the_client_host_reaches() -> None:
    shared = {"name": DB, "shared": True}
    servers = [server("db1", "db1", shared), server("db2", "db2", {**shared, "from": ["apps"]})]
    assert ("db1, db2", DB, PORT, "") in tried(servers, "app1")
    assert ("db1", DB, PORT, "") in tried(servers, "web1")
    split = [server("db1", {"name": DB, "from": ["apps"]}), server("db2", {"name": DB, "from": ["web1"]})]
    assert ("db1", DB, PORT, "") in tried(split, "app1")
    assert ("db2", DB, PORT, "") in tried(split, "web1")
