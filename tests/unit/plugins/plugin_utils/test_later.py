# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that a later run brings: who waits, what is not tried, and what the run says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import expectations, gaps, later, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

CERTIFICATE = {"serial": "5ac6", "not_before": "2026-11-20T02:05:00Z"}
WAITS = {"postgres_server_converged": {"reasons": ["no_certificate"], "request": "CSR", "certificate": None}}
RENEWS = {"postgres_server_converged": {"reasons": ["expires_in_3d"], "request": "CSR", "certificate": CERTIFICATE}}
INSTALLED = {**WAITS, "postgres_server_installed": {"changed": True, "certificate": CERTIFICATE}}
ASKS_AGAIN = {**RENEWS, "postgres_server_installed": {"request": "CSR", "certificate": CERTIFICATE}}
CLIENT = {
    "postgres_client_identities": [{"role": "app", "os_user": "www"}, {"role": "job", "os_user": "www"}],
    "postgres_client_converged": {"requests": [], "identities": []},
}
GROUPS = {"postgres_servers": ["db1", "db2"], "postgres_clients": ["app1"]}


@pytest.mark.parametrize(
    ("variables", "is_waiting", "is_ready", "has_none"),
    [
        (WAITS, True, False, True),
        (RENEWS, True, False, False),
        (INSTALLED, False, True, False),
        (ASKS_AGAIN, True, False, False),
        ({**WAITS, "postgres_server_failed": "refused"}, False, False, False),
        ({"postgres_server_converged": {"reasons": ["no_certificate"]}}, False, True, False),
        ({}, False, False, False),
    ],
    ids=["first", "renewal", "installed", "asks again", "failed", "check mode", "no result"],
)
def test_a_server_waits_if_it_asked_and_nothing_came(
    variables: dict[str, Any], is_waiting: bool, is_ready: bool, has_none: bool
) -> None:
    assert results.is_waiting(variables, "server") is is_waiting
    assert results.is_ready(variables) is is_ready
    known = variables.get("postgres_server_converged", {}).get("certificate") or {}
    assert later.has_none(variables, "server", known) is has_none


def test_identities_wait_each_for_its_own() -> None:
    asked = [{"id": "www/app", "csr": "CSR"}, {"id": "www/job", "csr": "CSR"}]
    converged = {"requests": asked, "identities": [{"id": "www/app", "serial": None}, {"id": "www/job", "serial": "1"}]}
    assert later.identities({"postgres_client_converged": converged}) == {"www/app"}
    came = {"identities": [{"id": "www/app", "serial": "2"}, {"id": "www/job", "serial": "1"}], "changed": True}
    assert later.identities({"postgres_client_converged": converged, "postgres_client_installed": came}) == frozenset()
    assert later.identities({"postgres_client_converged": {**converged, "requests": []}}) == frozenset()


def checks(db1: dict[str, Any], without: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    servers = [{"inventory_hostname": "db1", **db1}, {"inventory_hostname": "db2", **INSTALLED}]
    client = {"inventory_hostname": "app1", **CLIENT}
    planner = expectations.planner(servers, [client], [], Graph(GROUPS), "postgres")
    identities = expectations.identities_of(CLIENT["postgres_client_identities"], "postgres", Graph(GROUPS))
    return planner.plan(expectations.ClientHost(identities, expectations.host_of(client), without=without))


def test_a_server_without_a_certificate_is_named_and_not_tried() -> None:
    found = [one for one in checks(WAITS) if "db1" in (one["server"], one["host"])]
    assert {one.get("skip") for one in found} == {later.NO_SERVER}
    assert any("skip" not in one for one in checks(WAITS)), "the other server is tried"
    assert all("skip" not in one for one in checks(RENEWS)), "a renewal that waits changes nothing"


def test_an_identity_without_a_certificate_is_named_and_not_tried() -> None:
    found = checks(INSTALLED, frozenset(["www/app"]))
    own = [one for one in found if one["role"] == "app" and one["expect"] == "accepted"]
    assert {one.get("skip") for one in own} == {later.NO_CLIENT}
    assert any(one["role"] == "job" and "skip" not in one for one in found)


def test_the_summary_says_what_to_have_signed() -> None:
    texts = {f"db{number:02}": f"/srv/db{number:02}.csr waits" for number in range(12)}
    hostvars = {"db1": {"postgres_ca_waiting": texts}, "app1": {"postgres_ca_waiting": texts}, "app2": {}}
    lines = later.lines(hostvars, hostvars)
    assert lines[0] == "Certificates that wait to be signed: 12. Their hosts go on as they are."
    assert lines[1] == "db00: /srv/db00.csr waits"
    what_to_do = "Have them signed, put each certificate beside its .csr file if it has one, then rerun."
    assert lines[-2:] == ["and 2 more", what_to_do]
    assert later.lines({"app2": {}}, ["app2"]) == []


def test_nothing_verified_says_why() -> None:
    reasons = [{"status": "skipped", "reason": later.NO_SERVER, "servers": ["db1"]}]
    client = {"postgres_client_identities": [{"role": "app"}], "postgres_verify_result": {"checks": reasons}}
    hostvars = {"db1": {}, "db2": {}, "app1": client}
    (line,) = gaps.nothing_verified(hostvars, GROUPS, [], is_tried=True)
    assert line == "WARNING: no connection was verified: each one needs a certificate that comes in a later run."
    reasons.append({"status": "skipped", "reason": "only db1 itself can try it", "servers": ["db1"]})
    (line,) = gaps.nothing_verified(hostvars, GROUPS, [], is_tried=True)
    assert "verified: each one that can be tried needs a certificate that comes in a later run." in line
