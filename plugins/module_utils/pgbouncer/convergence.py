# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one PgBouncer: find it, lock its directory, run a transaction, and report the outcome."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import console, recovery
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import Target, refuse_without_roots
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


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
    refuse_without_roots(target, now)
    try:
        place = console.locate(port, socket_directory)
        held = directory.held(target.directory, place.account, check_mode=check_mode, service=recovery.SERVICE)
        with held, contextlib.closing(console.Console(place)) as session:
            return _run(kind(target, session, now), check_mode=check_mode)
    except OSError as error:
        raise _unchanged(error, target) from error
    except console.PoolerUnreachableError as error:
        if check_mode or not recovery.of_files(target.directory, target.config_file):
            raise
        raise TlsError(
            f"{error.message} An interrupted run had left its changes in its files; they were undone.",
            remedy="Start it, then rerun.",
            code=error.code,
            changed=True,
        ) from error


def _run(made: Transaction, *, check_mode: bool) -> Outcome:
    """Run a transaction. Its errors also say whether it first undid what an interrupted run left."""
    try:
        return made.run(check_mode=check_mode)
    except (TlsError, OSError) as error:
        if not made.has_recovered:
            raise
        explained = error if isinstance(error, TlsError) else _unchanged(error, made.target)
        undone = "Before that, the transaction of an interrupted run was undone."
        raise TlsError(
            f"{explained.message} {undone}", code=explained.code, **{**explained.details, "changed": True}
        ) from error


def _unchanged(error: OSError, target: Target) -> TlsError:
    return TlsError(
        f"{error.filename or target.directory}: {error.strerror or error}. Nothing was changed.",
        remedy="Fix that (permissions, space, kind of file), then rerun.",
        code="system_error",
    )


def result(outcome: Outcome) -> dict[str, Any]:
    """Return the module's result for what a transaction did."""
    reasons = outcome.plan.reasons
    facts: dict[str, Any] = {
        "changed": bool(outcome.changes),
        "changes": list(outcome.changes),
        "reasons": [f"{name}: {why}" for name, whys in reasons.items() for why in whys],
        "pgbouncer_version": ".".join(map(str, outcome.version)),
        "requests": [
            {"id": name, "csr": csr, "reasons": list(reasons[name])} for name, csr in outcome.requests.items()
        ],
        "certificates": {name: _fact(leaf) for name, leaf in outcome.after.items()},
    }
    if outcome.next_run is not None:
        facts["next_run"] = list(outcome.next_run)
    return facts


def _fact(leaf: Certificate) -> dict[str, Any]:
    return {
        "serial": f"{leaf.serial:x}",
        "not_before": clock.instant(leaf.not_before),
        "not_after": clock.instant(leaf.not_after),
        "sha256": leaf.sha256,
        "pem": leaf.pem,
        "names": [name.value for name in leaf.names],
        "common_name": leaf.common_name,
    }
