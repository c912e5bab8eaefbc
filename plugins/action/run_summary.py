# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that sums up a run of the playbook of this collection, on the controller."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible_collections.pgops.tls.plugins.plugin_utils import (
    actions,
    failures,
    kits,
    last_run,
    later,
    moves,
    revoked_at_poolers,
    serials,
    unresolved,
    waiting,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {"is_verified": {"type": "bool", "default": True}}

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the summary, and the certificates in use that the ledger does not hold."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        issued = (variables.get("postgres_ca_result") or {}).get("issued")
        hosts = variables["ansible_play_hosts_all"]
        lines = failures.summary(hostvars, hosts, groups, is_verified=self.options["is_verified"])
        lines += later.lines(hostvars, hosts)
        revoked = revoked_at_poolers.lines(hostvars, groups, variables.get("postgres_ca_authorities") or {})
        due = kits.lines(variables.get("postgres_ca_kits_result") or {})
        more = [*revoked, *due, *waiting.of_run(variables)]
        moving = [] if self._task.check_mode else moves.moves(hostvars, groups)
        moved = [one.server for one in moving if not one.objection]
        unrecorded = serials.unrecorded(hostvars, groups, issued)
        if not moved and not unrecorded:  # else the run is not over
            more += self._noted(variables)
        return {
            "changed": False,
            "lines": [*lines, *(one.line for one in moving if one.objection), *more],
            "moved": moved,
            "unrecorded": unrecorded,
        }

    def _noted(self, variables: Variables) -> list[str]:
        """Note for the next report that the run ends without a failure. Return a line if that is not possible."""
        hostvars, groups = variables["hostvars"], variables["groups"]
        run = last_run.Run(variables["ansible_play_hosts_all"], variables["ansible_play_hosts"])
        is_whole = self.options["is_verified"] and "all" in variables["ansible_run_tags"] and not self._task.check_mode
        if not is_whole or not last_run.is_sound(hostvars, groups, run):
            return []
        try:  # as the role has it; a report that could not be written either is no reason to fail this run
            given = self._templar.template(variables.get(last_run.VARIABLE, ""))
        except unresolved.ERRORS as error:
            return [f"WARNING: {last_run.VARIABLE}: {error}. The next report will not know of this run."]
        return last_run.note(str(given or ""), variables, int(time.time()))
