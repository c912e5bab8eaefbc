# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one PgBouncer: find it, lock its directory, run a transaction, and report the outcome."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, directory
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import refuse_without_roots
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome, service
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import console
from ansible_collections.pgops.tls.plugins.module_utils.pooler import look
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Outcome, Transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.deployment import recovery
else:
    recovery = lazy_import("deployment.recovery")

_WHAT = "pooler"  # what messages call what the OS user runs


def converge(
    target: Target,
    port: int,
    socket_directory: str | None,
    now: int,
    controller_time: float,
    *,
    check_mode: bool,
    kind: type[Transaction] = Transaction,
) -> Outcome:
    """Bring a PgBouncer to its target, or say what it needs. ``now`` and ``controller_time`` are Unix seconds.

    Raises TlsError with the reason; then nothing was changed, or every change was undone.
    """
    clock.refuse_skew(now, controller_time)
    refuse_without_roots({"roots": target.pair.roots, "trusted_clients": target.pair.trusted_clients}, now)

    def undone() -> bool:
        return not check_mode and recovery.of_files(
            target.pair.directory, lambda owner: look.config_file(target.config_file, owner).rooted, service=_WHAT
        )

    with service.explained(target.pair.directory, Transaction.program, undone):
        place = console.locate(port, socket_directory)
        held = directory.held(target.pair.directory, place.account, check_mode=check_mode, service=_WHAT)
        with held, contextlib.closing(console.Console(place)) as session:
            return kind(target, session, now).run(check_mode=check_mode)


def result(outcome: Outcome) -> dict[str, Any]:
    """Return the module's result for what a transaction did."""
    return {**pair_outcome.result(outcome), "pgbouncer_version": ".".join(map(str, outcome.found.version))}
