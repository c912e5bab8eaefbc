# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What identities with a password try, and what a run expects of them otherwise."""

from __future__ import annotations

from typing import Any, Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    client_identities,
    consequences,
    expectations,
    fleet,
    requests,
    serials,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1", "app2"]}
APP = {"role": "app", "os_user": "shop", "databases": ["shop"]}
CLERK = {"role": "clerk", "os_user": "people", "databases": ["shop"], "login": "password"}
OWNER = {"role": "owner", "os_user": "boss", "databases": ["shop"], "login": "both"}


def tried(
    *hosts: Sequence[dict[str, Any]], servers: Sequence[dict[str, Any]] = (), **options: Any
) -> list[list[dict[str, Any]]]:
    """Return what each of some client hosts tries."""
    variables = [{"inventory_hostname": name} for name in GROUPS["postgres_servers"]]
    declared = [{"postgres_client_identities": list(one)} for one in hosts]
    planner = expectations.planner(servers or variables, declared, (), Graph(GROUPS), "postgres")
    return [
        planner.plan(
            expectations.ClientHost(client_identities.identities_of(one, "", Graph(GROUPS)), fleet.Host(), **options)
        )
        for one in hosts
    ]


def kinds(found: list[dict[str, Any]], role: str) -> list[tuple[str, str]]:
    """Return server and kind of the refusals that an identity tries."""
    return [
        (one["server"], one["kind"])
        for one in found
        if one.get("certificate_role", one["role"]) == role and one["expect"] == "refused"
    ]


def test_an_identity_with_a_password_shows_no_certificate_and_must_be_asked() -> None:
    (found,) = tried([CLERK])
    assert [one["files"] for one in found if "files" in one] == ["service", "default", "service"]
    for one in found:
        assert (one["certificate"], one["needs_password"]) == ("none", True)
    (found,) = tried([APP])
    assert not [one for one in found if "certificate" in one or "needs_password" in one]


def test_it_tries_only_the_refusals_that_do_not_depend_on_a_certificate() -> None:
    (found,) = tried([CLERK])
    assert kinds(found, "clerk") == [
        ("db1", "plaintext"), ("db1", "wrong_name"), ("db1", "foreign_root"), ("db2", "plaintext"),
    ]  # fmt: skip
    (found,) = tried([CLERK], refused=["wrong_name", "another_role"])
    assert kinds(found, "clerk") == [("db1", "wrong_name")]


def test_a_foreign_certificate_is_left_to_the_first_identity_that_has_one() -> None:
    first, second = tried([CLERK, APP], [APP])
    assert [one for one in kinds(first, "app") if one[1] == "foreign_certificate"] == [
        ("db1", "foreign_certificate"), ("db2", "foreign_certificate"),
    ]  # fmt: skip
    assert not [one for one in kinds(second, "app") if one[1] == "foreign_certificate"]


def test_what_the_default_rules_decide_of_a_password_is_tried_by_one_client_host() -> None:
    first, second = tried([CLERK], [CLERK])
    assert ("db2", "plaintext") in kinds(first, "clerk")
    assert kinds(second, "clerk") == [("db1", "wrong_name"), ("db1", "foreign_root")]


def test_nobody_pretends_to_be_a_role_whose_password_is_enough() -> None:
    for hosts in ([[APP, CLERK]], [[APP], [CLERK]]):
        pretended = {one["role"] for one in tried(*hosts)[0] if one.get("kind") == "another_role"}
        assert pretended == {"postgres"}
    (found,) = tried([APP, OWNER])
    assert {one["role"] for one in found if one.get("kind") == "another_role"} == {"owner", "app"}


def test_with_both_the_certificate_counts_only_beside_its_refusal_on_every_host() -> None:
    for refused in (tuple(REFUSALS), ("plaintext",)):
        for found in tried([OWNER, APP], [OWNER], refused=refused):
            assert [one for one in kinds(found, "owner") if one[1] == "no_certificate"] == [
                ("db1", "no_certificate"), ("db2", "no_certificate"),
            ]  # fmt: skip
            own = [one for one in found if one["role"] == "owner" and one["expect"] == "accepted"]
            assert all(one["needs_password"] and "certificate" not in one for one in own)


def test_with_both_replication_has_a_refusal_of_its_own() -> None:
    for databases, expected in ((["shop", "replication"], ["replication", "shop"]), (["replication"], ["replication"])):
        (found,) = tried([{**OWNER, "databases": databases}])
        refused = [one for one in found if one.get("kind") == "no_certificate" and one["server"] == "db1"]
        assert [one["database"] for one in refused] == expected
        accepted = {one["database"] for one in found if one["expect"] == "accepted"}
        assert accepted == set(expected)


def test_an_unknown_login_is_refused_by_its_place() -> None:
    with pytest.raises(TlsError, match=r"^postgres_client_identities\[1\].login: found 'x', expected certificate"):
        client_identities.identities_of([APP, {**CLERK, "login": "x"}])


def test_a_host_gets_no_certificate_for_an_identity_with_a_password() -> None:
    asked = [{"id": "people/clerk", "csr": "x", "reasons": []}]
    with pytest.raises(TlsError, match="none of its identities with a certificate") as failure:
        requests.complete(asked, [APP, CLERK], "app1", "client")
    assert failure.value.code == "request_not_an_identity"
    assert requests.complete([{**asked[0], "id": "boss/owner"}], [OWNER], "app1", "client")[0]["role"] == "owner"


def test_an_identity_that_is_held_shows_its_certificate_and_another_one_with_its_role_does_not() -> None:
    both = [CLERK, {**CLERK, "name": "other"}]
    known = [{"id": "people/other", "role": "clerk", "is_held": True}]
    found = client_identities.as_held(client_identities.identities_of(both), known)
    assert [(one.name, one.has_certificate) for one in found] == [("clerk", False), ("other", True)]


def hostvars(*identities: dict[str, Any], **told: Any) -> dict[str, Any]:
    silent = {"app1": {"postgres_client_identities": list(identities)}, "app2": {}, "db1": {}, "db2": {}}
    if told:
        silent["app1"]["postgres_client_converged"] = told
    return silent


def test_a_role_with_a_password_has_no_serial_numbers_to_miss() -> None:
    elsewhere = {"postgres_client_identities": [{**CLERK, "login": "certificate"}]}
    converged = {"identities": [{"id": "people/clerk", "role": "clerk", "serial": "7"}]}
    found = {**hostvars(CLERK), "app2": {**elsewhere, "postgres_client_converged": converged}}
    assert serials.client_serials(found, GROUPS)["db1"] == {"clerk": ["7"]}
    found = {**hostvars({**CLERK, "login": "both"}), "app2": {**elsewhere, "postgres_client_converged": converged}}
    assert serials.client_serials(found, GROUPS)["db1"] == {}


def test_the_certificate_that_an_identity_had_stops_no_rollover_once_its_host_has_answered() -> None:
    without = {"authority": "client", "id": "app1/people/clerk", "serial": ""}
    assert serials.certificates_in_use(hostvars(APP, CLERK, identities=[]), GROUPS) == [without]
    assert serials.certificates_in_use(hostvars(APP, CLERK), GROUPS) == []
    assert serials.certificates_in_use(hostvars(APP, CLERK, unreachable=True), GROUPS) == []


def test_a_dropped_root_shuts_nobody_out_who_has_a_password() -> None:
    breaks = [{"id": f"app1/{one}", "not_after": "2030"} for one in ("shop/app", "people/clerk", "gone/gone")]
    result = {"root": "x 12", "breaks": breaks, "consequence": "y"}
    assert consequences.of_drop(result, hostvars(APP, CLERK), GROUPS)[1:-1] == [
        "app1/gone/gone, until 2030: not in the inventory, so shut out permanently",
        "app1/shop/app, until 2030: shut out until a run has reached it",
        "app1/people/clerk, until 2030: not in use, because it logs in by password",
    ]


def test_a_password_may_be_for_servers_of_different_client_authorities() -> None:
    trust = Trust("client", {"db2": "billing"}, GROUPS)
    assert trust.of(CLERK) == "client"
    with pytest.raises(TlsError, match="different client authorities"):
        trust.of(OWNER)
