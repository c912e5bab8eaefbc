# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one Patroni: find it, lock its directories, run a transaction, and report the outcome."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, account_of
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import refuse_without_roots
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_outcome, service
from ansible_collections.pgops.tls.plugins.module_utils.patroni import process
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, state
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Outcome, Transaction

_LOOK = """
    SELECT json_build_object(
      'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
      'data_directory', current_setting('data_directory'))"""


class Node(NamedTuple):
    """A Patroni (None: none runs) and the OS user of its server."""

    patroni: Patroni | None
    account: Account


def locate(options: Mapping[str, Any]) -> Node:
    """Find the Patroni of the server that the options of a module name. Raises TlsError."""
    administrator = psql.locate(options["port"], options["login_unix_socket"], options["login_user"])
    found = state.as_superuser(administrator, _LOOK)["data_directory"]
    return node_at(found)


def node_at(data_directory: str) -> Node:
    """Find the Patroni of the server with this data directory. Raises OSError, TlsError."""
    account = account_of(os.stat(data_directory).st_uid)
    with acting_as(account):  # in a container root may lack the right to look at processes of others
        return Node(process.find(account.uid, data_directory), account)


def converge(
    target: Target,
    node: Node,
    now: int,
    controller_time: float,
    *,
    check_mode: bool,
    kind: type[Transaction] = Transaction,
) -> Outcome:
    """Bring a REST API to its target, or say what it needs. ``now`` and ``controller_time`` are Unix seconds.

    Raises TlsError with the reason; then nothing was changed, or every change was undone.
    """
    clock.refuse_skew(now, controller_time)
    refuse_without_roots({"roots": target.pair.roots, "trusted_clients": target.pair.trusted_clients}, now)
    with service.explained(target.pair.directory, Transaction.program, lambda: False):
        if node.patroni is None:
            raise TlsError(
                "No Patroni runs this server: none of its OS user's processes has a configuration file with this data "
                "directory. Nothing was changed.",
                remedy="Start Patroni. If this server has none, leave it out.",
                code="patroni_not_running",
            )
        with _held(target.pair.directory, node.account, check_mode=check_mode):
            return kind(target, node.patroni, node.account, now).run(check_mode=check_mode)


@contextlib.contextmanager
def _held(path: str, account: Account, *, check_mode: bool) -> Iterator[None]:
    """Hold the server's directory, too: a change of the server's rules also writes patroni.yml."""
    above = directory.held(os.path.dirname(path), account, check_mode=check_mode)
    with above, directory.held(path, account, check_mode=check_mode):
        yield


def result(outcome: Outcome) -> dict[str, Any]:
    """Return the module's result for what a transaction did."""
    has_trust = bool((former.read(outcome.found.generation) or former.Former({})).trust)
    return {**pair_outcome.result(outcome), "has_former_trust": has_trust}
