# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module server does for the REST API of the Patroni that runs its server: it asks, and changes nothing there.

Changes are made by module patroni, one member of a cluster after the other. Asking here costs no other execution.
"""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done
from ansible_collections.pgops.tls.plugins.module_utils.restapi import convergence, target
from ansible_collections.pgops.tls.plugins.module_utils.restapi.convergence import Node
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, refuse_private_key


class Asking(Transaction):
    """Says what is due, and makes keys and requests for it."""

    def _apply(self, plan: Plan, found: Found) -> Mapping[str, Certificate]:  # noqa: ARG002 (the next call does it)
        return self._leaves(found.generation)

    def _tidy(self) -> None:
        """Leave keys that wait: their certificates are still to come."""


class Recovering(Transaction):
    """Undoes what an interrupted run left, and nothing else."""

    def _run(self, *, check_mode: bool) -> Outcome:
        recovered = self._recover(check_mode=check_mode)
        return self._outcome(self.stays, self._found(), Done(recovered, {}, {}, {}, None))


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of module server as those of module patroni."""
    return {
        **given,
        "server_issuing": given["issuing"],
        "server_revoked": given["revoked"],
        "trusted_clients": given["patroni_trusted_clients"],
        "client_issuing": given["patroni_issuing"],
        "client_revoked": given["patroni_revoked"],
        "certificates": {},
        "ends_former_trust": False,
    }


def recovered_first(given: Mapping[str, Any], now: int, *, check_mode: bool) -> list[str]:
    """Undo what an interrupted run left in patroni.yml before the server's rules change it. Raises TlsError."""
    for name in ("patroni_trusted_clients", "patroni_issuing"):  # which the target has by other names
        refuse_private_key(given[name], name)
    wanted = target.read(options_of(given))
    if check_mode or not os.path.exists(f"{wanted.pair.directory}/journal.json"):
        return []
    node = convergence.locate(given)
    outcome = convergence.converge(wanted, node, now, given["controller_time"], check_mode=check_mode, kind=Recovering)
    return list(outcome.changes)


def asked(
    given: Mapping[str, Any], node: Node, now: int, *, check_mode: bool
) -> tuple[dict[str, Any], list[str], Found | None]:
    """Return what is due as facts, warnings, and what was found.

    What stops a change is a fact, too: the server is not to fail because of it.
    """
    try:
        wanted = target.read(options_of(given))
        outcome = convergence.converge(wanted, node, now, given["controller_time"], check_mode=check_mode, kind=Asking)
    except TlsError as error:
        return {"due": True, "refusal": error.message, "code": error.code}, [], None
    result, found = convergence.result(outcome), outcome.found
    is_adopted = found.settings.restapi.get("certfile") == wanted.values["restapi"]["certfile"]
    return {"due": result.pop("changed"), "is_adopted": is_adopted, **result}, list(outcome.warnings), found
