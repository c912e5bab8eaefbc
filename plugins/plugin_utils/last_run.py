# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes for the next report that a whole run of playbook site has ended without a failure."""

from __future__ import annotations

import os
from typing import Collection, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.report import last_run, writing
from ansible_collections.pgops.tls.plugins.plugin_utils import failures, places, results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Groups, Hostvars, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

VARIABLE = "postgres_report_directory"


class Run(NamedTuple):
    """The hosts of a run, and those of them that no task has failed on so far."""

    hosts: Collection[str]
    left: Collection[str]


def is_sound(hostvars: Hostvars, groups: Groups, run: Run) -> bool:
    """Return whether a run has converged all hosts of the inventory, and none of them failed.

    One with --limit, or with --tags that leave steps out, has not.
    """
    wanted = [(kind.step, host) for kind in KINDS for host in groups.get(kind.group, ())]
    if not wanted or {host for _step, host in wanted} - set(run.left):
        return False
    is_whole = all(results.converged(hostvars[host], step) for step, host in wanted)
    return is_whole and not failures.failures(hostvars, run.hosts)


def note(given: str, variables: Variables, now: int) -> list[str]:
    """Note a sound run beside the report, if there is one. Return a line if that is not possible.

    ``given`` is where role postgres_report is told to write, '' for its default. ``variables`` are those of the task,
    ``now`` is in Unix seconds.
    """
    directory = _directory(given, variables)
    if not directory or not os.path.isfile(os.path.join(directory, writing.DATA)):
        return []
    try:
        last_run.note(directory, now)
    except (TlsError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        path = os.path.join(directory, last_run.NAME)
        return [f"WARNING: {path} could not be written ({why}). The next report will not know of this run."]
    return []


def _directory(given: str, variables: Variables) -> str:
    """Return where role postgres_report writes, '' if it could not know either."""
    if given:
        return os.path.expanduser(os.path.expandvars(given))  # as module fleet_report reads its option
    beside, sources = variables.get("inventory_dir"), variables["ansible_inventory_sources"]
    try:
        return places.default(VARIABLE, "postgres-report", str(beside or "") or None, sources, "localhost").path
    except TlsError:
        return ""
