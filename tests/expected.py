# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections that an inventory promises and rules out, as client hosts try them."""

from __future__ import annotations

from typing import Any, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils import client_identities, expectations, fleet
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph


def from_inventory(
    servers: list[dict[str, Any]],
    identities: list[dict[str, Any]],
    *,
    clients: Sequence[dict[str, Any]] = (),
    before: Sequence[dict[str, Any]] = (),
    here: dict[str, Any] | None = None,
    hosts: Sequence[str] = (),
    groups: dict[str, list[str]] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return what a client host tries after those ``before`` it; ``clients`` are the others of the inventory."""
    graph = Graph(groups or {"postgres_servers": [one["inventory_hostname"] for one in servers]})
    own = {"postgres_client_identities": identities, **(here or {})}
    planner = expectations.planner(servers, [own, *clients], hosts, graph, "postgres")
    found: list[dict[str, Any]] = []
    for one in [*before, own]:
        given = options if one is own else {"refused": one.get("postgres_verify_refusals", REFUSALS)}
        who = client_identities.identities_of(one.get("postgres_client_identities", ()), "postgres", graph)
        found = planner.plan(expectations.ClientHost(who, fleet.host_of(one), **given))
    return found
