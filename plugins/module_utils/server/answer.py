# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module server says of a call: what was done, how the server replicates, and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.deployment import outcome as outcomes
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.patroni import told as patroni
    from ansible_collections.pgops.tls.plugins.module_utils.replication import server as replication
    from ansible_collections.pgops.tls.plugins.module_utils.server import difference
else:
    patroni = lazy_import("patroni.told")
    replication = lazy_import("replication.server")
    difference = lazy_import("server.difference")


def of(outcome: Outcome, given: Mapping[str, Any], now: int, *, check_mode: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the result for an outcome, and warnings.

    ``given`` are the module's options, ``now`` is in Unix seconds. Raises TlsError.
    """
    facts, warnings = _facts(outcome), list(outcome.warnings)
    if outcome.state.replication is not None:
        facts["replication"], found = replication.told(outcome.state, now)
        warnings += found
    if outcome.patroni is not None or given["patroni_api"]:
        where = outcome.state.value("data_directory")
        names = _names(outcome) if given["state"] == "present" else None
        facts["patroni"], found = patroni.told(given, outcome.patroni, where, names, now, check_mode=check_mode)
        is_standby = (outcome.state.replication or {}).get("is_standby", False)
        facts["patroni"]["is_leader"] = not is_standby
        warnings += found
    return facts, warnings


def _names(outcome: Outcome) -> Sequence[Name] | None:
    """Return the names of the certificate that the server has, or is about to get; None if nobody knows them yet."""
    if outcome.target.existing or outcome.target.spec.roots:  # whoever renews it may add names
        return outcome.leaf.names if outcome.leaf else None
    return outcome.target.names


def _facts(outcome: Outcome) -> dict[str, Any]:
    """Return what a transaction did."""
    leaf = outcome.leaf
    facts: dict[str, Any] = {
        "changed": bool(outcome.changes),
        "changes": outcome.changes,
        # nobody is to be asked for a certificate that others renew
        "reasons": [] if outcome.target.existing else outcome.plan.reasons,
        "server_version": outcome.state.version,
        "system_identifier": outcome.state.system_identifier,
        # a call that only asks changes nothing live: the difference is shown by the call that installs
        "diff": []
        if outcome.request is not None or not outcome.changes
        else difference.of_plan(outcome.plan, outcome.target, outcome.leaf_before, outcome.ssl_conf_before),
    }
    missing = [one for one in outcome.target.databases if one not in outcome.state.databases]
    if missing:
        facts["missing_databases"] = missing
    if outcome.target.still_trusted:
        facts["still_trusted"] = list(outcome.target.still_trusted)
    if outcome.target.groups_left_out:
        facts["groups_left_out"] = outcome.target.groups_left_out
    if outcome.next_run is not None:
        facts["next_run"] = outcome.next_run
    if outcome.request is not None:
        facts["request"] = outcome.request
    if leaf is not None:
        facts["certificate"] = outcomes.fact(leaf)
    return facts
