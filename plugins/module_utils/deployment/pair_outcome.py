# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is reported of a program that is server and client at once."""

from __future__ import annotations

from typing import Any, Generic, Sequence, TypeVar

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.deployment import outcome as outcomes
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done, F, P

T = TypeVar("T", bound=Any)  # what is declared: its ``pair``, and what else there is


class Outcome(Generic[P, F, T]):
    """What a call did or, in check mode, would do: see ``service.Done``; why, and what was found and declared."""

    def __init__(self, plan: P, found: F, done: Done, target: T, warnings: Sequence[str]) -> None:
        self.plan = plan
        self.found = found
        self.changes, self.requests, self.before, self.after, self.next_run = done
        self.target = target
        self.warnings = warnings


def result(outcome: Outcome[Any, Any, Any]) -> dict[str, Any]:
    """Return the module's result: what changes, reasons, requests, and the certificates in use."""
    why = outcome.plan.reasons
    facts = {
        "changed": bool(outcome.changes),
        "changes": list(outcome.changes),
        "reasons": [f"{name}: {one}" for name, ones in why.items() for one in ones],
        "requests": [{"id": name, "csr": csr, "reasons": list(why[name])} for name, csr in outcome.requests.items()],
        "certificates": {
            one.name: {
                **outcomes.fact(leaf),
                "common_name": leaf.common_name,
                "renewal": clock.instant(due.due_at(leaf, one.spec)),
            }
            for one in outcome.target.pair.credentials
            for leaf in [outcome.after.get(one.name)]
            if leaf is not None
        },
    }
    return facts if outcome.next_run is None else {**facts, "next_run": list(outcome.next_run)}


def described(outcome: Outcome[Any, Any, Any]) -> list[tuple[str, str, str]]:
    """Return for ``--diff`` each certificate's file, and what it was and is, in a few lines."""
    found = []
    for one in outcome.target.pair.credentials:
        coming = outcomes.described(outcome.after.get(one.name))
        if one.name in outcome.requests:
            coming = f"to be issued, because: {', '.join(outcome.plan.reasons[one.name])}\n"
        found.append((one.certificate, outcomes.described(outcome.before.get(one.name)), coming))
    return found
