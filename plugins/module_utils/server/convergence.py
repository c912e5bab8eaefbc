# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one server: find it, lock its directory, run a transaction, and report the outcome."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, directory, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import refuse_without_roots
from ansible_collections.pgops.tls.plugins.module_utils.deployment import service
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CONF
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import root_files
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
    from ansible_collections.pgops.tls.plugins.module_utils.deployment import recovery
    from ansible_collections.pgops.tls.plugins.module_utils.patroni import gate
else:
    gate = lazy_import("patroni.gate")
    recovery = lazy_import("deployment.recovery")


class Login(NamedTuple):
    """How to reach the server: its port, and the socket directory and role if they are not the usual ones."""

    port: int
    socket_directory: str | None
    role: str | None


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
    refuse_without_roots({"roots": target.roots, "trusted_clients": target.trusted_clients}, now)
    administrator: psql.Administrator | None = None
    untold: list[str] = []

    def tell(journal: Journal) -> None:
        account = processes.account_of(journal.store.owner.uid)
        untold.extend(gate.reload_readers(account, journal.originals()[1]))
        if administrator is not None:
            administrator.try_to_signal()

    def undone() -> bool:
        return not check_mode and recovery.of_files(target.directory, root_files, tell)

    _refuse_pipe(os.path.join(target.directory, "current", CONF))
    with service.explained(target.directory, "the server", undone, untold):
        administrator = psql.locate(login.port, login.socket_directory, login.role)
        with directory.held(target.directory, administrator.account, check_mode=check_mode):
            return kind(target, administrator, now).run(check_mode=check_mode)


def _refuse_pipe(path: str) -> None:
    """Raise TlsError for a pipe in place of a file that the server reads when it is asked for its settings."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise TlsError(
                f"{path}: expected a file, found a pipe. The server waits at it whenever it reads its settings. "
                "Nothing was changed.",
                remedy="Remove it, then rerun.",
                code="file_kind_wrong",
            )
