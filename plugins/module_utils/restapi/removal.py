# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal: a transaction that writes back what patroni.yml said before, and then takes our directory away.

Keys that somebody has changed since stay as they are. See ``deployment/pair_removal.py``.
"""

from __future__ import annotations

from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_removal import PairRemoval
from ansible_collections.pgops.tls.plugins.module_utils.patroni import check, settings, told, yaml_keys
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import former, members, refusals, way_back
from ansible_collections.pgops.tls.plugins.module_utils.restapi.look import content
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.restapi.transaction import Transaction

Values = Mapping[str, Mapping[str, "str | None"]]


class Removal(PairRemoval[Plan, Found, Target], Transaction):
    """One Patroni whose REST API loses the files of this collection."""

    def _text_without_ours(self, found: Found) -> str:
        return yaml_keys.rewritten(found.text, self._former(found), found.config)

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

    def _refuse_removal(self, found: Found, text: str) -> str:
        refusals.refuse_environment(self.target, found)
        refusals.refuse_silence(found)
        check.refuse_other_keys(self.patroni, self.account, found.text, text, self._former(found))
        self.file.refuse_unwritable()
        after = settings.read(self.patroni, self.account, text)
        _refuse_unusable(after, found.config)
        self._ask_with(found, after)
        leaf = told.leaf_at(after.restapi.get("certfile", ""))
        return leaf.sha256 if leaf else ""

    def _ask_with(self, found: Found, after: Settings) -> None:
        has_tls = self.answer is not None and self.answer.has_tls
        others = members.of(self.node.at, self.node.context(), after.name, has_tls=has_tls)
        shown = content(after.restapi.get("certfile", ""))
        self.notes += members.warnings(way_back.refuse_split(found, after, shown, others, self.target.pair.roots))

    def _take_out(self, found: Found, text: str, leaf: str) -> None:
        self._write(found.text, text)
        self.prover.load(leaf)


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
