# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kits as the inventory declares them: what is wrong with them, where they reach servers, what runs know of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    consequences,
    endpoints,
    fleet,
    holders,
    identity_rules,
    kinds,
    kits,
    moves,
    results,
    serials,
    waiting,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph
from ansible_collections.pgops.tls.tests.shared import NOW

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1"], "postgres_poolers": ["pool1"]}
ANNA = {
    "name": "anna",
    "role": "reporting",
    "servers": ["db1"],
    "databases": ["shop"],
    "directory": "/srv/kits",
    "password": "correct horse battery",
}


@pytest.fixture(scope="module")
def roots() -> str:
    return issuing.new_authority("server", "P-256", NOW).root.pem


def hostvars(*declared: dict[str, Any], **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables of a fleet with these kits."""
    names = {host: {"inventory_hostname": host, **changes.get(host, {})} for host in ("db1", "db2", "app1", "pool1")}
    return {host: {**own, kits.VARIABLE: list(declared)} for host, own in names.items()}


def problems(**changes: Any) -> list[str]:
    fleet_ = hostvars(
        {**ANNA, **{key: value for key, value in changes.items() if value is not None}},
        db2={"postgres_server_client_authority": "billing"},
    )
    return kits.problems(kits.declared(fleet_, GROUPS), Graph(GROUPS), Trust.of_fleet(fleet_, GROUPS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "postgres_ca_kits[0].name: found 'a/b'"),
        ({"role": "a\nb"}, "postgres_ca_kits[0].role: 'a\\nb' has control characters"),
        ({"directory": "kits"}, "postgres_ca_kits[0].directory: found 'kits', expected the absolute path"),
        ({"password": ""}, "postgres_ca_kits[0].password: expected a password, found none"),
        ({"password": "short"}, "postgres_ca_kits[0].password: found 5 characters"),
        ({"csr": "x"}, "postgres_ca_kits[0].password: found a password beside csr"),
        ({"servers": ["db3"]}, "postgres_ca_kits[0].servers: 'db3' is no group or host"),
        ({"servers": ["app1"]}, "postgres_ca_kits[0].servers: 'app1' has no host in group"),
        ({"servers": ["db1", "db2"]}, "postgres_ca_kits[0].servers: the servers of identity kit:anna/reporting trust"),
        ({"address": "self"}, "postgres_ca_kits[0].address: found self, expected addresses"),
        ({"address": "here"}, "postgres_ca_kits[0].address: found 'here'"),
        ({"fetched": "no number"}, "postgres_ca_kits[0].fetched: found 'no number', expected a list of serial"),
    ],
)
def test_a_kit_that_cannot_be_is_named(changes: dict[str, Any], message: str) -> None:
    (found,) = problems(**changes)
    assert found.startswith(message)
    assert "correct horse" not in found


def test_a_kit_that_can_be_has_no_problem_and_two_of_one_name_have() -> None:
    assert problems() == []
    assert problems(fetched="2C5A", address=["192.0.2.0/24"]) == []
    (found,) = kits.problems([ANNA, ANNA], Graph(GROUPS), Trust("client", {}, GROUPS))
    assert found.startswith("postgres_ca_kits[1].name: anna is the name of an earlier kit")


def known(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the result of action known_servers."""
    own = [fleet.server_of(one) for host, one in hostvars(**changes).items() if host in GROUPS["postgres_servers"]]
    texts = endpoints.endpoints(own, [fleet.Host("app1")]).as_texts()
    return {"authority": "client", "authorities": {"db2": "billing"}, **texts}


def test_the_module_gets_authority_and_endpoints_and_nothing_of_the_inventory() -> None:
    named = {"postgres_server_names": ["db1.example.com"], "postgres_server_port": 5433}
    (found,) = kits.as_module([{**ANNA, "address": "192.0.2.0/24", "fetched": "1f"}], known(db1=named), GROUPS)
    assert found == {
        "name": "anna",
        "role": "reporting",
        "directory": "/srv/kits",
        "password": "correct horse battery",
        "databases": ["shop"],
        "authority": "client",
        "endpoints": [{"server": "db1", "host": "db1.example.com", "port": 5433}],
    }
    (found,) = kits.as_module([{**ANNA, "servers": ["db2"]}], known(), GROUPS)
    assert found["authority"] == "billing"


def test_a_server_that_only_hosts_of_the_inventory_reach_is_no_use() -> None:
    inside = {"postgres_server_names": [{"name": "db1.internal", "from": ["app1"]}]}
    with pytest.raises(TlsError, match=r"postgres_ca_kits\[0\].servers: no server has a name"):
        kits.as_module([ANNA], known(db1=inside), GROUPS)


def test_default_rules_let_the_role_of_a_kit_in_where_it_connects_from() -> None:
    found = identity_rules.access(hostvars({**ANNA, "address": "192.0.2.0/24"}), GROUPS)
    assert [one for one in found["db1"]["rules"] if one["method"] == "cert"] == [
        {"database": ["shop"], "user": "reporting", "address": "192.0.2.0/24", "method": "cert"}
    ]
    assert found["db2"]["rules"] == []
    assert "correct horse" not in str(found)
    assert identity_rules.access(hostvars(ANNA), GROUPS, ["app1"])["db1"]["rules"] == [], "asked for a host alone"


def test_rules_of_the_inventory_must_let_a_kit_in() -> None:
    found = identity_rules.access(hostvars(ANNA, db1={"postgres_server_hba": []}), GROUPS)
    assert [one["role"] for one in found["db1"]["must_get_in"]] == ["reporting"]


def test_a_kit_goes_through_poolers_as_an_identity_does() -> None:
    behind = {"postgres_pooler_servers": ["db1"], "ansible_host": "192.0.2.9"}
    found = identity_rules.access(hostvars({**ANNA, "servers": ["pool1"]}, pool1=behind), GROUPS)
    assert [one["pooler"] for one in found["db1"]["clients"]] == ["pgbouncer"]


def test_what_the_inventory_gives_to_a_kit_cannot_be_revoked() -> None:
    found = holders.of_fleet({}, lambda _host, _role: {}, Trust("client", {}, GROUPS), [ANNA])
    assert set(found) == {("role", "reporting", ""), ("role", "reporting", "client"), ("host", "kit:anna", "")}


def test_only_what_its_holder_has_told_counts_as_seen() -> None:
    assert "kit:anna" in kinds.ids(hostvars(ANNA), GROUPS)
    assert list(kinds.certificates(hostvars(ANNA), GROUPS, results.last)) == []
    told = hostvars({**ANNA, "fetched": "01F"})
    assert list(kinds.certificates(told, GROUPS, results.last)) == [("client", "kit:anna", {"serial": "1f"})]
    assert {"authority": "client", "id": "kit:anna", "serial": "1f"} in serials.certificates_in_use(told, GROUPS)
    assert serials.unrecorded(told, GROUPS, {"client": []}) == [], "a number is no certificate"


def test_nobody_says_that_a_session_of_a_kit_is_on_an_old_certificate() -> None:
    identity = [{"role": "reporting", "os_user": "web"}]
    app = {
        "postgres_client_identities": identity,
        "postgres_client_converged": {"identities": [{"id": "web/reporting", "role": "reporting", "serial": "5"}]},
    }
    without = serials.client_serials(hostvars(app1=app), GROUPS)
    assert without["db1"] == without["db2"] == {"reporting": ["5"]}
    found = serials.client_serials(hostvars(ANNA, app1=app), GROUPS)
    assert (found["db1"], found["db2"]) == ({}, {"reporting": ["5"]})


def test_a_rollover_waits_for_a_kit_until_its_holder_has_the_newest(roots: str) -> None:
    authorities = {"client": {"phase": "staged", "roots": roots, "since": "2027-01-01T00:00:00Z"}}
    awaited = [
        {"authority": "client", "id": "kit:anna", "serial": "1f", "issued": "2027-01-02", "not_after": "2027-04-02"}
    ]
    line = (
        "kit:anna: given at 2027-01-02 with serial number 1f, which ends at 2027-04-02. Its holder has not confirmed "
        "it (fetched in postgres_ca_kits)."
    )
    for one in (ANNA, {**ANNA, "fetched": "1e"}):
        assert waiting.lines(hostvars(one), GROUPS, authorities, awaited)[1] == line
    assert waiting.lines(hostvars({**ANNA, "fetched": "1F"}), GROUPS, authorities, awaited) == []


def test_a_server_keeps_its_former_trust_until_the_holder_of_a_kit_has_the_newest() -> None:
    def objections(kit: dict[str, Any], **newest: Any) -> list[str]:
        done = {"kits": [{"name": "anna", "serial": "1f", "reasons": [], **newest}]}
        server = {"postgres_server_converged": {"still_trusted": ["old"]}, "postgres_ca_kits_result": done}
        return [one.objection for one in moves.moves(hostvars(kit, db1=server), GROUPS)]

    assert objections(ANNA) == ["the holder of kit anna has not confirmed the newest one"]
    assert objections({**ANNA, "fetched": "1f"}, reasons=["issuer_changed"]) != [""]
    assert objections({**ANNA, "fetched": "1e"}) != [""]
    assert objections({**ANNA, "fetched": "1f"}) == [""]
    assert objections({**ANNA, "servers": ["db2"]}) == [""]


def test_a_dropped_root_shuts_the_holder_of_a_kit_out_until_the_next_one() -> None:
    result = {"root": "x 12", "breaks": [{"id": "kit:anna", "not_after": "2030"}], "consequence": "y"}
    assert consequences.of_drop(result, hostvars(ANNA), GROUPS)[1:-1] == [
        "kit:anna, until 2030: shut out until its holder has a new kit"
    ]


def test_the_summary_lists_kits_that_are_due_the_first_to_end_first() -> None:
    one = {"name": "anna", "role": "app", "given": "2027-01-02", "not_after": "2027-04-02", "reasons": []}
    due = {**one, "reasons": ["expires_in_29d"]}
    never = {**one, "name": "ben", "given": None, "not_after": None, "reasons": ["no_kit"]}
    assert kits.lines({}) == kits.lines({"kits": [one]}) == []
    assert kits.lines({"kits": [one, due, never]}) == [
        "Kits that are due: 2.",
        "kit ben (role app), never made: no_kit",
        "kit anna (role app), given at 2027-01-02, ends at 2027-04-02: expires_in_29d",
        "Run ansible-playbook pgops.tls.client_kit, and hand them out.",
    ]
    assert kits.lines({"kits": [due] * 20})[11] == "and 10 more"
    assert kits.lines({"failed": True, "msg": "no"}) == ["Kits: no"]


def test_the_summary_says_of_kits_that_cannot_be_made_why() -> None:
    due = {"name": "anna", "role": "app", "given": "1", "not_after": "2", "reasons": ["expires_in_25d"]}
    found = {"kits": [due, {**due, "name": "partner", "reasons": ["revoked"]}], "refused": {"partner": "its key."}}
    assert kits.lines({**found, "failed": True, "msg": "Kit partner: its key."}) == [
        "Kits that cannot be made: 1.",
        "kit partner: its key.",
        "Kits that are due: 1.",
        "kit anna (role app), given at 1, ends at 2: expires_in_25d",
        "Run ansible-playbook pgops.tls.client_kit, and hand them out.",
    ]
    assert kits.lines({**found, "kits": []}) == ["Kits that cannot be made: 1.", "kit partner: its key."]
