# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server answered: two real nodes, and an alias that leads to one and then to the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.verification import identity
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.checkers import Checker
from ansible_collections.pgops.tls.tests.relays import Relay


class Node:
    """One of two servers that share the name localhost, and what a run knows of it."""

    def __init__(self, name: str, cluster: Any, authorities: tuple[Any, Any]) -> None:
        self.name, self.cluster, self.authorities = name, cluster, authorities
        self.names = ["127.0.0.1", f"{name}.example.com", "localhost"]
        self.known: dict[str, Any] = {}
        self.renew()
        self.learn()

    def renew(self, extra: str = "") -> None:
        """Serve a new certificate, as another run would, or one with another name, too."""
        server, client = self.authorities
        names = f"DNS:localhost,IP:127.0.0.1,DNS:{self.name}.example.com{extra}"
        self.cluster.serve(*server.issue(self.name, "serverAuth", names), client.root)

    def learn(self, **changes: Any) -> None:
        """Know the certificate that is in use now."""
        leaf = read_pem((self.cluster.data / "server.crt").read_text(), "server.crt")[0]
        start = clock.instant(leaf.not_before)
        known = {"server": self.name, "serial": f"{leaf.serial:x}", "not_before": start, "names": self.names}
        self.known = {**known, **changes}


@pytest.fixture
def client(client: Any) -> Checker:
    """Return the client of the first node."""
    return Checker(client)


@pytest.fixture
def db1(client: Checker, server_authority: Any, client_authority: Any) -> Node:
    """Return the node of the client."""
    return Node("db1", client.cluster, (server_authority, client_authority))


@pytest.fixture
def nodes(db1: Node, second_cluster: Any) -> list[Node]:
    """Return two nodes with the same rules and roles."""
    second_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    second_cluster.hba("hostssl all all all cert", "host all all all reject")
    return [db1, Node("db2", second_cluster, db1.authorities)]


@pytest.fixture
def alias(nodes: list[Node]) -> Iterator[Relay]:
    """Return an address that leads to the first node."""
    with Relay([("127.0.0.1", one.cluster.port) for one in nodes]).leading() as relay:
        yield relay


def by_alias(client: Checker, alias: Relay, nodes: list[Node], **given: Any) -> dict[str, Any]:
    return client.expect(port=alias.port, certificates=[one.known for one in nodes], **given)


def false_proofs(found: list[dict[str, Any]], led_to: list[int]) -> list[str]:
    """Return the servers that the rows prove and that were not reached, or not as often."""
    reached = [f"db{node + 1}" for node in led_to]
    proven = [one["answered_by"] for one in found if one["status"] == "ok"]
    return [one for one in dict.fromkeys(proven) if proven.count(one) > reached.count(one)]


def moving(client: Checker, alias: Relay, nodes: list[Node]) -> list[dict[str, Any]]:
    """Connect three times while the alias moves behind the first connection."""
    alias.moves_after = 1
    return client.verify(*[by_alias(client, alias, nodes)] * 3)


def test_a_row_proves_the_node_that_answered_while_an_alias_moves(
    client: Checker, alias: Relay, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = moving(client, alias, nodes)
    assert alias.led_to == [0, 1, 1]
    assert [one["status"] for one in found] == ["ok"] * 3, found
    assert sorted(one["answered_by"] for one in found) == ["db1", "db2", "db2"]
    assert {one["server"] for one in found} == {"db1, db2"}
    assert not false_proofs(found, alias.led_to)
    monkeypatch.setattr(identity, "answer", lambda _leaf, may_answer: identity.Answer(may_answer[0].server))
    alias.led_to.clear()
    found = moving(client, alias, nodes)
    assert [one["status"] for one in found] == ["ok"] * 3
    assert false_proofs(found, alias.led_to) == ["db1"], "without the comparison"


def test_a_name_of_one_server_that_leads_to_another_proves_nothing(
    client: Checker, alias: Relay, nodes: list[Node]
) -> None:
    alias.moves_after = 0
    kinds = ("plaintext", "no_certificate", "foreign_certificate")
    only_first = {"port": alias.port, "certificates": [nodes[0].known]}
    found = client.verify(client.expect(**only_first), *[client.refuse(kind, **only_first) for kind in kinds])
    assert [one["status"] for one in found] == ["deviation", *["unproven"] * 3], found
    assert "was accepted by another server than db1 (serial number " in found[0]["reason"]
    assert nodes[1].known["serial"] in found[0]["reason"]
    assert {one["answered_by"] for one in found} == {""}
    alias.led_to.clear()
    alias.moves_after = 1
    shared = {"port": alias.port, "certificates": [one.known for one in nodes]}
    accepted, refused, plain = client.verify(
        client.expect(**shared), client.refuse("no_certificate", **shared), client.refuse("plaintext", **shared)
    )
    assert [one["status"] for one in (accepted, refused, plain)] == ["ok"] * 3
    assert (accepted["answered_by"], refused["answered_by"], plain["answered_by"]) == ("db1", "db2", "")


def test_another_run_that_renews_in_between_is_no_fault_and_an_old_machine_is_one(client: Checker, db1: Node) -> None:
    given = {"certificates": [db1.known]}
    db1.renew()
    (found,) = client.verify(client.expect(**given))
    assert (found["status"], found["answered_by"]) == ("ok", "db1"), found
    assert found["note"] == "another run has renewed its certificate in the meantime"
    db1.learn(serial="77", not_before=clock.instant(2_000_000_000))
    (found,) = client.verify(client.expect(certificates=[db1.known]))
    assert found["status"] == "deviation", "a certificate that is older than the one that this server has"
    db1.renew(",DNS:db9.example.com")
    (found,) = client.verify(client.expect(**given))
    assert found["status"] == "deviation", "names of another server"
    assert "names localhost, 127.0.0.1, db1.example.com, db9.example.com" in found["reason"]


def test_a_server_that_is_no_part_of_the_run_is_not_proven_and_the_row_says_so(client: Checker, db1: Node) -> None:
    unknown, other = {"server": "db1", "names": db1.names}, {**db1.known, "server": "db2", "serial": "77"}
    found, shared = client.verify(client.expect(certificates=[unknown]), client.expect(certificates=[other, unknown]))
    for one in (found, shared):
        assert (one["status"], one["answered_by"]) == ("ok", "")
        assert one["note"] == "which server answered is not known: db1 was not part of this run"


def test_replication_connections_show_their_server_too(client: Checker, alias: Relay, nodes: list[Node]) -> None:
    for node in nodes:
        node.cluster.psql("ALTER ROLE app REPLICATION")
        node.cluster.hba("hostssl replication app all cert")
        node.cluster.reload()
    alias.moves_after = 1
    given = {"replication": True, "database": "replication"}
    found = client.verify(*[by_alias(client, alias, nodes, **given)] * 2)
    assert [(one["status"], one["answered_by"]) for one in found] == [("ok", "db1"), ("ok", "db2")]


def with_password(client: Checker, node: Node, rule: str) -> list[dict[str, Any]]:
    """Connect to a node with this rule, and be refused without a certificate."""
    node.cluster.hba(rule, "host all all all reject")
    node.cluster.reload()
    given = {"certificates": [node.known], "asks_for_password": True}
    kinds = ("plaintext", "no_certificate", "foreign_certificate", "wrong_name", "foreign_root")
    refusals = [client.refuse(kind, **given) for kind in kinds]
    another = client.refuse("another_role", role="other", certificate_role="app", **given)
    return client.verify(client.expect(**given), *refusals, another)


PASSWORD_AND_CERTIFICATE = "hostssl all all all scram-sha-256 clientcert=verify-full"


def test_up_to_the_password_prompt_everything_is_verified_without_a_password(client: Checker, db1: Node) -> None:
    accepted, *refused = with_password(client, db1, PASSWORD_AND_CERTIFICATE)
    assert (accepted["status"], accepted["answered_by"]) == ("prompt", "db1"), accepted
    assert accepted["reason"].startswith("up to the password prompt: the server took the certificate")
    assert [one["status"] for one in refused] == ["ok"] * 6, refused
    db1.cluster.psql("SET password_encryption = 'scram-sha-256'; ALTER ROLE app PASSWORD 'sesame'")
    client.give(client.home / ".pgpass", b"*:*:*:app:sesame\n")
    accepted, *refused = with_password(client, db1, PASSWORD_AND_CERTIFICATE)
    assert (accepted["status"], accepted["answered_by"]) == ("ok", "db1"), "the whole login"
    assert [one["status"] for one in refused] == ["ok"] * 6, refused


def test_a_prompt_counts_where_rules_may_ask_and_demand_a_certificate_alone(client: Checker, db1: Node) -> None:
    accepted, *_refused = with_password(client, db1, "hostssl all all all scram-sha-256")
    assert accepted["status"] == "deviation"
    assert (
        "no password supplied. The server asks for a password, and did not show that it requires a certificate"
        in (accepted["reason"])
    )
    db1.cluster.hba(PASSWORD_AND_CERTIFICATE)
    db1.cluster.reload()
    accepted, _refused = client.verify(client.expect(), client.refuse("no_certificate"))
    assert accepted["status"] == "deviation"
