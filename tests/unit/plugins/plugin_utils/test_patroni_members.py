# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order members of Patroni clusters change, and what stops whom."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import kinds, patroni_members, requests, results
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust

FACTS = {"serial": "2f", "pem": "PEM"}


def member(name: str, *, cluster: str = "1", managed: object = True, **said: Any) -> dict[str, Any]:
    """Return the variables of a member after the play of servers: by default it has nothing to change."""
    patroni = {"due": False, "is_leader": False, "is_adopted": True, "certificates": {"api": FACTS}, **said}
    return {
        "inventory_hostname": name,
        "postgres_server_patroni_api": managed,
        "postgres_server_converged": {"system_identifier": cluster, "patroni": patroni},
    }


def order(*hosts: dict[str, Any]) -> list[patroni_members.Batch]:
    hostvars = {one["inventory_hostname"]: one for one in hosts}
    return patroni_members.batches(hostvars, {"postgres_servers": list(hostvars)}, list(hostvars))


def test_members_with_nothing_to_change_are_left_alone() -> None:
    assert order(member("a"), member("b", is_leader=True)) == []
    assert order(member("a", due=True, managed="no"), member("b", due=True, managed=False)) == []


def test_one_member_of_each_cluster_at_a_time_and_the_leader_last() -> None:
    due = {"due": True}
    found = order(
        member("a", is_leader=True, **due), member("b", **due), member("c", **due), member("x", cluster="2", **due)
    )
    assert [list(one.members) for one in found] == [["b", "x"], ["c"], ["a"]]
    assert found[2].after == {"a": ["b", "c"]}


def test_a_member_that_refuses_stops_first_files_and_no_renewal() -> None:
    refused = member("z", due=True, refusal="its API is silent", is_adopted=False, is_leader=True)
    found = order(member("a", due=True), member("b", due=True, is_adopted=False), refused)
    assert [list(one.members) for one in found] == [["z"], ["a"], ["b"]]
    assert found[1].after == {"a": []}
    assert found[2].after == {"b": ["z", "a"]}


@pytest.mark.parametrize(
    ("waiting", "having", "is_visited"),
    [
        ([], [], True),
        (["a/patroni-api"], [], False),
        (["a/patroni-ctl"], ["api"], False),
        (["a/patroni-api"], ["api", "ctl"], True),
        (["b/patroni-api"], [], True),
    ],
    ids=["none waits", "its first", "its first of two", "a renewal", "that of another one"],
)
def test_a_member_that_waits_for_its_first_certificate_stays_as_it_is(
    waiting: list[str], having: list[str], *, is_visited: bool
) -> None:
    asks = [{"id": name, "csr": "CSR", "reasons": ["due"]} for name in ("api", "ctl")]
    one = member("a", due=True, requests=asks, certificates=dict.fromkeys(having, FACTS))
    one["postgres_ca_signed"] = {"certificates": {}, "waiting": dict.fromkeys(waiting, "waits")}
    assert [list(batch.members) for batch in order(one)] == ([["a"]] if is_visited else [])


def test_former_trust_ends_where_every_member_has_moved() -> None:
    moved, left = member("a", has_former_trust=True), member("b", is_adopted=False)
    assert order(moved, left) == []
    assert order(moved, member("b", due=True, refusal="no"))[0].ends_trust == []
    [batch] = order(moved, member("b"))
    assert (batch.members, batch.ends_trust) == (["a"], ["a"])


@pytest.mark.parametrize("is_limited", [True, False], ids=["out of limit", "unreachable"])
def test_no_former_trust_ends_while_a_member_has_said_nothing(*, is_limited: bool) -> None:
    """It may be of that cluster, and come back with a certificate of the former authority."""
    silent: dict[str, Any] = {"postgres_server_patroni_api": True}
    silent |= {} if is_limited else {"postgres_server_converged": {"unreachable": True}}
    hostvars = {"a": member("a", has_former_trust=True), "b": silent, "c": {}}
    hosts = ["a", "c"] if is_limited else ["a", "b", "c"]
    assert patroni_members.batches(hostvars, {"postgres_servers": ["a", "b", "c"]}, hosts) == []
    [batch] = patroni_members.batches(hostvars, {"postgres_servers": ["a", "c"]}, hosts)
    assert batch.ends_trust == ["a"]


@pytest.mark.parametrize(
    "broken",
    [
        {"postgres_server_failed": "no server"},
        {"postgres_server_converged": {"unreachable": True}},
        {"postgres_server_converged": {"system_identifier": "1", "patroni": "taken over"}},
        {"postgres_server_converged": {"patroni": {"due": True, "is_leader": False}}},
        {"postgres_server_converged": {}},
    ],
)
def test_a_host_that_has_failed_or_says_nonsense_is_left_out(broken: dict[str, Any]) -> None:
    assert order({**member("a", due=True), **broken}) == []


def test_authorities_are_those_of_managed_members() -> None:
    groups = {"postgres_servers": ["a", "b", "c"]}
    own = {"postgres_server_patroni_authority": "billing-patroni"}
    fleet = {"a": member("a"), "b": {**member("b"), **own}, "c": {}}
    assert patroni_members.authorities(fleet, groups) == ["billing-patroni", "patroni"]
    assert patroni_members.authorities({"c": {}}, {"postgres_servers": ["c"]}) == []
    with pytest.raises(TlsError, match="postgres_server_patroni_authority"):
        patroni_members.authorities({"a": {**member("a"), "postgres_server_patroni_authority": "No Name"}}, groups)


def test_an_authority_of_postgresqls_clients_is_refused() -> None:
    trust = Trust("client", {}, {})
    patroni_members.refuse_shared(member("a"), trust)
    patroni_members.refuse_shared({"postgres_server_patroni_authority": "client"}, trust)
    with pytest.raises(TlsError, match="could send commands to Patroni"):
        patroni_members.refuse_shared({**member("a"), "postgres_server_patroni_authority": "client"}, trust)


def test_certificates_are_known_by_what_the_host_said_last() -> None:
    groups = {"postgres_servers": ["a", "b"]}
    changed = {"postgres_server_patroni_converged": {"certificates": {"api": {**FACTS, "serial": "30"}}}}
    fleet = {"a": member("a"), "b": {**member("b"), **changed}}
    found = list(kinds.certificates(fleet, groups, results.last))
    assert [(authority, id_, facts["serial"]) for authority, id_, facts in found] == [
        ("server", "a/patroni-api", "2f"),
        ("server", "b/patroni-api", "30"),
    ]
    assert kinds.ids({"a": member("a"), "b": {}}, groups) == {"a", "a/patroni-api", "a/patroni-ctl", "b"}


def test_a_request_says_what_the_inventory_says() -> None:
    asked = {"requests": [{"id": "ctl", "csr": "CSR", "reasons": ["forced"], "role": "root"}, {"id": "x", "csr": ""}]}
    assert requests.of_patroni(asked, ["pg1.example.com"], "a", "patroni") == [
        {"id": "a/patroni-ctl", "csr": "CSR", "reasons": ["forced"], "authority": "patroni", "role": "patroni"}
    ]
