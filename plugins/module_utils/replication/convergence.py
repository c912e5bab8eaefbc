# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call for one server: what it replicates from others gets its certificate in use, by new connections."""

from __future__ import annotations

import os
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, LISTS, TRUST, Home
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import at_home, name_of
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql, state
from ansible_collections.pgops.tls.plugins.module_utils.replication import (
    findings,
    look,
    others,
    plan,
    slot_sync,
    trial,
)
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import Connection
from ansible_collections.pgops.tls.plugins.module_utils.replication.reconnecting import Reconnecting
from ansible_collections.pgops.tls.plugins.module_utils.server.interference import refuse_foreign_paths

_LOOK = """
    SELECT json_build_object(
      'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
      'written', (
        SELECT json_build_object('file', sourcefile, 'line', sourceline, 'config_file', current_setting('config_file'),
                 'data_directory', current_setting('data_directory'))
          FROM pg_settings WHERE name = 'primary_conninfo'),
      'syncs_slots', coalesce(current_setting('sync_replication_slots', true) = 'on', false),
      'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
      'replication', REPLICATION)"""


class Outcome(NamedTuple):
    """What a call did or, in check mode, would do, and the facts about replication afterwards (None: there is none)."""

    changes: Sequence[str]
    replication: Mapping[str, Any] | None
    warnings: Sequence[str] = ()


def converge(options: Mapping[str, Any], now: int, *, check_mode: bool) -> Outcome:
    """Bring the connections of a server to what is declared. ``now`` is in Unix seconds.

    Raises TlsError with the reason; then what the connection uses is as before.
    """
    administrator = psql.locate(options["port"], options["login_unix_socket"], options["login_user"])
    found = _asked(administrator)
    connections = _connections(found, administrator.account)
    if not connections:
        return Outcome([], None)
    identity = plan.identity_of(options["identities"], options["role"], administrator.account.name)
    files, is_there = _files(identity, administrator.account)
    steps = plan.steps(connections, options["role"], files)
    warnings = _of_others(found, administrator) if any(step.is_new for step in steps) else []
    slots = slot_sync.SlotSync(administrator, is_on=found["syncs_slots"])
    for step in steps if is_there else ():
        trial.refuse_broken(step, administrator, found["system_identifier"])
        warnings += slots.try_with(step)
    if steps and not check_mode:
        _refuse_without_files(files, is_there=is_there)
        reconnecting = Reconnecting(administrator)
        for step in steps:
            reconnecting.make(step)
        slots.reconnect()
        found = _asked(administrator)
        connections = _connections(found, administrator.account)
    facts = findings.result(found["replication"], connections, administrator.account.name, now)
    return Outcome([step.change for step in steps], facts, warnings)


def _asked(administrator: psql.Administrator) -> dict[str, Any]:
    """Return what the server says. Raises TlsError for a role that sees too little, and a server in a container."""
    found = state.as_superuser(administrator, _LOOK.replace("REPLICATION", state.REPLICATION))
    with acting_as(administrator.account):
        refuse_foreign_paths(found["written"]["data_directory"], administrator)
    return found


def _of_others(found: Mapping[str, Any], administrator: psql.Administrator) -> list[str]:
    with acting_as(administrator.account):
        others.refuse(found["written"])
    return others.warnings(found["written"])


def _connections(found: Mapping[str, Any], account: Account) -> list[Connection]:
    return look.connections(found["replication"], account) if found["replication"] else []


def _files(identity: Mapping[str, Any], account: Account) -> tuple[plan.Files, bool]:
    """Return the files of an identity, and whether they are there: lists of revoked certificates may be missing."""
    home, name = Home(at_home(account, str(identity.get("home") or ""))), name_of(identity)
    with acting_as(account):
        lists = home.current(LISTS)
        files = plan.Files(
            certificate=home.current(name, CERTIFICATE),
            key=home.current(name, KEY),
            root=home.current(TRUST),
            lists=lists if os.path.exists(lists) else "",
        )
        return files, all(map(os.path.isfile, (files.certificate, files.key, files.root)))


def _refuse_without_files(files: plan.Files, *, is_there: bool) -> None:
    if not is_there:
        raise TlsError(
            f"{files.certificate}: there is no certificate yet for the connections of this server, or no key or root "
            "beside it. Nothing was changed.",
            remedy="Set up the identity first (module client), then rerun.",
            code="replication_files_missing",
        )
