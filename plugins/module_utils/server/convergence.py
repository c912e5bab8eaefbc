# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one server: find it, lock its directory, run a transaction, and report the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target, refuse_without_roots
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.server import recovery
else:
    recovery = lazy_import("server.recovery")


class Login(NamedTuple):
    """How to reach the server: its port, and the socket directory and role if they are not the usual ones."""

    port: int
    socket_directory: str | None
    role: str | None


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


def converge(
    target: Target,
    login: Login,
    now: int,
    controller_time: float,
    *,
    check_mode: bool,
    kind: type[Transaction] = Transaction,
) -> Outcome:
    """Bring a server to its target, or say what it needs. ``now`` and ``controller_time`` are Unix seconds.

    ``kind`` is the transaction to make. Raises TlsError with the reason; then nothing was changed, or every change was
    undone.
    """
    clock.refuse_skew(now, controller_time)
    refuse_without_roots(target, now)
    administrator = None
    try:
        administrator = psql.locate(login.port, login.socket_directory, login.role)
        with directory.held(target.directory, administrator.account, check_mode=check_mode):
            return _run(kind(target, administrator, now), check_mode=check_mode)
    except OSError as error:
        raise _unchanged(error, target) from error
    except psql.UnreachableError as error:
        if check_mode or not recovery.of_files(target.directory, administrator):
            raise
        raise TlsError(
            f"{error.message} An interrupted run had left its changes in the files of this server; they were undone.",
            remedy="Start the server, then rerun.",
            code=error.code,
            changed=True,
        ) from error
