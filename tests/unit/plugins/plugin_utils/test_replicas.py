# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which standbys and subscribers connect anew, in which order, and what proves it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import replicas, replication_proof

FILES = "/var/lib/postgresql/.postgresql/pgops/current"
IDENTITY = {
    "role": "replicator",
    "os_user": "postgres",
    "certificate": f"{FILES}/replicator/postgresql.crt",
    "key": f"{FILES}/replicator/postgresql.key",
}
DECLARED = {
    "host": "db1.example.com",
    "port": "5432",
    "user": "replicator",
    "sslmode": "verify-full",
    "sslcert": IDENTITY["certificate"],
    "sslkey": IDENTITY["key"],
    "sslrootcert": f"{FILES}/root.crt",
}
OLD = ["old_certificate"]


def connection(kind: str = "standby", findings: Any = (), **conninfo: str) -> dict[str, Any]:
    name = "standby" if kind == "standby" else "shop/sub"
    return {"kind": kind, "name": name, "conninfo": {**DECLARED, **conninfo}, "serial": "2f", "findings": [*findings]}


def host(
    name: str, *connections: dict[str, Any], cluster: str = "1", synchronous: Any = (), role: str = "replicator"
) -> dict[str, Any]:
    """Return a server's variables after the plays of servers and clients, which have changed nothing."""
    is_standby = any(one["kind"] == "standby" for one in connections)
    facts = {"is_standby": is_standby, "os_user": "postgres", "application_name": name}
    replication = {**facts, "synchronous": list(synchronous), "connections": list(connections)}
    told = {"replication": replication} if connections or synchronous else {}
    return {
        "inventory_hostname": name,
        "postgres_server_names": [f"{name}.example.com"],
        "postgres_server_replication_role": role,
        "postgres_server_converged": {"system_identifier": cluster, "changed": False, **told},
        "postgres_client_converged": {"changed": False, "identities": [IDENTITY]},
    }


def order(*hosts: dict[str, Any]) -> list[list[str]]:
    hostvars = {one["inventory_hostname"]: one for one in hosts}
    return [list(one.upstreams) for one in replicas.batches(hostvars, list(hostvars))]


def test_who_waits_for_a_first_certificate_and_who_follows_such_a_server_stay_as_they_are() -> None:
    plain = connection(sslmode="prefer")
    assert order(host("db1", synchronous=["x"]), host("db2", plain)) == [["db2"]]
    primary = host("db1", synchronous=["x"])
    primary["postgres_server_converged"] |= {"reasons": ["no_certificate"], "request": "CSR"}
    assert order(primary, host("db2", plain)) == []
    primary["postgres_server_converged"]["certificate"] = {"serial": "2f"}  # it waits for a renewal
    assert order(primary, host("db2", plain)) == [["db2"]]
    standby, asked = host("db2", plain), {"id": "postgres/replicator", "csr": "CSR"}
    standby["postgres_client_converged"] = {"requests": [asked], "identities": [{**IDENTITY, "id": asked["id"]}]}
    assert order(host("db1", synchronous=["x"]), standby) == []
    standby["postgres_client_installed"] = {"identities": [{**IDENTITY, "id": asked["id"], "serial": "30"}]}
    assert order(host("db1", synchronous=["x"]), standby) == [["db2"]]


def test_what_is_as_declared_is_left_alone() -> None:
    assert order(host("db1"), host("db2", connection()), host("db3", connection("subscription"))) == []


@pytest.mark.parametrize(
    "changes",
    [{"sslmode": "prefer"}, {"user": "postgres"}, {"sslcert": "/a.crt"}, {"sslkey": "/a.key"}, {"sslrootcert": "/a"}],
)
def test_a_standby_with_other_parameters_is_due_and_a_subscription_is_not(changes: dict[str, str]) -> None:
    assert order(host("db1"), host("db2", connection(**changes))) == [["db2"]]
    assert order(host("db1"), host("db2", connection("subscription", **changes))) == []
    assert order(host("db1"), host("db2", connection(**changes), role="")) == []


@pytest.mark.parametrize("kind", ["standby", "subscription"])
def test_one_with_an_old_certificate_is_due(kind: str) -> None:
    assert order(host("db1"), host("db2", connection(kind, OLD))) == [["db2"]]


def test_one_whose_client_identities_have_changed_is_due_and_so_is_nobody_else() -> None:
    changed = host("db2", connection())
    changed["postgres_client_installed"] = {"changed": True, "identities": [IDENTITY]}
    primary = host("db1")
    primary["postgres_client_installed"] = changed["postgres_client_installed"]
    assert order(primary, changed, host("db3", connection())) == [["db2"]]


@pytest.mark.parametrize("word", ["failed", "unreachable"])
def test_a_server_that_gave_no_answer_is_left_alone(word: str) -> None:
    lost = host("db2", connection(findings=OLD))
    lost["postgres_server_converged"][word] = True
    assert order(host("db1"), lost) == []


@pytest.mark.parametrize(
    "said",
    [
        {"connections": "x"},
        {"connections": [{"kind": "standby"}]},
        {"connections": [connection(findings=OLD, port="x")]},
        {"synchronous": None},
        "x",
        [],
    ],
)
def test_a_host_that_says_anything_stops_nobody_else(said: Any) -> None:
    bad, facts = host("db2", connection(findings=OLD)), host("db2", connection(findings=OLD))
    whole = facts["postgres_server_converged"]["replication"]
    bad["postgres_server_converged"]["replication"] = {**whole, **said} if isinstance(said, dict) else said
    assert order(bad, host("db3", connection(findings=OLD))) == [["db3"]]


def test_one_of_each_cluster_at_a_time_and_synchronous_ones_last() -> None:
    found = order(
        host("db1", synchronous=["db2", "renamed"]),
        host("db2", connection(findings=OLD)),
        host("db3", connection(findings=OLD, application_name="renamed")),
        host("db4", connection(findings=OLD)),
        host("billing2", connection(findings=OLD), cluster="2"),
    )
    assert found == [["db4", "billing2"], ["db2"], ["db3"]]


def test_each_batch_knows_who_came_before() -> None:
    hosts = [host(name, connection(findings=OLD)) for name in ("db2", "db3", "db4")]
    found = replicas.batches({one["inventory_hostname"]: one for one in hosts}, ["db2", "db3", "db4"])
    assert [one.after for one in found] == [{"db2": []}, {"db3": ["db2"]}, {"db4": ["db2", "db3"]}]


def upstreams(*hosts: dict[str, Any]) -> Any:
    hostvars = {one["inventory_hostname"]: one for one in hosts}
    (batch,) = replicas.batches(hostvars, list(hostvars))
    return batch.as_dict()


def test_the_other_end_is_the_server_of_that_name_and_port_else_the_primary() -> None:
    other, cascading = host("billing1", cluster="2"), connection(findings=OLD, host="db3.example.com,db9", port="")
    found = upstreams(host("db1"), host("db2", cascading), host("db3", connection()), other)
    assert found["upstreams"] == {"db2": {"standby": ["db3"]}}
    by_alias = connection(findings=OLD, host="db.example.com")
    assert upstreams(host("db1"), host("db2", by_alias), other)["upstreams"] == {"db2": {"standby": ["db1"]}}
    another_port = connection(findings=OLD, port="5433")
    assert upstreams(other, host("db2", another_port))["upstreams"] == {"db2": {"standby": []}}
    assert found["assumed"] == {"db2": ["standby"]}, "it may lead to db9"
    assert upstreams(host("db1"), host("db2", connection(findings=OLD)))["assumed"] == {"db2": []}
    assert upstreams(host("db1"), host("db2", by_alias))["assumed"] == {"db2": ["standby"]}
    publisher = connection("subscription", OLD, host="BILLING1.example.com")
    assert upstreams(other, host("db2", publisher))["asked"] == ["billing1"]


def under_wildcard(name: str, *connections: dict[str, Any], cluster: str = "1") -> dict[str, Any]:
    return {**host(name, *connections, cluster=cluster), "postgres_server_names": ["*.example.com"]}


@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [
        ("db2.example.com", "5432", ["db2"]),  # which the inventory calls so
        ("second.example.com", "5432", ["db1", "db2"]),
        ("db2.example.com", "6432", ["db1"]),  # by NAT: the primary, if anybody
        ("db2.other.example.com", "5432", ["db1"]),  # a wildcard stands for one label
    ],
)
def test_a_wildcard_leads_to_servers_of_the_same_cluster(name: str, port: str, expected: list[str]) -> None:
    cascading = under_wildcard("db3", connection(findings=OLD, host=name, port=port))
    middle, other = under_wildcard("db2", connection()), under_wildcard("billing1", cluster="2")
    found = upstreams(under_wildcard("db1"), middle, cascading, other)
    assert (found["upstreams"], found["assumed"]) == ({"db3": {"standby": expected}}, {"db3": ["standby"]})


def test_a_subscription_follows_any_cluster_by_a_wildcard() -> None:
    found = upstreams(under_wildcard("billing1", cluster="2"), host("db2", connection("subscription", OLD)))
    assert found["upstreams"] == {"db2": {"shop/sub": ["billing1"]}}
    assert found["assumed"] == {"db2": ["shop/sub"]}


def test_a_standby_waits_for_a_first_certificate_only_where_all_that_it_may_follow_do() -> None:
    cascading = under_wildcard("db3", connection(findings=OLD, host="second.example.com"))
    primary, middle = under_wildcard("db1"), under_wildcard("db2", connection())
    middle["postgres_server_converged"] |= {"reasons": ["no_certificate"], "request": "CSR"}
    assert order(primary, middle, cascading) == [["db3"]]
    primary["postgres_server_converged"] |= {"reasons": ["no_certificate"], "request": "CSR"}
    assert order(primary, middle, cascading) == []


def test_a_loopback_name_leads_to_a_server_of_the_same_machine() -> None:
    local = connection("subscription", OLD, host="localhost")
    subscriber, publisher, other = host("db2", local), host("db2b", cluster="2"), host("db1", cluster="3")
    for one in (publisher, other):
        one["postgres_server_names"] = ["localhost"]
    publisher["ansible_host"] = "db2"
    assert upstreams(other, subscriber, publisher)["upstreams"] == {"db2": {"shop/sub": ["db2b"]}}


def of_report(*hosts: dict[str, Any]) -> Any:
    """Return what a report takes from the inventory, after it has asked the servers."""
    hostvars = {one["inventory_hostname"]: dict(one) for one in hosts}
    for one in hostvars.values():
        one["postgres_server_sessions"] = one.pop("postgres_server_converged")
    return replicas.of_report(hostvars, list(hostvars))


def test_a_report_learns_who_follows_whom_and_what_runs_manage() -> None:
    by_hand = host("db3", connection("subscription", host="billing1.example.com"), role="")
    assert of_report(host("db1"), host("db2", connection()), by_hand, host("billing1", cluster="2")) == {
        "db2": {"standby": {"upstreams": ["db1"], "is_managed": True}},
        "db3": {"shop/sub": {"upstreams": ["billing1"], "is_managed": False}},
    }
    assert of_report(host("db1")) == {}


@pytest.mark.parametrize("said", [{"unreachable": True}, {"msg": "down"}, {"system_identifier": "1", "replication": 7}])
def test_a_server_that_did_not_answer_a_report_is_no_upstream_and_follows_nobody(said: dict[str, Any]) -> None:
    lost = {**host("db1"), "postgres_server_converged": said}
    assert of_report(lost, host("db2", connection())) == {"db2": {"standby": {"upstreams": [], "is_managed": True}}}


SESSION = {"type": "walsender", "serial": "2f"}


def proof(sessions: Any, assumed: Any = (), **changes: Any) -> tuple[list[str], list[str]]:
    hostvars = {"db1": {} if sessions is None else {"__postgres_server_senders": {"sessions": sessions}}, "db2": {}}
    hostvars["db3"] = {"__postgres_server_senders": {"sessions": []}}
    return replication_proof.proof([{**connection(), **changes}], {"standby": ["db1", "db2", "db3"]}, assumed, hostvars)


def test_the_other_end_proves_the_certificate() -> None:
    assert proof([SESSION]) == proof([SESSION], ["standby"]) == (["standby: db1 shows certificate 2f."], [])
    nobody = {"standby": ["db2"]}, (), {"db2": {}}
    assert replication_proof.proof([connection()], *nobody) == (
        ["standby: only this server was asked, because the other end is not part of this run."],
        [],
    )


def test_a_server_that_no_name_leads_to_proves_nothing_by_its_silence() -> None:
    found, (warning,) = proof([], ["standby"])
    assert found == []
    assert warning.startswith("standby: only this server was asked. Its host and port are no name of a server, and db1")


def test_a_connection_without_a_certificate_has_none_to_show() -> None:
    assert proof([{"type": "walsender", "serial": None}], serial=None) == proof([], serial=None) == ([], [])


@pytest.mark.parametrize("sessions", [[], [{**SESSION, "serial": "2e"}], [{**SESSION, "type": "client backend"}]])
def test_another_certificate_at_the_other_end_is_a_failure(sessions: list[dict[str, str]]) -> None:
    with pytest.raises(TlsError) as refused:
        proof(sessions)
    assert refused.value.code == "replication_other_certificate"


def test_a_role_without_a_certificate_on_its_host_is_refused() -> None:
    role = {"postgres_server_replication_role": "replicator"}
    replicas.refuse_without_identity({})
    replicas.refuse_without_identity({**role, "postgres_client_identities": [{"role": "replicator"}]})
    for identities in ([], [{"role": "app"}], [{"role": "replicator", "login": "password"}]):
        with pytest.raises(TlsError) as refused:
            replicas.refuse_without_identity({**role, "postgres_client_identities": identities})
        assert refused.value.code == "replication_identity_missing"


def test_the_names_of_each_server_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollover has all standbys of a fleet connect again: the work must not grow with the square of the servers."""
    looked_up: list[str] = []
    names_of = replicas.server_names.of

    def counted(variables: Any, *rest: Any, **more: Any) -> Any:
        looked_up.append(variables["inventory_hostname"])
        return names_of(variables, *rest, **more)

    monkeypatch.setattr(replicas.server_names, "of", counted)
    hosts = [host("db1"), *(host(f"db{number}", connection(findings=OLD)) for number in range(2, 30))]
    found = order(*hosts)
    assert len(found) == 28, "one standby of a cluster after the other"
    assert sorted(looked_up) == sorted(one["inventory_hostname"] for one in hosts)
