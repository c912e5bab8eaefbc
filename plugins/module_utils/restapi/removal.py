# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal: a transaction that writes back what patroni.yml said before, and then takes our directory away.

Keys that somebody has changed since stay as they are.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment import removal
from ansible_collections.pgops.tls.plugins.module_utils.deployment.service import Done
from ansible_collections.pgops.tls.plugins.module_utils.patroni import check, settings, told, yaml_keys
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former, refusals
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import API, CTL
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Outcome, Transaction

Values = Mapping[str, Mapping[str, "str | None"]]


class Removal(Transaction):
    """One Patroni whose REST API loses the files of this collection."""

    def _run(self, *, check_mode: bool) -> Outcome:
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        values = self._former(found)
        plan = plan_removal(found, values)
        before = self._leaves(found.generation)
        if plan.text is not None:
            fingerprint = self._refuse_removal(plan, found, plan.text, values)
            if not check_mode:
                self._transact(None, lambda: self._take_out(found.text, plan.text or "", fingerprint))
        place = self.store.directory, self.account, self.program
        cleared = removal.clear(*place, is_wanted=True, check_mode=check_mode)
        changes = [*recovered, *plan.changes, *cleared]
        return self._outcome(plan, found, Done(changes, {}, before, {}, None))

    def _former(self, found: Found) -> Values:
        """Return what the keys were that still name our files."""
        kept = former.read(found.generation)
        return {
            section: {
                key: (kept.values.get(section, {}) if kept else {}).get(key)
                for key, path in keys.items()
                if found.settings.sections[section].get(key) == path
            }
            for section, keys in self.target.values.items()
        }

    def _refuse_removal(self, plan: Plan, found: Found, text: str, values: Values) -> str:
        """Return the leaf that is shown then, '' for no TLS. Raises TlsError where Patroni could not load its files."""
        refusals.refuse_environment(self.target, found)
        refusals.refuse_silence(plan, found)
        check.refuse_other_keys(self.patroni, self.account, found.text, text, values)
        self.config.refuse_unwritable()
        after = settings.read(self.patroni, self.account, text)
        _refuse_unusable(after, found.config)
        leaf = told.leaf_at(after.restapi.get("certfile", ""))
        return leaf.sha256 if leaf else ""

    def _take_out(self, before: str, after: str, fingerprint: str) -> None:
        self._write(before, after)
        self.prover.load(fingerprint)


def plan_removal(found: Found, values: Values) -> Plan:
    """Return the plan that writes former values back."""
    text = yaml_keys.rewritten(found.text, values, found.config)
    is_ours = text != found.text
    return Plan(
        reasons={API: (), CTL: ()},
        contents=None,
        text=text if is_ours else None,
        changes=_changes(found.config) if is_ours else [],
        reloads=is_ours,
    )


def _changes(config: str) -> Sequence[str]:
    return [f"{config}: without what this collection has added"]


def _refuse_unusable(after: Settings, config: str) -> None:
    faults = [f"{section}: {fault}" for section, fault in after.faults.items() if fault]
    if after.verifies_clients and not after.restapi.get("cafile"):
        faults.append("restapi.verify_client asks for client certificates, and no cafile would be left to verify them")
    if faults:
        raise TlsError(
            f"{config}: without this collection, Patroni could not use what is left: {'; '.join(faults)}. Nothing was "
            "changed.",
            remedy="Restore the former files, or change these keys in sections restapi and ctl. Then rerun.",
            code="own_tls_unusable",
        )
