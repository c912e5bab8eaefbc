# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings about the rules that a run writes: the declared ones."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.postgres import access, configuration, includes, rule_advice
from ansible_collections.pgops.tls.plugins.module_utils.server import lockout
from ansible_collections.pgops.tls.plugins.module_utils.server.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts


def warnings(plan: Plan, target: Target, texts: Texts, major: int) -> list[str]:
    """Return warnings: rules in the managed part that can hardly be intended, and roles that also need a password.

    This is about the rules as the plan leaves them. The lines below the managed part are not ours, and it is usual that
    ours decide before them. Raises OSError.
    """
    coming = {rewrite.name: rewrite.after for rewrite in plan.rules}
    hba, ident = (coming[name] if name in coming else texts.read(name, "") for name in ("pg_hba.conf", "pg_ident.conf"))
    path, last = texts.paths["pg_hba.conf"], configuration.managed_lines(hba)
    maps = list(includes.followed(ident, includes.Source(texts.paths["pg_ident.conf"], major)))
    after = lockout.files(hba, ident, texts.paths, major)
    asked = lockout.asked_for_a_password(target.clients, after, major)
    return asked + [
        f"{path} line {one.line}: {one.reason}. {one.remedy}"
        for one in rule_advice.advice(access.rules_in(hba, path, major), maps, major)
        if one.level == rule_advice.WARNING and one.file == path and one.line <= last
    ]
