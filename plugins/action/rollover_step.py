# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that says whether a replacement of roots may take its next step, and which that is, on the controller."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    actions,
    client_authorities,
    failures,
    rotation,
    serials,
    waiting,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables


class ActionModule(actions.Action):
    """The action of this file."""

    OPTIONS: ClassVar[actions.Specification] = {
        "phase": {"type": "str", "default": ""},
        "rotate": {"type": "list", "elements": "str", "default": []},
        "prove": {"type": "bool", "default": False},
    }

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return why the run cannot replace a root, and the step that comes next; fail for what must be proven."""
        tags = [*variables.get("ansible_run_tags", ()), *variables.get("ansible_skip_tags", ())]
        hosts, groups = variables["ansible_play_hosts_all"], variables["groups"]
        known = _known(variables)
        refusals = rotation.wrong(self.options["phase"], self.options["rotate"], known)
        refusals += rotation.refusals(hosts, groups, tags)
        step = _step(variables, self.options)
        if self.options["prove"]:
            self._prove(variables, step)
        return {"changed": False, "refusals": refusals, "known": known, **step}

    def _prove(self, variables: Variables, step: Mapping[str, Any]) -> None:
        """Raise TlsError for what this run has not proven of the hosts of the inventory.

        What only adds trust, or does nothing, goes ahead without hosts that could not be reached.
        """
        hostvars, groups = variables["hostvars"], variables["groups"]
        is_harmless = step.get("phase") in ("", rotation.STAGE)
        away = failures.away(hostvars, rotation.everybody(groups)) if is_harmless else []
        is_verified = not self._task.check_mode  # else there were no connections to try
        problems = rotation.unproven(hostvars, groups, is_verified=is_verified, away=away)
        if problems:
            begins = f"Phase {step['phase']} does not begin" if step.get("phase") else "No phase begins"
            raise TlsError(
                "\n".join([f"{begins}, because not everything is proven.", *problems, *waiting.of_run(variables)]),
                code="rollover_not_proven",
            )


def _known(variables: Variables) -> list[str]:
    """Return the authorities that there are or, before the run has learned them, those that the inventory needs."""
    found = variables.get("postgres_ca_authorities")  # a fact of role postgres_ca
    if found:
        return list(found)
    return [profiles.SERVER, *client_authorities.needed(variables["hostvars"], variables["groups"])]


def _step(variables: Variables, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the next step and who it concerns; nothing before the run has learned the authorities.

    Until then the inventory has not been checked either.
    """
    authorities = variables.get("postgres_ca_authorities")  # a fact of role postgres_ca
    if not authorities:
        return {}
    step = rotation.next_step(authorities, options["phase"], options["rotate"], int(time.time()))
    in_use = serials.certificates_in_use(variables["hostvars"], variables["groups"])
    waits = waiting.of_run(variables)
    return {
        "phase": step.phase,
        "authorities": step.authorities,
        "waiting": waits,
        "message": [*step.where, *waits, *step.advice],
        "certificates_in_use": in_use,
    }
